"""Errors of the client, and the translation of httpx's and websockets' errors to them.

ClientError
├── Refused        the service answered with an error
├── Unreachable    there is no usable answer
└── StreamClosed   the stream ended before the client closed it
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
from websockets.exceptions import InvalidHandshake, InvalidStatus

from silhouette_seg.streaming import protocol

ABNORMAL_CLOSURE = 1006
"""Close code of a connection that broke without a close frame (RFC 6455, 7.4.1)."""

_RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504})
_RETRYABLE_CLOSE_CODES = frozenset(
    {
        ABNORMAL_CLOSURE,
        protocol.CloseCode.GOING_AWAY,
        protocol.CloseCode.RESTART,
        protocol.CloseCode.OVERLOADED,
        protocol.CloseCode.TOO_MANY_STREAMS,
    }
)


class ClientError(Exception):
    """Base of the errors that the client of the service raises."""

    retryable = False
    """True if the same call may succeed when it is repeated later."""
    retry_after_s: float | None = None
    """Seconds to wait before a repetition, from the header `Retry-After`; None without it."""


class Refused(ClientError):
    """The service answered with an error; the attributes are the fields of its problem document.

    `code` is `http_<status>` if the response has no problem document (RFC 9457), such as a proxy's.
    """

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
        """HTTP status; None for an error message in a stream."""
        self.retryable = retryable
        self.limit = limit
        self.actual = actual
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class Unreachable(ClientError):
    """The connection to the service failed, broke or timed out, or the response is invalid."""

    def __init__(self, detail: str, *, retryable: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retryable = retryable


class StreamClosed(ClientError):
    """A video stream ended before the client closed it.

    `code` is the WebSocket close code of the service, or 1002 if it violated the protocol. It is
    1006 if the connection broke; that is retryable, because a killed service may be restarted.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason
        self.retryable = code in _RETRYABLE_CLOSE_CODES


def refused_from_response(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """Returns the error for an HTTP response with an error status.

    Its fields come from the problem document in `body`. Without one, as from a proxy, the code is
    `http_<status>`.
    """
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    after = headers.get("retry-after", "")
    retry_after_s = float(after) if after.isascii() and after.isdigit() else None
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return Refused(
            f"http_{status}",
            f"The response has status {status} and no problem document.",
            status=status,
            retryable=status in _RETRYABLE_STATUSES,
            retry_after_s=retry_after_s,
        )
    return Refused(
        problem["code"],
        str(problem.get("detail", "")),
        status=status,
        retryable=bool(problem.get("retryable")),
        limit=problem.get("limit"),
        actual=problem.get("actual"),
        request_id=problem.get("request_id"),
        retry_after_s=retry_after_s,
    )


@contextmanager
def translate_http_errors(url: httpx.URL) -> Iterator[None]:
    """Context manager that raises Unreachable, with the URL, for httpx's transport errors."""
    try:
        yield
    except httpx.ReadTimeout as error:
        # The service has a deadline of its own and would have answered: a retry will not help.
        raise Unreachable(f"{url} took too long to answer", retryable=False) from error
    except httpx.TransportError as error:
        raise Unreachable(f"{url} cannot be reached: {_describe(error)}") from error


@contextmanager
def translate_handshake_errors(url: httpx.URL) -> Iterator[None]:
    """Context manager that translates the errors of a WebSocket handshake.

    Raises Refused if the service answers with an HTTP error, and Unreachable otherwise.
    """
    try:
        yield
    except InvalidStatus as error:
        response = error.response
        body = bytes(response.body or b"")
        raise refused_from_response(response.status_code, response.headers, body) from error
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise Unreachable(f"{url} cannot be reached: {_describe(error)}") from error


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
