"""nginx and Caddy in front of the service, with the published configurations."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from silhouette_seg.streaming.protocol import SUBPROTOCOL, CloseCode
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.pictures import picture, refusal
from tests.integration.proxies.conftest import MAX_BODY_BYTES
from tests.integration.proxies.proxy import PATIENCE_S, Proxy
from tests.integration.stream_client import config, frame, result_of
from tests.support.images import make_jpeg, make_png, quadrants

JPEG = make_jpeg(quadrants())
FORGED = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}


@pytest.fixture
def http(proxy) -> Iterator[httpx.Client]:
    context = proxy.certificate.context()
    with httpx.Client(base_url=proxy.url, verify=context, timeout=PATIENCE_S) as client:
        yield client


def stream(proxy: Proxy, *, source: str = "127.0.0.1", **options: Any) -> connect:
    """Opens a stream through the proxy from an address of loopback."""
    return connect(
        f"wss://{proxy.authority}/v1/stream",
        subprotocols=[SUBPROTOCOL],
        ssl=proxy.certificate.context(),
        local_addr=(source, 0),
        open_timeout=PATIENCE_S,
        **options,
    )


async def answer_to_config(peer: ClientConnection) -> str | int:
    """Starts a stream; returns `ready`, or the code with which the service closes it."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            await peer.send(config())
            return "ready" if '"ready"' in await peer.recv() else "?"
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0


@pytest.fixture(autouse=True)
def released(running: OnSocket) -> Iterator[None]:
    """Waits until the streams and requests of a test have ended."""
    yield
    running.wait(lambda: running.gateway.streams.count == 0)
    running.wait(lambda: running.gateway.requests.count == 0)


def test_photo_through_a_proxy_equals_the_direct_one(http, running):
    direct = httpx.post(f"{running.url}/v1/segment", files={"image": JPEG}, timeout=PATIENCE_S)
    through = http.post("/v1/segment", files={"image": JPEG}, headers={"X-Request-Id": "one"})
    picture(through)
    assert through.content == direct.content
    assert through.headers["x-request-id"] == "one"
    assert through.headers["etag"] == direct.headers["etag"]
    assert through.headers["server-timing"]


def test_photo_of_chunks_passes_a_proxy(http):
    chunks = (JPEG[at : at + 500] for at in range(0, len(JPEG), 500))
    picture(http.post("/v1/segment", content=chunks, headers={"content-type": "image/jpeg"}))


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 8 * 2**20, 70 * 2**20])
def test_body_above_the_limit_gets_the_error_of_the_service(size, http):
    answer = http.post("/v1/segment", content=bytes(size), headers={"content-type": "image/jpeg"})
    document = refusal(answer, 413, "body_too_large")
    assert document["limit"] == MAX_BODY_BYTES


def test_photo_near_the_limit_passes_a_proxy(http):
    photo = JPEG + bytes(MAX_BODY_BYTES - len(JPEG))
    picture(http.post("/v1/segment", content=photo, headers={"content-type": "image/jpeg"}))


def test_first_result_of_a_batch_is_not_buffered(http, engine):
    """The second photo is held back until the first result has arrived."""
    files = [("image", ("a.txt", b"no photo")), ("image", ("b.jpg", JPEG))]
    engine.gate.clear()
    with http.stream("POST", "/v1/segment/batch", files=files) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        while b"unsupported_image_type" not in first:
            first += next(pieces)
        assert b"X-Index: 1" not in first
        engine.gate.set()
        assert b"X-Index: 1" in b"".join(pieces)


def test_client_that_leaves_cancels_its_photo(http, running, engine):
    engine.gate.clear()
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/segment", files={"image": JPEG}, timeout=0.5)
    running.wait(lambda: running.gateway.requests.count == 0)


async def test_stream_through_a_proxy_returns_results(proxy):
    async with stream(proxy, origin=proxy.url) as peer:
        assert await answer_to_config(peer) == "ready"
        await peer.send(frame(7, make_png(quadrants())))
        header, _, _ = result_of(await peer.recv())
        assert header.seq == 7


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://localhost", "https://127.0.0.1:{port}"]
)
async def test_page_of_another_origin_may_not_stream(origin, proxy):
    async with stream(proxy, origin=origin.format(port=proxy.port)) as peer:
        assert await answer_to_config(peer) == CloseCode.POLICY


async def test_caller_behind_a_proxy_is_its_client(proxy):
    async with stream(proxy, source="127.0.0.2") as first:
        assert await answer_to_config(first) == "ready"
        async with stream(proxy, source="127.0.0.2", additional_headers=FORGED) as second:
            assert await answer_to_config(second) == CloseCode.TOO_MANY_STREAMS
        async with stream(proxy, source="127.0.0.3") as other:
            assert await answer_to_config(other) == "ready"


async def test_caller_without_a_trusted_proxy_cannot_forge_its_address(settings_with):
    options = {"subprotocols": [SUBPROTOCOL], "open_timeout": PATIENCE_S}
    with on_socket(settings_with(max_streams_per_caller=1)) as running:
        address = f"ws://127.0.0.1:{running.port}/v1/stream"
        async with connect(address, **options) as first:
            assert await answer_to_config(first) == "ready"
            async with connect(address, **options, additional_headers=FORGED) as second:
                assert await answer_to_config(second) == CloseCode.TOO_MANY_STREAMS
