"""Splits the `multipart/mixed` response to a batch of photos into one response per photo."""

from email.message import Message

import httpx

from silhouette_seg.client.errors import Unreachable

STATUS_HEADER = "X-Status"
"""Name of the header that holds the HTTP status of a part."""


def split_responses(response: httpx.Response) -> list[httpx.Response]:
    """Returns the parts of a `multipart/mixed` response in order, as responses of their own.

    Each has its own status, headers and body. Raises Unreachable for a response that is incomplete
    or not `multipart/mixed`.
    """
    delimiter = b"\r\n--" + _boundary(response)
    _, *parts = (b"\r\n" + response.content).split(delimiter)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Unreachable("The response is incomplete.")
    return [_parse_part(part) for part in parts[:-1]]


def _boundary(response: httpx.Response) -> bytes:
    message = Message()
    message["Content-Type"] = response.headers.get("content-type", "")
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise Unreachable("The response is not multipart/mixed.", retryable=False)
    return boundary.encode()


def _parse_part(part: bytes) -> httpx.Response:
    head, _, body = part.partition(b"\r\n\r\n")
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    headers = httpx.Headers([(name, value.strip()) for name, _, value in lines])
    status = headers.get(STATUS_HEADER, "")
    if not (status.isascii() and status.isdigit()):
        raise Unreachable(f"A part of the response has no {STATUS_HEADER}.", retryable=False)
    return httpx.Response(int(status), headers=headers, content=body)
