"""The parts of a `multipart/mixed` answer, each as an answer of its own."""

from email.message import Message

import httpx

from silhouette_seg.client.errors import Unreachable

STATUS = "X-Status"


def answers(whole: httpx.Response) -> list[httpx.Response]:
    """In order, each with its own status, headers and body. Raises Unreachable for what is none."""
    delimiter = b"\r\n--" + _boundary(whole)
    _, *parts = (b"\r\n" + whole.content).split(delimiter)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Unreachable("The answer is not whole.")
    return [_answer(part) for part in parts[:-1]]


def _boundary(whole: httpx.Response) -> bytes:
    message = Message()
    message["Content-Type"] = whole.headers.get("content-type", "")
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise Unreachable("The answer is not multipart/mixed.", retryable=False)
    return boundary.encode()


def _answer(part: bytes) -> httpx.Response:
    head, _, body = part.partition(b"\r\n\r\n")
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    headers = httpx.Headers([(name, value.strip()) for name, _, value in lines])
    status = headers.get(STATUS, "")
    if not (status.isascii() and status.isdigit()):
        raise Unreachable(f"A part of the answer has no {STATUS}.", retryable=False)
    return httpx.Response(int(status), headers=headers, content=body)
