"""Who asked: the ids that an answer, its log lines and the caller's trace share."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What ties an answer, its log lines and the caller's trace together."""

    request_id: str
    trace_id: str | None = None
    traceparent: str | None = None
    """To pass on: the caller's, or with tracing that of our own span."""


IDENTITY: ContextVar[Identity | None] = ContextVar("identity", default=None)
"""The request being answered; log lines carry it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<more>-.*)?"
)


def read_identity(request_id: str | None, traceparent: str | None) -> Identity:
    """Takes over the caller's `X-Request-Id`, else the trace id, else makes an id.

    A request id that could not stand in a header and a log line as it is, is not taken over.
    """
    trace_id = parse_trace_id(traceparent or "")
    parent = traceparent.strip() if traceparent and trace_id else None
    if request_id and _REQUEST_ID.fullmatch(request_id):
        return Identity(request_id, trace_id, parent)
    return Identity(trace_id or secrets.token_hex(16), trace_id, parent)


def parse_trace_id(header: str) -> str | None:
    """The trace id of a W3C `traceparent`, None when the header is not valid."""
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if not (match["trace"].strip("0") and match["parent"].strip("0")):
        return None
    return match["trace"]
