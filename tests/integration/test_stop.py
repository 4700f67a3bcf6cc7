"""A stop of the server while clients read, send, or use their connections all the time."""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from contextlib import closing

import httpx
import pytest

from silhouette_seg.client import AsyncClient, Result, StreamClosed
from silhouette_seg.client.stream import Stream
from silhouette_seg.server import http_protocol, server
from silhouette_seg.streaming.protocol import CloseCode
from tests.integration.conftest import PATIENCE_S, OnSocket, on_socket
from tests.integration.pictures import pixels, refusal
from tests.integration.raw_client import (
    PHOTO_ROUTES,
    connect,
    noise_png,
    photo_request,
    receive_all,
)
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
CLIENTS = 16
SMALL_BUFFER = 2**15
"""Bytes of a receive buffer that make the server hold most of a response."""


@pytest.mark.parametrize("path", PHOTO_ROUTES)
def test_slow_reader_receives_whole_response_after_stop(settings_with, monkeypatch, path):
    """Reading takes longer than connections had to close before: they have the whole drain."""
    monkeypatch.setattr(server, "CLOSE_TIMEOUT_S", 0.1)
    with on_socket(settings_with()) as service, closing(connect(service, SMALL_BUFFER)) as client:
        shrink_send_buffer(service)
        client.sendall(photo_request(path, noise_png(700, 700)))
        head, _, answer = client.recv(SMALL_BUFFER).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        service.server.should_exit = True
        service.wait(service.gateway.streams.draining.is_set)
        while piece := client.recv(2**16):
            answer += piece
            time.sleep(0.005)  # the pace of the reader
    if "batch" in path:
        assert answer.endswith(b"--\r\n\r\n0\r\n\r\n")
    else:
        assert len(answer) == int(head.lower().partition(b"content-length: ")[2].split()[0])
        assert pixels(answer).shape == (700, 700, 4)


def shrink_send_buffer(service: OnSocket) -> None:
    """Makes the kernel hold few bytes of the responses on the only connection."""
    service.wait(lambda: len(service.server.server_state.connections) == 1)
    for connection in list(service.server.server_state.connections):
        own = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)


def test_stop_closes_unused_connection_at_once(settings_with, monkeypatch):
    monkeypatch.setattr(http_protocol, "LAST_REQUEST_S", 0.0)
    with on_socket(settings_with()) as service, closing(connect(service)) as client:
        service.wait(lambda: len(service.server.server_state.connections) == 1)
        service.server.should_exit = True
        assert receive_all(client) == b""


def test_response_during_drain_closes_its_connection(settings_with, gated):
    with on_socket(settings_with(engine="gated")) as service:
        gated[0].gate.clear()
        accepted: list[httpx.Response] = []
        with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as client:
            posting = threading.Thread(target=lambda: accepted.append(post(client)))
            posting.start()
            service.wait(lambda: gated[0].running == 1)
            service.server.should_exit = True
            service.wait(service.gateway.streams.draining.is_set)
            with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as late:
                rejected = [post(late), late.get("/readyz")]
                pages = [late.get("/livez"), late.get("/"), late.get("/v2/health/live")]
            service.server.servers[0].get_loop().call_soon_threadsafe(gated[0].gate.set)
            posting.join(PATIENCE_S)
    for response in rejected:
        refusal(response, 503, "draining")
    assert [response.status_code for response in (*accepted, *pages)] == [200] * 4
    for response in (*accepted, *rejected, *pages):
        assert response.headers["connection"] == "close"


async def test_busy_keep_alive_clients_lose_no_request_in_stop(settings_with):
    """A refused connection loses none: nothing was sent yet."""
    with on_socket(settings_with()) as service:
        served = asyncio.Event()
        clients = [asyncio.create_task(use_until_refused(service, served)) for _ in range(CLIENTS)]
        async with asyncio.timeout(PATIENCE_S):
            await served.wait()
            service.server.should_exit = True
            ends = Counter(await asyncio.gather(*clients))
    assert ends == {"refused": CLIENTS}


async def use_until_refused(service: OnSocket, served: asyncio.Event) -> str:
    """Sends request after request. Returns `refused`, or the error of a request that was lost."""
    async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE_S, verify=False) as client:
        while True:
            try:
                response = await client.get("/v1/models")
                await client.post(
                    "/v1/segment", content=JPEG, headers={"content-type": "image/jpeg"}
                )
            except httpx.ConnectError:
                return "refused"
            except httpx.TransportError as error:
                return repr(error)
            assert response.status_code == 200 or response.json()["code"] == "draining"
            served.set()


async def test_stop_sends_result_of_frame_in_work_to_stream(settings_with, gated):
    """The client goes on sending: its unread frames must not reset the connection."""
    with on_socket(settings_with(engine="gated")) as service:
        async with (
            asyncio.timeout(PATIENCE_S),
            AsyncClient(service.url) as client,
            client.stream() as stream,
        ):
            gated[0].gate.clear()
            await stream.send(JPEG)
            await asyncio.to_thread(service.wait, lambda: gated[0].running == 1)
            service.server.should_exit = True
            await asyncio.to_thread(service.wait, service.gateway.streams.draining.is_set)
            service.server.servers[0].get_loop().call_soon_threadsafe(gated[0].gate.set)
            assert isinstance(await anext(stream), Result)
            with pytest.raises(StreamClosed) as closed:
                await send_forever(stream)
    assert closed.value.code == CloseCode.RESTART


async def send_forever(stream: Stream) -> None:
    while True:
        await stream.send(JPEG)


def test_request_on_its_way_at_the_stop_is_answered(settings_with):
    """A connection that was just used stays open for its next request."""
    with on_socket(settings_with()) as service, closing(connect(service)) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(2**16).startswith(b"HTTP/1.1 200")
        service.server.should_exit = True
        service.wait(lambda: not service.server.servers[0].is_serving())
        client.sendall(b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        head, _, body = receive_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["code"] == "draining"


def post(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/segment", content=JPEG, headers={"content-type": "image/jpeg"})
