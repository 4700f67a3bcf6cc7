"""The messages of silhouette.v1: layout, round trips, and rejected messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.streaming.protocol import (
    MAGIC,
    MAX_JSON_VALUES,
    MessageFlags,
    MessageHeader,
    MessageKind,
    ProtocolError,
    ResultHeader,
    pack,
    pack_result,
    parse_text_message,
    text_message,
    unpack,
    unpack_result,
)

headers = st.builds(
    MessageHeader,
    kind=st.sampled_from(MessageKind),
    seq=st.integers(0, 2**32 - 1),
    timestamp=st.integers(0, 2**64 - 1),
    flags=st.sampled_from(MessageFlags),
)
GOOD = pack(MessageHeader(MessageKind.FRAME, 1, 2), b"body")


@given(header=headers, body=st.binary(max_size=100))
def test_message_survives_round_trip(header, body):
    unpacked, rest = unpack(pack(header, body))
    assert (unpacked, bytes(rest)) == (header, body)


def test_message_layout_matches_documentation():
    message = pack(
        MessageHeader(MessageKind.RESULT, 0x01020304, 0x1122334455667788, MessageFlags.FOREGROUND),
        b"x",
    )
    assert message == bytes.fromhex("53494c48 01 02 0100 04030201 8877665544332211") + b"x"


@given(
    width=st.integers(0, 2**16 - 1),
    height=st.integers(0, 2**16 - 1),
    skipped=st.integers(0, 2**32 - 1),
    server_us=st.integers(0, 2**32 - 1),
    image=st.binary(max_size=50),
)
def test_result_survives_round_trip(width, height, skipped, server_us, image):
    result = ResultHeader(width, height, skipped, server_us)
    header, body = unpack(pack_result(MessageHeader(MessageKind.RESULT, 7, 8), result, image))
    unpacked, rest = unpack_result(body)
    assert (header.seq, unpacked, bytes(rest)) == (7, result, image)


def test_result_counts_are_clipped_to_32_bits():
    message = pack_result(
        MessageHeader(MessageKind.RESULT, 7, 8), ResultHeader(1, 1, 2**40, 2**50), b""
    )
    result, _ = unpack_result(unpack(message)[1])
    assert (result.skipped, result.server_us) == (2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "20 bytes"),
        (GOOD[:19], "at least 20 bytes, not 19"),
        (b"SILK" + GOOD[4:], "begins with"),
        (MAGIC + b"\x02" + GOOD[5:], "version is 1, not 2"),
        (GOOD[:5] + b"\x00" + GOOD[6:], "kind 0"),
        (GOOD[:5] + b"\x05" + GOOD[6:], "kind 5"),
        (GOOD[:6] + b"\x02\x00" + GOOD[8:], "flags 2"),
    ],
)
def test_malformed_message_raises_with_reason(message, reason):
    with pytest.raises(ProtocolError, match=reason):
        unpack(message)


@given(message=st.binary(max_size=60))
def test_random_bytes_unpack_or_raise_protocol_error(message):
    try:
        header, body = unpack(message)
    except ProtocolError:
        return
    assert pack(header, bytes(body)) == message


def test_truncated_result_raises():
    with pytest.raises(ProtocolError, match="12 bytes"):
        unpack_result(memoryview(b"x" * 11))


def test_text_message_survives_round_trip():
    assert parse_text_message(text_message("ready", {"credits": 2, "size": None})) == {
        "type": "ready",
        "credits": 2,
        "size": None,
    }


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[1]", "3", "null", "{}", '{"type": 3}', "[" * 100_000, "9" * 5000]
)
def test_invalid_text_message_raises(text):
    with pytest.raises(ProtocolError):
        parse_text_message(text)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_random_json_parses_or_raises_protocol_error(value):
    try:
        message = parse_text_message(json.dumps(value))
    except ProtocolError:
        return
    assert isinstance(message["type"], str)


@pytest.mark.parametrize("small", ["[]", "{}", "1", '"a"'])
def test_text_with_many_values_is_rejected_before_parsing(small):
    """Parsing 1 MB of small values would take 40 MB and block all other streams."""

    def text(count: int) -> str:
        return '{"type":"config","x":[' + ",".join(count * [small]) + "]}"

    assert parse_text_message(text(100))["type"] == "config"
    with pytest.raises(ProtocolError, match=f"more than {MAX_JSON_VALUES} values"):
        parse_text_message(text(MAX_JSON_VALUES + 2))


def test_text_with_one_long_value_is_accepted():
    value = "A" * 4_000_000
    assert parse_text_message(json.dumps({"type": "config", "x": value}))["x"] == value
