"""Low-latency jitter buffer for aiortc: delivers a frame as soon as its last packet has arrived.

aiortc delivers a frame when the next one begins, which adds one frame interval of delay. It also
delivers at most one frame per packet, so the delay after a lost packet never shrinks again. Here a
frame is complete on its packet with the RTP marker, and all complete frames are delivered at once.
Both changes belong together: the first alone would increase the delay after each loss. Both use
private attributes of aiortc, so `check_supported` tests the installed version.
"""

from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, cast

from aiortc import RTCRtpReceiver
from aiortc.codecs import CODECS
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

TESTED_VERSIONS = ("1.16.",)
"""Prefixes of the aiortc versions that have the private names below."""
BUFFER_PACKETS = 512
"""Capacity of the jitter buffer in packets, as in aiortc."""
SELF_TEST_PAYLOAD_TYPE = 96
"""RTP payload type of the packets of the self-test."""
_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_CODECS = "_RTCRtpReceiver__codecs"
_MAPPER = "_RTCRtpReceiver__timestamp_mapper"
_DECODER = "_RTCRtpReceiver__decoder_queue"
_THREAD = "_RTCRtpReceiver__decoder_thread"


class LowLatencyUnsupported(Exception):
    """The installed aiortc does not support the low-latency buffer; the message has the reason."""


class LowLatencyJitterBuffer(JitterBuffer):
    """Jitter buffer that delivers a frame on its last packet, the one with the RTP marker bit.

    aiortc's own buffer waits for the first packet of the next frame.
    """

    def __init__(self) -> None:
        super().__init__(BUFFER_PACKETS, is_video=True)
        self.payload_type = 0
        """RTP payload type of the last packet, which names the codec."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        self.payload_type = packet.payload_type
        return super().add(packet)

    def complete_frames(self) -> Iterator[JitterFrame]:
        """Removes and yields the complete frames in the buffer, oldest first."""
        while self._origin is not None and (frame := self._remove_frame(0)) is not None:
            yield frame

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        """Removes and returns the oldest frame if it is complete, else returns None.

        Empty padding packets after a marker are skipped. `sequence_number` is not used.
        """
        while (packets := self._complete_packets()) is not None:
            self.remove(len(packets))
            if data := b"".join(packet._data for packet in packets):  # type: ignore[attr-defined]
                return JitterFrame(data, packets[0].timestamp)
        return None

    def _complete_packets(self) -> list[RtpPacket] | None:
        """Returns the packets of the oldest frame in order, or None while some are missing."""
        packets: list[RtpPacket] = []
        assert self._origin is not None, "the buffer has received a packet"
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


def enable(receiver: RTCRtpReceiver) -> None:
    """Installs the low-latency buffer in a video receiver of aiortc, before its first packet.

    Call `check_supported` first: it tests that the installed aiortc has the private names.
    """
    buffer = LowLatencyJitterBuffer()
    setattr(receiver, _BUFFER, buffer)
    codecs, mapper, decoder = (getattr(receiver, name) for name in (_CODECS, _MAPPER, _DECODER))
    handle_packet = receiver._handle_rtp_packet

    async def handle_packet_and_deliver(packet: RtpPacket, arrival_time_ms: int) -> None:
        await handle_packet(packet, arrival_time_ms)
        for frame in buffer.complete_frames():
            if getattr(receiver, _THREAD):
                frame.timestamp = mapper.map(frame.timestamp)
                decoder.put((codecs[buffer.payload_type], frame))

    receiver._handle_rtp_packet = handle_packet_and_deliver  # type: ignore[method-assign]


async def check_supported(installed: str = version("aiortc")) -> None:
    """Tests the low-latency buffer with three frames, fed to a receiver as the network would.

    `installed` is the version of aiortc. Raises LowLatencyUnsupported if that was not tested, or if
    the frames are not delivered at once.
    """
    if not installed.startswith(TESTED_VERSIONS):
        tested = ", ".join(f"{prefix}*" for prefix in TESTED_VERSIONS)
        raise LowLatencyUnsupported(f"aiortc {installed} is not supported; tested: {tested}")
    try:
        delivered = await _deliver(numbers=(0, 2, 1))
    except Exception as error:
        raise LowLatencyUnsupported(f"the receiver of aiortc has changed: {error!r}") from error
    if delivered != [[b"0"], [], [b"1", b"2"]]:
        raise LowLatencyUnsupported(f"aiortc delivered the frames as {delivered}")


async def _deliver(numbers: tuple[int, ...]) -> list[list[bytes]]:
    """Feeds one-packet frames with these sequence numbers to a receiver.

    Returns, for each packet, the frames that it delivers to the decoder.
    """
    receiver = RTCRtpReceiver("video", cast(Any, SimpleNamespace(state="new")))
    vp8 = next(codec for codec in CODECS["video"] if codec.name == "VP8")
    getattr(receiver, _CODECS)[SELF_TEST_PAYLOAD_TYPE] = vp8
    if getattr(receiver, _THREAD) is not None or not isinstance(
        getattr(receiver, _BUFFER), JitterBuffer
    ):
        raise AttributeError("its buffer or its thread")
    setattr(receiver, _THREAD, "placeholder: frames are queued only for a running thread")
    enable(receiver)
    delivered: list[list[bytes]] = []
    for number in numbers:
        await receiver._handle_rtp_packet(_packet(number), arrival_time_ms=0)
        decoder = getattr(receiver, _DECODER)
        delivered.append([decoder.get_nowait()[1].data for _ in range(decoder.qsize())])
    return delivered


def _packet(number: int) -> RtpPacket:
    """Returns an RTP packet that is a whole frame; its payload is its sequence number as text."""
    packet = RtpPacket(
        payload_type=SELF_TEST_PAYLOAD_TYPE,
        sequence_number=number,
        timestamp=3000 * number,
        marker=1,
    )
    packet.payload = b"\x10" + str(number).encode()  # VP8: the start of a partition
    return packet
