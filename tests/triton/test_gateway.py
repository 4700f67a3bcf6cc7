"""The whole gateway before a real Triton that is full, slow or asked in vain."""

import asyncio

import pytest

from silhouette_seg.settings import Settings
from tests.integration.conftest import in_process
from tests.integration.pictures import refusal
from tests.triton.client import cancelled, until, wait_until_queued
from tests.triton.faults import QUEUE_SIZE, Fault
from tests.triton.gateway import (
    assert_mask_of,
    post,
    requests_in_flight,
    run_gateway,
    wait_until_ready,
)

REQUEST_TIMEOUT_S = 0.5


@pytest.fixture(scope="module")
def settings(fault_server, fault_models):
    return {
        "triton_url": fault_server.grpc,
        "model_repository": fault_models["batching"].folder.parent,
    }


@pytest.fixture(scope="module")
def gateway(settings, tmp_path_factory):
    patient = {"queue_timeout_s": 60, "request_timeout_s": 60}
    with run_gateway(tmp_path_factory.mktemp("gateway"), **settings, **patient) as running:
        yield running


@pytest.fixture
async def client(gateway):
    async with gateway.client() as client:
        await wait_until_ready(client)
        yield client


@pytest.fixture
async def hasty(settings):
    """To another gateway, that soon gives up."""
    gives_up = Settings(engine="triton", **settings, request_timeout_s=REQUEST_TIMEOUT_S)
    async with in_process(gives_up) as service:
        yield service.client


@pytest.fixture
def start(stoppable, client):
    """Posts a picture of one red, in the background; any over 127 is a person."""

    def begin(red, *, to=client, fault=Fault.NONE):
        (photo,) = stoppable.image(red, fault)
        return asyncio.create_task(post(to, stoppable.spec.name, photo))

    return begin


@pytest.fixture
def right(stoppable):
    """Awaits the mask of the picture of one red."""

    async def check(red, call):
        assert_mask_of(stoppable.image(red)[0], await call)

    return check


@pytest.fixture
def heard(fault_models):
    """Returns when the server has heard all that the gateway said before: what comes after was
    answered, over the same connection, and more than once as more than one thread listens.
    """
    model = fault_models["batching"]

    async def hear(of):
        for red in (191, 192, 193):
            (photo,) = model.image(red)
            assert_mask_of(photo, await post(of, model.spec.name, photo))

    return hear


@pytest.fixture
async def busy(stoppable, start, right):
    """The model is at work on picture 201, until the test opens its gate."""
    stoppable.forget()
    stoppable.close()
    first = start(201)
    await asyncio.to_thread(stoppable.wait_until_held)
    yield
    stoppable.open()
    await right(201, first)


async def test_what_a_client_that_leaves_asked_for_is_never_run(
    fault_server, stoppable, client, start, right, busy, heard
):
    before = await cancelled(fault_server, stoppable)
    leaving = start(202)
    await wait_until_queued(fault_server, stoppable, 1)
    assert await requests_in_flight(client) == 2
    leaving.cancel()

    async def left():
        return await requests_in_flight(client) == 1

    await until(left)
    await heard(client)
    stoppable.open()
    await right(203, start(203))
    assert stoppable.ran == [[201], [203]]
    assert await cancelled(fault_server, stoppable) == before + 1


async def test_what_has_no_time_left_is_a_504_and_never_run(
    stoppable, start, right, hasty, busy, heard
):
    document = refusal(await start(204, to=hasty), 504, "deadline_exceeded")
    assert document["retryable"] is True
    await heard(hasty)
    stoppable.open()
    await right(206, start(206))
    assert stoppable.ran == [[201], [206]]


async def test_a_full_queue_is_a_503_at_once(stoppable, start, right, busy):
    posts = {start(red): red for red in range(210, 218)}
    waiting = set(posts)
    while len(waiting) > QUEUE_SIZE:
        early, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for refused in early:
            refusal(refused.result(), 503, "overloaded")
            assert refused.result().headers["retry-after"] == "1"
    stoppable.open()
    for held in waiting:
        await right(posts[held], held)
    assert len(stoppable.ran) == 1 + QUEUE_SIZE


@pytest.mark.parametrize("fault", [Fault.EXCEPTION, Fault.INVALID])
async def test_a_model_that_fails_tells_callers_nothing_of_itself(stoppable, start, right, fault):
    answer = await start(230, fault=fault)
    refusal(answer, 503, "engine_failed")
    assert answer.headers["retry-after"] == "1"
    assert "asked" not in answer.text
    assert str(stoppable.folder) not in answer.text
    await right(231, start(231))
