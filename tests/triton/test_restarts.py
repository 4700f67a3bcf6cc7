"""A real Triton that stops, crashes and restarts, behind a gateway that keeps running."""

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from tests.integration.pictures import refusal
from tests.triton.client import poll_until, wait_until_queued
from tests.triton.faults import FaultModel, write_fault_model
from tests.triton.gateway import assert_mask_of, post, retryable_code, run_gateway, wait_until_ready
from tests.triton.server import TritonServer, free_ports, run_triton

POSTERS = 8


class Site(NamedTuple):
    """Ports and models of a Triton that restarts."""

    folder: Path
    ports: tuple[int, int, int]
    one_by_one: FaultModel
    batching: FaultModel


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    return Site(
        folder,
        free_ports(),
        write_fault_model(folder / "repository", "one_by_one"),
        write_fault_model(folder / "repository", "batching", max_batch=8),
    )


@pytest.fixture(scope="module")
def gateway(site):
    """A gateway process for all tests of this module."""
    settings = {
        "triton_url": f"127.0.0.1:{site.ports[1]}",
        "model_repository": site.folder / "repository",
        "request_timeout_s": 20,
        "models": "batching,one_by_one",  # both are required for readiness
    }
    with run_gateway(site.folder, **settings) as running:
        yield running
        assert running.is_running, running.log_file.read_text()


@pytest.fixture
def start_triton(site):
    """Starts Triton on the same ports each time."""
    with ExitStack() as stack:

        def start() -> TritonServer:
            site.one_by_one.reset()
            site.batching.reset()
            repository = site.folder / "repository"
            return stack.enter_context(run_triton(repository, site.folder, ports=site.ports))

        yield start


@pytest.fixture
async def client(gateway):
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def triton(start_triton, client, site):
    """A running Triton that the gateway has found."""
    server = await asyncio.to_thread(start_triton)
    await wait_until_ready(client)
    site.one_by_one.reset()
    return server


async def wait_until_unready(client) -> str:
    """Returns the error code of the gateway's readiness."""
    rejected: list[httpx.Response] = []

    async def is_unready():
        answer = await client.get("/readyz")
        if answer.status_code != 200:
            rejected.append(answer)
        return bool(rejected)

    await poll_until(is_unready)
    return retryable_code(rejected[0])


async def test_stopping_triton_completes_its_requests(triton, site, client, start_triton):
    model = site.one_by_one
    photos = [model.image(red)[0] for red in (201, 202, 203)]
    model.hold()
    posts = [asyncio.create_task(post(client, model.spec.name, photos[0]))]
    await asyncio.to_thread(model.wait_until_held)
    posts += [asyncio.create_task(post(client, model.spec.name, photo)) for photo in photos[1:]]
    await wait_until_queued(triton, model, 2)

    triton.process.send_signal(signal.SIGTERM)
    assert await wait_until_unready(client) == "engine_down"
    refusal(await post(client, model.spec.name, photos[0]), 503, "engine_down")
    assert not any(call.done() for call in posts)

    model.release()
    for photo, call in zip(photos, posts, strict=True):
        assert_mask_of(photo, await call)
    assert await asyncio.to_thread(triton.process.wait, 60) == 0

    await asyncio.to_thread(start_triton)
    await wait_until_ready(client)
    assert_mask_of(photos[0], await post(client, model.spec.name, photos[0]))


class Poster:
    """Posts one photo repeatedly. Each poster has another photo."""

    def __init__(self, model: FaultModel, number: int) -> None:
        self.model = model
        self.photo = model.image()[0]
        red = np.random.default_rng(number).integers(128, 256, self.photo.shape[:2], np.uint8)
        self.photo[..., 0] = red
        self.answers: list[httpx.Response] = []

    async def post(self, client: httpx.AsyncClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.answers.append(await post(client, self.model.spec.name, self.photo))

    def error_codes(self) -> set[str]:
        """Returns the codes of all error responses, which must be retryable.

        All other responses must be the mask of the photo.
        """
        codes = set()
        for answer in self.answers:
            if answer.status_code == 200:
                assert_mask_of(self.photo, answer)
            else:
                codes.add(retryable_code(answer))
        return codes


async def wait_for_each(posters: list[Poster], *, success: bool) -> None:
    """Returns once each poster has got one more success, or one more error."""
    counts = [len(poster.answers) for poster in posters]

    async def is_done():
        return all(
            any((answer.status_code == 200) is success for answer in poster.answers[before:])
            for poster, before in zip(posters, counts, strict=True)
        )

    await poll_until(is_done)


async def test_killed_triton_under_load_gives_no_wrong_mask(triton, site, client, start_triton):
    posters = [Poster(site.batching, number) for number in range(POSTERS)]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for poster in posters:
            group.create_task(poster.post(client, stop))
        await wait_for_each(posters, success=True)

        site.batching.hold()
        await asyncio.to_thread(site.batching.wait_until_held)
        await asyncio.to_thread(triton.kill)
        await wait_for_each(posters, success=False)
        assert await wait_until_unready(client) == "engine_down"

        await asyncio.to_thread(start_triton)
        await wait_for_each(posters, success=True)
        stop.set()
    codes = set().union(*(poster.error_codes() for poster in posters))
    assert "engine_down" in codes
    # The queue is short and is full while the model is held.
    assert codes <= {"engine_down", "overloaded", "deadline_exceeded"}
    await wait_until_ready(client)


def stub_of(triton: TritonServer, model: FaultModel) -> int:
    """Returns the id of the process that runs the model's Python stub."""
    (pid,) = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _parent_pid(folder) == triton.process.pid and _is_stub_of(folder, model)
    ]
    return pid


def _parent_pid(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # the process has exited
        return 0


def _is_stub_of(folder: Path, model: FaultModel) -> bool:
    return str(model.folder) in (folder / "cmdline").read_text()


async def is_reported_ready(triton: TritonServer, model: FaultModel) -> bool:
    async with httpx.AsyncClient(verify=False) as client:
        answer = await client.get(f"http://{triton.http}/v2/models/{model.spec.name}/ready")
    return answer.status_code == 200


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
async def test_model_with_dead_process_is_unready_despite_triton(triton, site, client, busy):
    model, photo = site.one_by_one, site.one_by_one.image(209)[0]
    if busy:
        model.hold()
        running = asyncio.create_task(post(client, model.spec.name, photo))
        await asyncio.to_thread(model.wait_until_held)
    os.kill(stub_of(triton, model), signal.SIGKILL)
    if busy:
        refusal(await running, 503, "engine_failed")

    assert await wait_until_unready(client) == "engine_failed"
    assert await is_reported_ready(triton, model)
    answer = await post(client, model.spec.name, photo)
    refusal(answer, 503, "engine_failed")
    assert answer.headers["retry-after"] == "1"
    other = site.batching.image(208)[0]
    assert_mask_of(other, await post(client, site.batching.spec.name, other))
