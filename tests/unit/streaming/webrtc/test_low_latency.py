"""The low-latency jitter buffer, and its self-test of the installed aiortc."""

import random

import pytest
from aiortc.rtp import RtpPacket

from silhouette_seg.streaming.webrtc.low_latency import (
    LowLatencyJitterBuffer,
    LowLatencyUnsupported,
    check_supported,
)

FIRST = 65_534
"""Sequence number of the first packet; the 16-bit numbers wrap within the first frames."""


def packet(number: int, frame: int, *, marker: bool, text: bytes | None = None) -> RtpPacket:
    rtp = RtpPacket(
        sequence_number=(FIRST + number) % 65_536, timestamp=3000 * frame, marker=int(marker)
    )
    rtp._data = str(number).encode() if text is None else text  # type: ignore[attr-defined]
    return rtp


FRAMES = [(packet(2 * n, n, marker=False), packet(2 * n + 1, n, marker=True)) for n in range(4)]
PACKETS = [packet for frame in FRAMES for packet in frame]
FRAME_DATA = [b"01", b"23", b"45", b"67"]


def feed(buffer: LowLatencyJitterBuffer, packets: list[RtpPacket]) -> list[list[bytes]]:
    """Returns the frames that each packet delivers."""
    delivered = []
    for packet in packets:
        _, frame = buffer.add(packet)
        frames = (frame, *buffer.complete_frames())
        delivered.append([frame.data for frame in frames if frame is not None])
    return delivered


def test_last_packet_delivers_the_frame():
    assert feed(LowLatencyJitterBuffer(), PACKETS[:4]) == [[], [b"01"], [], [b"23"]]


def test_late_packet_delivers_all_complete_frames():
    late = [PACKETS[0], PACKETS[1], PACKETS[2], *PACKETS[4:], PACKETS[3]]
    delivered = feed(LowLatencyJitterBuffer(), late)
    assert delivered == [[], [b"01"], [], [], [], [], [], [b"23", b"45", b"67"]]


def test_unmarked_frame_is_delivered_when_next_begins():
    unmarked = [packet(0, 0, marker=False), packet(1, 0, marker=False), packet(2, 1, marker=True)]
    assert feed(LowLatencyJitterBuffer(), unmarked) == [[], [], [b"01", b"2"]]


def test_padding_after_a_frame_is_dropped():
    padded = [
        packet(0, 0, marker=True),
        packet(1, 0, marker=False, text=b""),
        packet(2, 0, marker=False, text=b""),
        packet(3, 1, marker=True),
    ]
    assert feed(LowLatencyJitterBuffer(), padded) == [[b"0"], [], [], [b"3"]]


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_packets_deliver_each_frame_once_in_order(seed):
    shuffled = PACKETS[1:]
    random.Random(seed).shuffle(shuffled)
    delivered = feed(LowLatencyJitterBuffer(), [PACKETS[0], *shuffled])
    assert [data for frames in delivered for data in frames] == FRAME_DATA


async def test_installed_aiortc_supports_low_latency():
    await check_supported()


async def test_untested_aiortc_version_is_unsupported():
    with pytest.raises(LowLatencyUnsupported, match=r"2\.0"):
        await check_supported("2.0.0")


async def test_changed_aiortc_receiver_is_unsupported(monkeypatch):
    async def ignore(self, packet, arrival_time_ms):
        pass

    monkeypatch.setattr("aiortc.RTCRtpReceiver._handle_rtp_packet", ignore)
    with pytest.raises(LowLatencyUnsupported, match="delivered the frames"):
        await check_supported()
