"""Ids of a request: they connect its response, its log lines and the trace of the caller."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Ids of one HTTP request: its request id and, if it has them, its W3C trace ids."""

    request_id: str
    trace_id: str | None = None
    traceparent: str | None = None
    """W3C header for calls made on behalf of the request.

    Its parent is the caller's span or, if tracing is enabled, the span of this service.
    """


IDENTITY: ContextVar[Identity | None] = ContextVar("identity", default=None)
"""Ids of the current request, which its log lines include; None outside of a request."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<more>-.*)?"
)


def read_identity(request_id: str | None, traceparent: str | None) -> Identity:
    """Returns the ids of a request from its headers `X-Request-Id` and `traceparent`.

    The request id is the header if it has 1 to 128 characters of `A-Za-z0-9._:-`, which are safe in
    a header and in a log line. Else it is the trace id, else 32 random hexadecimal digits.
    """
    trace_id = parse_trace_id(traceparent or "")
    parent = traceparent.strip() if traceparent and trace_id else None
    if request_id and _REQUEST_ID.fullmatch(request_id):
        return Identity(request_id, trace_id, parent)
    return Identity(trace_id or secrets.token_hex(16), trace_id, parent)


def parse_trace_id(header: str) -> str | None:
    """Returns the trace id, 32 hexadecimal digits, of a W3C `traceparent` header.

    Returns None for an invalid header.
    """
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if not (match["trace"].strip("0") and match["parent"].strip("0")):
        return None
    return match["trace"]
