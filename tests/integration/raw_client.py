"""Requests as bytes on a bare socket, for tests that read slowly or close one side."""

import socket

import httpx
import numpy as np

from tests.integration.conftest import PATIENCE_S, OnSocket
from tests.support.images import make_png
from tests.support.tensors import binary_request, random_inputs
from tests.support.tiny_model import tiny_spec

PHOTO_ROUTES = ("/v1/segment", "/v1/segment/batch", "/v1.0/removebg")
"""Routes that answer with a picture of the size of the photo."""
INFER_PATH = "/v2/models/connectnet/infer"
TENSORS = random_inputs(tiny_spec(), 1)


def photo_request(path: str, png: bytes) -> bytes:
    """Returns the bytes of a request to one of `PHOTO_ROUTES` for a cut-out of a PNG."""
    field = "image_file" if path == "/v1.0/removebg" else "image"
    fields = {"size": "full"} if path == "/v1.0/removebg" else {"output": "cutout"}
    files = {field: ("photo.png", png, "image/png")}
    return to_bytes(httpx.Request("POST", f"http://x{path}", data=fields, files=files))


def infer_request() -> bytes:
    """Returns the bytes of a request of one row to `INFER_PATH`."""
    content, headers = binary_request(TENSORS)
    return to_bytes(
        httpx.Request("POST", f"http://x{INFER_PATH}", content=content, headers=headers)
    )


def to_bytes(request: httpx.Request) -> bytes:
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + request.read()


def connect(service: OnSocket, receive_buffer: int | None = None) -> socket.socket:
    """Connects to a service; `receive_buffer` is the size of the socket's buffer in bytes."""
    connection = socket.socket()
    connection.settimeout(PATIENCE_S)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", service.port))
    return connection


def receive_all(connection: socket.socket) -> bytes:
    """Returns everything that the server sends until it closes."""
    received = bytearray()
    while piece := connection.recv(2**18):
        received += piece
    return bytes(received)


def noise_png(height: int, width: int) -> bytes:
    """Returns a PNG of a person in noise. Its cut-out is about as large as its pixels."""
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    rgb[:, : width // 2, 0] = 255  # the tiny model returns red as alpha
    rgb[:, width // 2 :, 0] = 0
    return make_png(rgb)
