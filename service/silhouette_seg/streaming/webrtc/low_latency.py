"""Frames handed on when they are whole: two changes to aiortc's jitter buffer, or none.

aiortc hands a frame on when the next one begins, which costs the time between two frames, and at
most one frame for each packet that arrives, so that what a lost packet held up stays late for
ever. Here a frame is whole with the packet that says so (RTP's marker), and all that are whole go
on at once. The first without the second would leave more behind after each loss. Both reach into
what is private to aiortc: they are checked against the version that is installed.
"""

from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, cast

from aiortc import RTCRtpReceiver
from aiortc.codecs import CODECS
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

VERSIONS = ("1.16.",)
"""What the names below were read in."""
CAPACITY = 512
"""Packets, as in aiortc."""
PAYLOAD_TYPE = 96
"""Of the self-test."""
_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_CODECS = "_RTCRtpReceiver__codecs"
_MAPPER = "_RTCRtpReceiver__timestamp_mapper"
_DECODER = "_RTCRtpReceiver__decoder_queue"
_THREAD = "_RTCRtpReceiver__decoder_thread"


class NotPrompt(Exception):
    """This aiortc cannot be hastened; the message says why."""


class PromptBuffer(JitterBuffer):
    """Knows when a frame is whole by its own last packet."""

    def __init__(self) -> None:
        super().__init__(CAPACITY, is_video=True)
        self.payload_type = 0
        """Of the packet that came last."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        self.payload_type = packet.payload_type
        return super().add(packet)

    def rest(self) -> Iterator[JitterFrame]:
        """What else is whole."""
        while self._origin is not None and (frame := self._remove_frame(0)) is not None:
            yield frame

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        """The oldest frame if it is whole. Padding after a marker is no frame."""
        while (packets := self._whole()) is not None:
            self.remove(len(packets))
            if data := b"".join(packet._data for packet in packets):  # type: ignore[attr-defined]
                return JitterFrame(data, packets[0].timestamp)
        return None

    def _whole(self) -> list[RtpPacket] | None:
        packets: list[RtpPacket] = []
        assert self._origin is not None, "a packet came"
        for count in range(self._capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None:
                return None
            if packets and packet.timestamp != packets[0].timestamp:
                return packets
            packets.append(packet)
            if packet.marker:
                return packets
        return None


def hasten(receiver: RTCRtpReceiver) -> None:
    """Of video, before its first packet. `check_prompt` tells whether it can be."""
    buffer = PromptBuffer()
    setattr(receiver, _BUFFER, buffer)
    codecs, mapper, decoder = (getattr(receiver, name) for name in (_CODECS, _MAPPER, _DECODER))
    handle = receiver._handle_rtp_packet

    async def handle_all(packet: RtpPacket, arrival_time_ms: int) -> None:
        await handle(packet, arrival_time_ms)
        for frame in buffer.rest():
            if getattr(receiver, _THREAD):
                frame.timestamp = mapper.map(frame.timestamp)
                decoder.put((codecs[buffer.payload_type], frame))

    receiver._handle_rtp_packet = handle_all  # type: ignore[method-assign]


async def check_prompt(installed: str = version("aiortc")) -> None:
    """Takes three frames through a receiver as the network would; raises NotPrompt."""
    if not installed.startswith(VERSIONS):
        raise NotPrompt(f"aiortc {installed} is none of {', '.join(VERSIONS)}*")
    try:
        handed_on = await _hand_on(numbers=(0, 2, 1))
    except Exception as error:
        raise NotPrompt(f"aiortc's receiver is not as it was: {error!r}") from error
    if handed_on != [[b"0"], [], [b"1", b"2"]]:
        raise NotPrompt(f"frames were handed on as {handed_on}")


async def _hand_on(numbers: tuple[int, ...]) -> list[list[bytes]]:
    """What reaches the decoder after each packet; packets are whole frames, named by number."""
    receiver = RTCRtpReceiver("video", cast(Any, SimpleNamespace(state="new")))
    vp8 = next(codec for codec in CODECS["video"] if codec.name == "VP8")
    getattr(receiver, _CODECS)[PAYLOAD_TYPE] = vp8
    if getattr(receiver, _THREAD) is not None or not isinstance(
        getattr(receiver, _BUFFER), JitterBuffer
    ):
        raise AttributeError("its buffer or its thread")
    setattr(receiver, _THREAD, "would run")
    hasten(receiver)
    handed_on: list[list[bytes]] = []
    for number in numbers:
        await receiver._handle_rtp_packet(_packet(number), arrival_time_ms=0)
        decoder = getattr(receiver, _DECODER)
        handed_on.append([decoder.get_nowait()[1].data for _ in range(decoder.qsize())])
    return handed_on


def _packet(number: int) -> RtpPacket:
    packet = RtpPacket(
        payload_type=PAYLOAD_TYPE, sequence_number=number, timestamp=3000 * number, marker=1
    )
    packet.payload = b"\x10" + str(number).encode()  # VP8: the start of a partition
    return packet
