"""The end of a server in a process of its own, with a dozen clients on real sockets."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import numpy as np
import pytest

from silhouette_seg.client import Client, Result, Retries, StreamClosed
from tests.faults.process import PATIENCE_S, Serving, http_client, serving
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
def server(repository, tmp_path) -> Iterator[Serving]:
    with serving(tmp_path, repository, **PATIENT) as running:
        yield running


def photo(number: int) -> bytes:
    """Unlike those of all others, and so is its mask."""
    rgb = np.zeros((24 + number, 32, 3), np.uint8)
    rgb[:, :16, 0] = 255
    return make_png(rgb)


def height(number: int) -> int:
    return 24 + number


def post(url: str, number: int) -> httpx.Response:
    with http_client(url) as client:
        return client.post(
            "/v1/segment", content=photo(number), headers={"content-type": "image/png"}
        )


def test_sigterm_under_load_answers_all_that_was_accepted_and_nothing_new(server):
    server.hold()
    with ThreadPoolExecutor(CLIENTS) as clients:
        accepted = [clients.submit(post, server.url, number) for number in range(CLIENTS)]
        server.wait(lambda: server.metric(IN_FLIGHT) == CLIENTS)

        server.process.send_signal(signal.SIGTERM)
        server.wait(lambda: not server.ready())
        refusal(server.http.get("/readyz"), 503, "draining")
        assert server.http.get("/livez").status_code == 200
        new = [post(server.url, number) for number in range(3)]
        assert server.requests(503, "draining") == len(new)
        assert server.metric(IN_FLIGHT) == CLIENTS
        assert not any(each.done() for each in accepted)

        server.release()
        answers = [each.result(PATIENCE_S) for each in accepted]
    for answer in new:
        assert refusal(answer, 503, "draining")["retryable"] is True
        assert answer.headers["retry-after"] == "1"
    assert [picture(answer).shape[0] for answer in answers] == list(map(height, range(CLIENTS)))
    assert server.ended() == 0
    with pytest.raises(httpx.ConnectError):
        post(server.url, 0)
    assert "Traceback" not in server.log


async def ask_until_refused(url: str, number: int, answered: Callable[[], None]) -> str:
    """Photo after photo over one connection; how the first that was not answered ended."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False) as client:
        while True:
            headers = {"content-type": "image/png"}
            request = client.build_request(
                "POST", "/v1/segment", content=photo(number), headers=headers
            )
            try:
                answer = await client.send(request, stream=True)
            except httpx.TransportError:
                return "nobody there"
            await answer.aread()  # one that is torn raises, and fails the test
            if answer.status_code != 200:
                refusal(answer, 503, "draining")
                return "draining"
            assert picture(answer).shape[0] == height(number)
            answered()


async def test_sigterm_while_answers_flow_tears_none(server):
    count, enough = 0, asyncio.Event()

    def answered() -> None:
        nonlocal count
        count += 1
        if count == 3 * CLIENTS:
            enough.set()

    async with asyncio.timeout(PATIENCE_S):
        clients = [
            asyncio.create_task(ask_until_refused(server.url, number, answered))
            for number in range(CLIENTS)
        ]
        await enough.wait()
        server.process.send_signal(signal.SIGTERM)
        ends = await asyncio.gather(*clients)
    assert set(ends) <= {"draining", "nobody there"}
    assert await asyncio.to_thread(server.ended) == 0
    # All that it answered has arrived, and wholly.
    assert server.log.count("POST /v1/segment 200 ok") == count
    assert "Traceback" not in server.log


async def test_sigkill_and_a_restart_lose_nothing_of_clients_that_try_again(repository, tmp_path):
    back = asyncio.Event()
    failed: list[float] = []

    async def sleep(seconds: float) -> None:
        """Until the service is there again, however long this machine takes for that."""
        failed.append(seconds)
        await back.wait()

    retries = Retries(total_s=PATIENCE_S, sleep=sleep)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with serving(tmp_path / "first", repository, **PATIENT) as first:
        async with (
            asyncio.timeout(2 * PATIENCE_S),
            Client(first.url, timeout_s=PATIENCE_S, retries=retries) as client,
        ):
            async with client.stream() as stream:
                await stream.send(JPEG)
                assert isinstance(await anext(stream), Result)
                first.hold()
                await stream.send(JPEG)
                asked = [asyncio.create_task(client.segment(photo(n))) for n in range(CLIENTS)]
                await asyncio.to_thread(first.wait, lambda: first.metric(IN_FLIGHT) == CLIENTS)
                first.process.kill()
                with pytest.raises(StreamClosed) as closed:
                    await anext(stream)
            assert first.ended() == -signal.SIGKILL
            again = partial(serving, tmp_path / "second", repository, port=first.port, **PATIENT)
            with again() as second:
                back.set()
                answers = await asyncio.gather(*asked)
                async with client.stream() as stream:
                    await stream.send(JPEG)
                    assert isinstance(await anext(stream), Result)
                assert second.requests(200, "ok") == CLIENTS
    heights = [pixels(answer.body).shape[0] for answer in answers]
    assert heights == list(map(height, range(CLIENTS)))
    assert failed == [retries.first_s] * CLIENTS  # each was told once, and tried once more
    assert (closed.value.code, closed.value.retryable) == (1006, True)
