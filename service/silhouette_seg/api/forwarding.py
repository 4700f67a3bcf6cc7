"""Forwards requests about a WebRTC stream to the process of the server that has the stream.

The processes of a server reach one another over Unix sockets in a folder that only their user can
enter. The process that a client has reached counts and logs the request.
"""

import socket
from pathlib import Path

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from silhouette_seg.api.process_health import ProcessHealth
from silhouette_seg.errors import NotFound, Unavailable
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.streaming.webrtc.registry import NO_SUCH_STREAM
from silhouette_seg.telemetry import IDENTITY

_REQUEST_HEADERS = ("accept", "authorization", "content-type", "x-api-key", "traceparent")
_RESPONSE_HEADERS = ("cache-control", "content-type", "retry-after", "www-authenticate")


def bind_unix(folder: Path, index: int) -> socket.socket:
    """Returns a socket on which the process with this number listens to the others."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(_socket_path(folder, index)))
    listener.listen()
    return listener


def is_forwarded(scope: Scope) -> bool:
    """Returns True if a request comes from another process of the server, over a Unix socket."""
    server = scope.get("server")
    return server is not None and str(server[0]).startswith("/")


class Forwarder:
    """Sends a request to another process of a server, and returns its response.

    `folder` has the sockets of the processes.
    """

    def __init__(
        self, group: ProcessGroup, health: ProcessHealth, folder: Path, timeout_s: float
    ) -> None:
        self._group = group
        self._health = health
        self._folder = folder
        self._timeout_s = timeout_s

    def owner_of(self, id: str) -> int | None:
        """Returns the number of the other process that has the stream with this id.

        It is None for a stream of this process, and for an id that no process has given.
        """
        owner = self._group.owner_of(id)
        return None if owner == self._group.index else owner

    async def forward(self, request: Request, owner: int, body: bytes = b"") -> Response:
        """Sends the request with this body to the process with the number `owner`.

        Raises NotFound if that process has died, and Unavailable if it does not answer in time.
        """
        if not self._health.is_running(owner):
            raise NotFound(NO_SUCH_STREAM)
        sent = request.headers
        headers = {name: sent[name] for name in _REQUEST_HEADERS if name in sent}
        if identity := IDENTITY.get():
            headers["x-request-id"] = identity.request_id
        transport = httpx.AsyncHTTPTransport(uds=str(_socket_path(self._folder, owner)))
        try:
            async with httpx.AsyncClient(transport=transport, timeout=self._timeout_s) as client:
                url = f"http://process{request.url.path}"
                answer = await client.request(request.method, url, headers=headers, content=body)
        except httpx.TimeoutException as error:
            raise Unavailable("The process of the stream does not answer.") from error
        except httpx.TransportError as error:
            raise NotFound(NO_SUCH_STREAM) from error
        kept = {name: answer.headers[name] for name in _RESPONSE_HEADERS if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)


def _socket_path(folder: Path, index: int) -> Path:
    return folder / f"process-{index}.sock"
