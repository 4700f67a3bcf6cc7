"""Minimal HTTP/1.1 client with keep-alive connections.

The client shares processors with the measured server, so it does as little work as possible.
"""

import asyncio
from typing import NamedTuple, Self

HOST = "127.0.0.1"
BOUNDARY = "silhouette-compare"


class HttpResponse(NamedTuple):
    """Status and body of a response."""

    status: int
    body: bytes


def upload_request(path: str, jpeg: bytes) -> bytes:
    """Returns a POST request with the photo as the form field `image`, as browsers send it."""
    form = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + jpeg
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(form)}\r\n\r\n"
    )
    return head.encode() + form


def get_request(path: str) -> bytes:
    """Returns a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\n\r\n".encode()


class HttpConnection:
    """Keep-alive connection that opens on first use and reopens after the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def send(self, request: bytes) -> HttpResponse:
        """Sends a request and returns the response.

        Raises OSError or EOFError if the server closes the connection, ValueError for invalid HTTP.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(_header(head, b"content-length") or 0))
        if _header(head, b"connection") == b"close":
            self.close()
        return HttpResponse(int(head[9:12]), body)

    def close(self) -> None:
        """Closes the connection if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()
