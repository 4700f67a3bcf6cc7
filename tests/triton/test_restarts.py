"""A real Triton that leaves, dies, half dies and comes back, under a gateway that stays."""

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
from tests.triton.client import until, wait_until_queued
from tests.triton.faults import FaultModel, write_fault_model
from tests.triton.gateway import assert_mask_of, post, retryable_code, run_gateway, wait_until_ready
from tests.triton.server import TritonServer, free_ports, serve

POSTERS = 8


class Site(NamedTuple):
    """Where Triton is whenever it is there, and what it then serves."""

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
    """One process for all that happens here."""
    settings = {
        "triton_url": f"127.0.0.1:{site.ports[1]}",
        "model_repository": site.folder / "repository",
        "request_timeout_s": 20,
    }
    with run_gateway(site.folder, **settings) as running:
        yield running
        assert running.runs, running.log_file.read_text()


@pytest.fixture
def start_triton(site):
    """Starts it at its place, as often as the test asks."""
    with ExitStack() as stack:

        def begin() -> TritonServer:
            site.one_by_one.forget()
            site.batching.forget()
            repository = site.folder / "repository"
            return stack.enter_context(serve(repository, site.folder, ports=site.ports))

        yield begin


@pytest.fixture
async def client(gateway):
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def triton(start_triton, client, site):
    """Is there, and the gateway knows, whatever became of the one before."""
    server = await asyncio.to_thread(start_triton)
    await wait_until_ready(client)
    site.one_by_one.forget()
    return server


async def until_not_ready(client) -> str:
    """The code of the refusal."""
    refused: list[httpx.Response] = []

    async def not_ready():
        answer = await client.get("/readyz")
        if answer.status_code != 200:
            refused.append(answer)
        return bool(refused)

    await until(not_ready)
    return retryable_code(refused[0])


async def test_a_server_that_is_told_to_stop_ends_what_it_has(triton, site, client, start_triton):
    model = site.one_by_one
    photos = [model.image(red)[0] for red in (201, 202, 203)]
    model.close()
    held = [asyncio.create_task(post(client, model.spec.name, photos[0]))]
    await asyncio.to_thread(model.wait_until_held)
    held += [asyncio.create_task(post(client, model.spec.name, photo)) for photo in photos[1:]]
    await wait_until_queued(triton, model, 2)

    triton.process.send_signal(signal.SIGTERM)
    assert await until_not_ready(client) == "engine_down"
    refusal(await post(client, model.spec.name, photos[0]), 503, "engine_down")
    assert not any(call.done() for call in held)

    model.open()
    for photo, call in zip(photos, held, strict=True):
        assert_mask_of(photo, await call)
    assert await asyncio.to_thread(triton.process.wait, 60) == 0

    await asyncio.to_thread(start_triton)
    await wait_until_ready(client)
    assert_mask_of(photos[0], await post(client, model.spec.name, photos[0]))


class Poster:
    """Posts one picture, unlike those of the others, again and again."""

    def __init__(self, model: FaultModel, number: int) -> None:
        self.model = model
        self.photo = model.image()[0]
        red = np.random.default_rng(number).integers(128, 256, self.photo.shape[:2], np.uint8)
        self.photo[..., 0] = red
        self.answers: list[httpx.Response] = []

    async def post(self, client: httpx.AsyncClient, enough: asyncio.Event) -> None:
        while not enough.is_set():
            self.answers.append(await post(client, self.model.spec.name, self.photo))

    def check(self) -> set[str]:
        """Every mask is that of its picture, and every other answer says to come again; returns
        the codes of those.
        """
        codes = set()
        for answer in self.answers:
            if answer.status_code == 200:
                assert_mask_of(self.photo, answer)
            else:
                codes.add(retryable_code(answer))
        return codes


async def until_each(posters: list[Poster], answered: bool) -> None:
    """Until from now on each was answered, or refused."""
    seen = [len(poster.answers) for poster in posters]

    async def all_were():
        return all(
            any((answer.status_code == 200) is answered for answer in poster.answers[before:])
            for poster, before in zip(posters, seen, strict=True)
        )

    await until(all_were)


async def test_a_server_that_is_killed_under_load_gives_no_wrong_answer(
    triton, site, client, start_triton
):
    posters = [Poster(site.batching, number) for number in range(POSTERS)]
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for poster in posters:
            group.create_task(poster.post(client, enough))
        await until_each(posters, answered=True)

        site.batching.close()
        await asyncio.to_thread(site.batching.wait_until_held)
        await asyncio.to_thread(triton.kill)
        await until_each(posters, answered=False)
        assert await until_not_ready(client) == "engine_down"

        await asyncio.to_thread(start_triton)
        await until_each(posters, answered=True)
        enough.set()
    codes = set().union(*(poster.check() for poster in posters))
    assert "engine_down" in codes
    # The queue is short, and full while the model waits.
    assert codes <= {"engine_down", "overloaded", "deadline_exceeded"}
    await wait_until_ready(client)


def stub_of(triton: TritonServer, model: FaultModel) -> int:
    """Id of the process that runs the model's Python."""
    (found,) = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _parent(folder) == triton.process.pid and _runs(folder, model)
    ]
    return found


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has left meanwhile
        return 0


def _runs(folder: Path, model: FaultModel) -> bool:
    return str(model.folder) in (folder / "cmdline").read_text()


async def says_ready(triton: TritonServer, model: FaultModel) -> bool:
    async with httpx.AsyncClient(verify=False) as client:
        answer = await client.get(f"http://{triton.http}/v2/models/{model.spec.name}/ready")
    return answer.status_code == 200


@pytest.mark.parametrize("asked", [True, False], ids=["at work", "idle"])
async def test_a_model_whose_process_died_is_not_ready_though_triton_says_so(
    triton, site, client, asked
):
    model, photo = site.one_by_one, site.one_by_one.image(209)[0]
    if asked:
        model.close()
        held = asyncio.create_task(post(client, model.spec.name, photo))
        await asyncio.to_thread(model.wait_until_held)
    os.kill(stub_of(triton, model), signal.SIGKILL)
    if asked:
        refusal(await held, 503, "engine_failed")

    assert await until_not_ready(client) == "engine_failed"
    assert await says_ready(triton, model)
    answer = await post(client, model.spec.name, photo)
    refusal(answer, 503, "engine_failed")
    assert answer.headers["retry-after"] == "1"
    other = site.batching.image(208)[0]
    assert_mask_of(other, await post(client, site.batching.spec.name, other))
