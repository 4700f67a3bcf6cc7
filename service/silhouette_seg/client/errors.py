"""What a call of the client may end in, and where foreign errors become ours.

ClientError
├── Refused        the service said no, and why
├── Unreachable    there is no answer
└── StreamClosed   the stream ended before we did
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
from websockets.exceptions import InvalidHandshake, InvalidStatus

from silhouette_seg.streaming import protocol

_COME_BACK_STATUS = frozenset({408, 429, 502, 503, 504})
BROKEN = 1006
"""In place of the code that a connection which broke did not have."""
_COME_BACK_CLOSE = frozenset(
    {
        BROKEN,
        protocol.CloseCode.GOING_AWAY,
        protocol.CloseCode.RESTART,
        protocol.CloseCode.OVERLOADED,
        protocol.CloseCode.TOO_MANY_STREAMS,
    }
)


class ClientError(Exception):
    """`retryable` tells that the same may succeed later, `retry_after_s` when to try."""

    retryable = False
    retry_after_s: float | None = None


class Refused(ClientError):
    """A problem of the service (RFC 9457). Of what is not ours, `code` is `http_<status>`."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        limit: float | None = None,
        actual: float | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        """None in a stream."""
        self.retryable = retryable
        self.limit = limit
        self.actual = actual
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class Unreachable(ClientError):
    """The connection could not be made, broke, or nothing came in time."""

    def __init__(self, detail: str, *, retryable: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retryable = retryable


class StreamClosed(ClientError):
    """`code` is one of protocol.CloseCode, 1002 where the service broke the protocol, or 1006 where
    the connection broke: a service that was killed may be there again."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason
        self.retryable = code in _COME_BACK_CLOSE


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """What an answer that is no success says; a proxy's page is not a problem document."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    after = headers.get("retry-after", "")
    retry_after_s = float(after) if after.isascii() and after.isdigit() else None
    if not isinstance(said, dict) or not isinstance(said.get("code"), str):
        return Refused(
            f"http_{status}",
            f"The answer has status {status} and does not say why.",
            status=status,
            retryable=status in _COME_BACK_STATUS,
            retry_after_s=retry_after_s,
        )
    return Refused(
        said["code"],
        str(said.get("detail", "")),
        status=status,
        retryable=bool(said.get("retryable")),
        limit=said.get("limit"),
        actual=said.get("actual"),
        request_id=said.get("request_id"),
        retry_after_s=retry_after_s,
    )


@contextmanager
def http_errors(url: httpx.URL) -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except httpx.ReadTimeout as error:
        # The service has a deadline of its own and would have told: asking again will not help.
        raise Unreachable(f"{url} took too long to answer", retryable=False) from error
    except httpx.TransportError as error:
        raise Unreachable(f"{url} cannot be reached: {_why(error)}") from error


@contextmanager
def handshake_errors(url: httpx.URL) -> Iterator[None]:
    """Those of a WebSocket that does not open."""
    try:
        yield
    except InvalidStatus as error:
        answer = error.response
        raise refusal(answer.status_code, answer.headers, bytes(answer.body or b"")) from error
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise Unreachable(f"{url} cannot be reached: {_why(error)}") from error


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
