import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.telemetry import Identity, parse_trace_id, read_identity

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.mark.parametrize("version", ["00", "01"])
def test_traceparent_contains_the_trace_id(version):
    assert parse_trace_id(f"{version}-{TRACE}-{PARENT}-01") == TRACE


def test_traceparent_of_later_version_may_be_longer():
    assert parse_trace_id(f"01-{TRACE}-{PARENT}-01-more") == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_invalid_traceparent_has_no_trace_id(header):
    assert parse_trace_id(header) is None


def test_identity_adopts_request_id_of_caller():
    assert read_identity("order-17", None) == Identity("order-17", None)
    identity = read_identity("order-17", f" 00-{TRACE}-{PARENT}-01")
    assert identity == Identity("order-17", TRACE, f"00-{TRACE}-{PARENT}-01")


def test_identity_without_request_id_uses_trace_id():
    header = f"00-{TRACE}-{PARENT}-01"
    assert read_identity(None, header) == Identity(TRACE, TRACE, header)


def test_generated_request_ids_differ():
    assert read_identity(None, None).request_id != read_identity(None, None).request_id


@pytest.mark.parametrize("unsafe", ["", "a b", "a\nb", "x" * 129, "é", '"'])
def test_unsafe_request_id_is_replaced(unsafe):
    assert read_identity(unsafe, None).request_id != unsafe


@given(st.text(), st.text())
def test_request_id_is_safe_for_any_headers(request_id, traceparent):
    safe = read_identity(request_id, traceparent).request_id
    assert 1 <= len(safe) <= 128
    assert safe.isascii()
    assert safe.isprintable()
    assert " " not in safe
