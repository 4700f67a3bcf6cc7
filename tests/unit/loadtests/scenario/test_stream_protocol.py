"""Tests of the client side of `silhouette.v1`."""

import struct

import pytest

from loadtests.scenario.responses import UnexpectedResponse
from loadtests.scenario.stream_protocol import FrameWindow, MessageType, pack_frame
from silhouette_seg.streaming import protocol


@pytest.fixture
def window():
    """A window with two credits and frame 0 in flight."""
    window = FrameWindow(credits=2)
    window.next_message(7_000, b"image")
    return window


def reply(kind: protocol.MessageKind, seq: int, *, body: bytes = b"") -> bytes:
    return protocol.pack(protocol.MessageHeader(kind, seq, 7_000), body)


def test_packed_frame_is_unpacked_by_service():
    header, body = protocol.unpack(pack_frame(3, 2**40, b"image"))
    assert header == protocol.MessageHeader(protocol.MessageKind.FRAME, 3, 2**40)
    assert bytes(body) == b"image"


def test_result_has_due_time_and_server_time(window):
    header = protocol.MessageHeader(
        protocol.MessageKind.RESULT, 0, 7_000, protocol.MessageFlags.FOREGROUND
    )
    message = protocol.pack_result(header, protocol.ResultHeader(640, 480, 0, 12_000), b"mask")
    assert window.match_reply(message) == (MessageType.RESULT, 7_000, 0.012)
    assert not window.unanswered


@pytest.mark.parametrize("kind", [protocol.MessageKind.SKIPPED, protocol.MessageKind.ERROR])
def test_skipped_and_error_are_replies(window, kind):
    assert window.match_reply(reply(kind, 0)) == (kind, 7_000, None)
    assert not window.unanswered


def test_credit_returns_with_reply(window):
    assert window.has_credit
    window.next_message(8_000, b"image")
    assert not window.has_credit
    window.match_reply(reply(protocol.MessageKind.SKIPPED, 0))
    assert window.has_credit
    assert window.unanswered == {1}


def test_second_reply_to_frame_is_unexpected(window):
    window.match_reply(reply(protocol.MessageKind.SKIPPED, 0))
    with pytest.raises(UnexpectedResponse, match="frame 0 has a reply already"):
        window.match_reply(reply(protocol.MessageKind.SKIPPED, 0))


@pytest.mark.parametrize(
    "message",
    [
        '{"type": "error"}',
        b"SILH",
        reply(protocol.MessageKind.FRAME, 0),
        reply(protocol.MessageKind.SKIPPED, 1),
        b"HLIS" + reply(protocol.MessageKind.SKIPPED, 0)[4:],
        struct.pack("<4sBBHIQ", b"SILH", 2, 4, 0, 0, 0),
        reply(protocol.MessageKind.RESULT, 0, body=b"short"),
    ],
)
def test_message_that_replies_to_no_frame_is_unexpected(window, message):
    with pytest.raises(UnexpectedResponse):
        window.match_reply(message)
