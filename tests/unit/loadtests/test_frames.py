"""One answer to each frame."""

import struct

import pytest

from loadtests.answers import Unexpected
from loadtests.frames import Kind, Ledger, pack
from silhouette_seg.streaming import protocol


@pytest.fixture
def ledger():
    """Of a stream whose frame 0 is on its way."""
    ledger = Ledger(credits=2)
    ledger.frame(7_000, b"picture")
    return ledger


def answer(kind: protocol.MessageKind, seq: int, *, body: bytes = b"") -> bytes:
    return protocol.pack(protocol.MessageHeader(kind, seq, 7_000), body)


def test_a_frame_is_what_the_service_reads():
    header, body = protocol.unpack(pack(3, 2**40, b"picture"))
    assert header == protocol.MessageHeader(protocol.MessageKind.FRAME, 3, 2**40)
    assert bytes(body) == b"picture"


def test_a_result_tells_the_moment_due_and_the_time_in_the_server(ledger):
    header = protocol.MessageHeader(
        protocol.MessageKind.RESULT, 0, 7_000, protocol.MessageFlags.FOREGROUND
    )
    message = protocol.pack_result(header, protocol.ResultHeader(640, 480, 0, 12_000), b"mask")
    assert ledger.answer(message) == (Kind.RESULT, 7_000, 0.012)
    assert not ledger.unanswered


@pytest.mark.parametrize("kind", [protocol.MessageKind.SKIPPED, protocol.MessageKind.ERROR])
def test_skipped_and_error_are_answers_too(ledger, kind):
    assert ledger.answer(answer(kind, 0)) == (kind, 7_000, None)
    assert not ledger.unanswered


def test_credit_comes_back_with_the_answer(ledger):
    assert ledger.has_credit
    ledger.frame(8_000, b"picture")
    assert not ledger.has_credit
    ledger.answer(answer(protocol.MessageKind.SKIPPED, 0))
    assert ledger.has_credit
    assert ledger.unanswered == {1}


def test_a_second_answer_is_unexpected(ledger):
    ledger.answer(answer(protocol.MessageKind.SKIPPED, 0))
    with pytest.raises(Unexpected, match="frame 0 was answered before"):
        ledger.answer(answer(protocol.MessageKind.SKIPPED, 0))


@pytest.mark.parametrize(
    "message",
    [
        '{"type": "error"}',
        b"SILH",
        answer(protocol.MessageKind.FRAME, 0),
        answer(protocol.MessageKind.SKIPPED, 1),
        b"HLIS" + answer(protocol.MessageKind.SKIPPED, 0)[4:],
        struct.pack("<4sBBHIQ", b"SILH", 2, 4, 0, 0, 0),
        answer(protocol.MessageKind.RESULT, 0, body=b"short"),
    ],
)
def test_what_answers_no_frame_is_unexpected(ledger, message):
    with pytest.raises(Unexpected):
        ledger.answer(message)
