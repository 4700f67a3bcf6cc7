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
def test_a_message_comes_back(header, body):
    told, rest = unpack(pack(header, body))
    assert (told, bytes(rest)) == (header, body)


def test_the_layout_is_that_of_the_description():
    message = pack(
        MessageHeader(MessageKind.RESULT, 0x01020304, 0x1122334455667788, MessageFlags.FOREGROUND),
        b"x",
    )
    assert message == bytes.fromhex("53494c48 01 02 0100 04030201 8877665544332211") + b"x"


@given(
    width=st.integers(0, 2**16 - 1),
    height=st.integers(0, 2**16 - 1),
    dropped=st.integers(0, 2**32 - 1),
    server_us=st.integers(0, 2**32 - 1),
    picture=st.binary(max_size=50),
)
def test_a_result_comes_back(width, height, dropped, server_us, picture):
    result = ResultHeader(width, height, dropped, server_us)
    header, body = unpack(pack_result(MessageHeader(MessageKind.RESULT, 7, 8), result, picture))
    told, rest = unpack_result(body)
    assert (header.seq, told, bytes(rest)) == (7, result, picture)


def test_counts_that_do_not_fit_are_the_largest_that_do():
    message = pack_result(
        MessageHeader(MessageKind.RESULT, 7, 8), ResultHeader(1, 1, 2**40, 2**50), b""
    )
    told, _ = unpack_result(unpack(message)[1])
    assert (told.skipped, told.server_us) == (2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize(
    ("message", "said"),
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
def test_what_breaks_the_protocol_is_told(message, said):
    with pytest.raises(ProtocolError, match=said):
        unpack(message)


@given(message=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_wire_error(message):
    try:
        header, body = unpack(message)
    except ProtocolError:
        return
    assert pack(header, bytes(body)) == message


def test_a_result_that_is_cut_short_is_told():
    with pytest.raises(ProtocolError, match="12 bytes"):
        unpack_result(memoryview(b"x" * 11))


def test_text_comes_back():
    assert parse_text_message(text_message("ready", {"credits": 2, "size": None})) == {
        "type": "ready",
        "credits": 2,
        "size": None,
    }


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[1]", "3", "null", "{}", '{"type": 3}', "[" * 100_000, "9" * 5000]
)
def test_text_that_is_no_message_is_told(text):
    with pytest.raises(ProtocolError):
        parse_text_message(text)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_json_is_a_message_or_a_wire_error(value):
    try:
        message = parse_text_message(json.dumps(value))
    except ProtocolError:
        return
    assert isinstance(message["type"], str)


@pytest.mark.parametrize("small", ["[]", "{}", "1", '"a"'])
def test_text_of_many_small_values_is_refused_before_it_is_parsed(small):
    """A megabyte of them would be forty of memory, and stop every other stream meanwhile."""

    def text(count: int) -> str:
        return '{"type":"config","x":[' + ",".join(count * [small]) + "]}"

    assert parse_text_message(text(100))["type"] == "config"
    with pytest.raises(ProtocolError, match=f"more than {MAX_JSON_VALUES} values"):
        parse_text_message(text(MAX_JSON_VALUES + 2))


def test_text_with_one_long_value_is_read():
    picture = "A" * 4_000_000
    assert parse_text_message(json.dumps({"type": "config", "x": picture}))["x"] == picture
