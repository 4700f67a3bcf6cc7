"""Signals that end a server process while a dozen clients use it over sockets."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import numpy as np
import pytest

from silhouette_seg.client import AsyncClient, Result, Retries, StreamClosed
from tests.faults.process import PATIENCE_S, ServerProcess, http_client, serving
from tests.integration.pictures import picture, pixels, refusal
from tests.support.images import make_jpeg, make_png, quadrants

JPEG = make_jpeg(quadrants())
CLIENTS = 12
PATIENT = {
    "workers": 2,
    "queue_timeout_s": PATIENCE_S,
    "request_timeout_s": PATIENCE_S,
    "drain_timeout_s": PATIENCE_S,
    "log_format": "json",
}
IN_FLIGHT = "silhouette_requests_in_flight"


@pytest.fixture
def server(repository, tmp_path) -> Iterator[ServerProcess]:
    with serving(tmp_path, repository, **PATIENT) as running:
        yield running


def photo(number: int) -> bytes:
    """Returns a PNG of `height(number)` rows, so that each photo and mask is unique."""
    rgb = np.zeros((height(number), 32, 3), np.uint8)
    rgb[:, :16, 0] = 255
    return make_png(rgb)


def height(number: int) -> int:
    return 24 + number


def post(url: str, number: int) -> httpx.Response:
    with http_client(url) as client:
        return client.post(
            "/v1/segment", content=photo(number), headers={"content-type": "image/png"}
        )


def test_sigterm_finishes_accepted_requests_and_rejects_new_ones(server):
    server.hold()
    with ThreadPoolExecutor(CLIENTS) as clients:
        accepted = [clients.submit(post, server.url, number) for number in range(CLIENTS)]
        server.wait_until(lambda: server.metric(IN_FLIGHT) == CLIENTS)

        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: not server.is_ready())
        refusal(server.http.get("/readyz"), 503, "draining")
        assert server.http.get("/livez").status_code == 200
        rejected = [post(server.url, number) for number in range(3)]
        assert server.requests(503, "draining") == len(rejected)
        assert server.metric(IN_FLIGHT) == CLIENTS
        assert not any(request.done() for request in accepted)

        server.release()
        responses = [request.result(PATIENCE_S) for request in accepted]
    for response in rejected:
        assert refusal(response, 503, "draining")["retryable"] is True
        assert response.headers["retry-after"] == "1"
    heights = [picture(response).shape[0] for response in responses]
    assert heights == list(map(height, range(CLIENTS)))
    assert server.wait_exit_code() == 0
    with pytest.raises(httpx.ConnectError):
        post(server.url, 0)
    assert "Traceback" not in server.log


async def post_until_rejected(url: str, number: int, on_result: Callable[[], None]) -> str:
    """Posts photo after photo over one connection. Returns how the first failure ended."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False) as client:
        while True:
            headers = {"content-type": "image/png"}
            request = client.build_request(
                "POST", "/v1/segment", content=photo(number), headers=headers
            )
            try:
                response = await client.send(request, stream=True)
            except httpx.TransportError:
                return "connection refused"
            await response.aread()  # raises for an incomplete body, which fails the test
            if response.status_code != 200:
                refusal(response, 503, "draining")
                return "draining"
            assert picture(response).shape[0] == height(number)
            on_result()


async def test_sigterm_leaves_no_response_incomplete(server):
    count, enough = 0, asyncio.Event()

    def on_result() -> None:
        nonlocal count
        count += 1
        if count == 3 * CLIENTS:
            enough.set()

    async with asyncio.timeout(PATIENCE_S):
        clients = [
            asyncio.create_task(post_until_rejected(server.url, number, on_result))
            for number in range(CLIENTS)
        ]
        await enough.wait()
        server.process.send_signal(signal.SIGTERM)
        ends = await asyncio.gather(*clients)
    assert set(ends) <= {"draining", "connection refused"}
    assert await asyncio.to_thread(server.wait_exit_code) == 0
    # Every response that the server logged has arrived completely.
    assert server.log.count("POST /v1/segment 200 ok") == count
    assert "Traceback" not in server.log


async def test_client_retries_survive_sigkill_and_restart(repository, tmp_path):
    restarted = asyncio.Event()
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        """Waits for the restart, however long it takes on this machine."""
        delays.append(seconds)
        await restarted.wait()

    retries = Retries(total_s=PATIENCE_S, sleep=sleep)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with serving(tmp_path / "first", repository, **PATIENT) as first:
        async with (
            asyncio.timeout(2 * PATIENCE_S),
            AsyncClient(first.url, timeout_s=PATIENCE_S, retries=retries) as client,
        ):
            async with client.stream() as stream:
                await stream.send(JPEG)
                assert isinstance(await anext(stream), Result)
                first.hold()
                await stream.send(JPEG)
                calls = [asyncio.create_task(client.segment(photo(n))) for n in range(CLIENTS)]
                await asyncio.to_thread(
                    first.wait_until, lambda: first.metric(IN_FLIGHT) == CLIENTS
                )
                first.process.kill()
                with pytest.raises(StreamClosed) as closed:
                    await anext(stream)
            assert first.wait_exit_code() == -signal.SIGKILL
            serve_again = partial(
                serving, tmp_path / "second", repository, port=first.port, **PATIENT
            )
            with serve_again() as second:
                restarted.set()
                results = await asyncio.gather(*calls)
                async with client.stream() as stream:
                    await stream.send(JPEG)
                    assert isinstance(await anext(stream), Result)
                assert second.requests(200, "ok") == CLIENTS
    heights = [pixels(result.body).shape[0] for result in results]
    assert heights == list(map(height, range(CLIENTS)))
    assert delays == [retries.first_s] * CLIENTS  # each call failed once and was retried once
    assert (closed.value.code, closed.value.retryable) == (1006, True)
