"""A jitter buffer that hands frames on when they are whole."""

import random

import pytest
from aiortc.rtp import RtpPacket

from silhouette_seg.streaming.webrtc.low_latency import (
    LowLatencyJitterBuffer,
    LowLatencyUnsupported,
    check_supported,
)

FIRST = 65_534  # so that the numbers wrap in the first frames


def packet(number: int, frame: int, *, marker: bool, text: bytes | None = None) -> RtpPacket:
    made = RtpPacket(
        sequence_number=(FIRST + number) % 65_536, timestamp=3000 * frame, marker=int(marker)
    )
    made._data = str(number).encode() if text is None else text  # type: ignore[attr-defined]
    return made


FRAMES = [(packet(2 * n, n, marker=False), packet(2 * n + 1, n, marker=True)) for n in range(4)]
PACKETS = [each for frame in FRAMES for each in frame]
WHOLE = [b"01", b"23", b"45", b"67"]


def feed(buffer: LowLatencyJitterBuffer, arriving: list[RtpPacket]) -> list[list[bytes]]:
    """What is handed on with each packet."""
    handed_on = []
    for each in arriving:
        _, frame = buffer.add(each)
        handed_on.append(
            [made.data for made in (frame, *buffer.complete_frames()) if made is not None]
        )
    return handed_on


def test_a_frame_is_whole_with_its_last_packet():
    assert feed(LowLatencyJitterBuffer(), PACKETS[:4]) == [[], [b"01"], [], [b"23"]]


def test_all_that_a_lost_packet_held_up_goes_on_at_once():
    late = [PACKETS[0], PACKETS[1], PACKETS[2], *PACKETS[4:], PACKETS[3]]
    assert feed(LowLatencyJitterBuffer(), late) == [
        [],
        [b"01"],
        [],
        [],
        [],
        [],
        [],
        [b"23", b"45", b"67"],
    ]


def test_a_frame_whose_end_is_not_marked_is_whole_when_the_next_begins():
    unmarked = [packet(0, 0, marker=False), packet(1, 0, marker=False), packet(2, 1, marker=True)]
    assert feed(LowLatencyJitterBuffer(), unmarked) == [[], [], [b"01", b"2"]]


def test_padding_after_a_frame_is_no_frame():
    padded = [
        packet(0, 0, marker=True),
        packet(1, 0, marker=False, text=b""),
        packet(2, 0, marker=False, text=b""),
        packet(3, 1, marker=True),
    ]
    assert feed(LowLatencyJitterBuffer(), padded) == [[b"0"], [], [], [b"3"]]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_each_frame_comes_once_and_in_order(seed):
    mixed = PACKETS[1:]
    random.Random(seed).shuffle(mixed)
    handed_on = feed(LowLatencyJitterBuffer(), [PACKETS[0], *mixed])
    assert [data for each in handed_on for data in each] == WHOLE


async def test_this_aiortc_can_be_hastened():
    await check_supported()


async def test_another_aiortc_is_not_trusted():
    with pytest.raises(LowLatencyUnsupported, match=r"2\.0"):
        await check_supported("2.0.0")


async def test_a_receiver_that_works_otherwise_is_noticed(monkeypatch):
    async def ignore(self, packet, arrival_time_ms):
        pass

    monkeypatch.setattr("aiortc.RTCRtpReceiver._handle_rtp_packet", ignore)
    with pytest.raises(LowLatencyUnsupported, match="delivered the frames"):
        await check_supported()
