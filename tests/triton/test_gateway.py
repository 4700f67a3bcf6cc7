"""The gateway in front of a real Triton that is full, slow or failing."""

import asyncio

import pytest

from silhouette_seg.settings import Settings
from tests.integration.conftest import in_process
from tests.integration.pictures import refusal
from tests.triton.client import cancelled_requests, poll_until, wait_until_queued
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
        "models": ",".join(fault_models),  # all are required for readiness
    }


@pytest.fixture(scope="module")
def gateway(settings, tmp_path_factory):
    timeouts = {"queue_timeout_s": 60, "request_timeout_s": 60}
    with run_gateway(tmp_path_factory.mktemp("gateway"), **settings, **timeouts) as running:
        yield running


@pytest.fixture
async def client(gateway):
    async with gateway.client() as client:
        await wait_until_ready(client)
        yield client


@pytest.fixture
async def hasty_client(settings):
    """A client of another gateway with a short request timeout."""
    hasty = Settings(engine="triton", **settings, request_timeout_s=REQUEST_TIMEOUT_S)
    async with in_process(hasty) as service:
        yield service.client


@pytest.fixture
def start(held_model, client):
    """Starts the upload of an image with one red value; values over 127 are a person."""

    def start_post(red, *, to=client, fault=Fault.NONE):
        (photo,) = held_model.image(red, fault)
        return asyncio.create_task(post(to, held_model.spec.name, photo))

    return start_post


@pytest.fixture
def assert_mask(held_model):
    """Awaits a response and asserts that it is the mask of an image with one red value."""

    async def check(red, call):
        assert_mask_of(held_model.image(red)[0], await call)

    return check


@pytest.fixture
def flush(fault_models):
    """Returns once Triton has received all earlier messages of the gateway.

    Later requests on the same connection are answered by then. There are several, because several
    threads of Triton receive.
    """
    model = fault_models["batching"]

    async def post_others(client):
        for red in (191, 192, 193):
            (photo,) = model.image(red)
            assert_mask_of(photo, await post(client, model.spec.name, photo))

    return post_others


@pytest.fixture
async def busy(held_model, start, assert_mask):
    """Holds the model with image 201, until the test releases it."""
    held_model.reset()
    held_model.hold()
    first = start(201)
    await asyncio.to_thread(held_model.wait_until_held)
    yield
    held_model.release()
    await assert_mask(201, first)


async def test_photo_of_disconnected_client_is_never_executed(
    fault_server, held_model, client, start, assert_mask, busy, flush
):
    before = await cancelled_requests(fault_server, held_model)
    cancelled = start(202)
    await wait_until_queued(fault_server, held_model, 1)
    assert await requests_in_flight(client) == 2
    cancelled.cancel()

    async def is_gone():
        return await requests_in_flight(client) == 1

    await poll_until(is_gone)
    await flush(client)
    held_model.release()
    await assert_mask(203, start(203))
    assert held_model.executed == [[201], [203]]
    assert await cancelled_requests(fault_server, held_model) == before + 1


async def test_photo_past_its_deadline_is_a_504_and_never_executed(
    held_model, start, assert_mask, hasty_client, busy, flush
):
    document = refusal(await start(204, to=hasty_client), 504, "deadline_exceeded")
    assert document["retryable"] is True
    await flush(hasty_client)
    held_model.release()
    await assert_mask(206, start(206))
    assert held_model.executed == [[201], [206]]


async def test_full_queue_is_a_503_at_once(held_model, start, assert_mask, busy):
    posts = {start(red): red for red in range(210, 218)}
    waiting = set(posts)
    while len(waiting) > QUEUE_SIZE:
        rejected, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for post_task in rejected:
            refusal(post_task.result(), 503, "overloaded")
            assert post_task.result().headers["retry-after"] == "1"
    held_model.release()
    for post_task in waiting:
        await assert_mask(posts[post_task], post_task)
    assert len(held_model.executed) == 1 + QUEUE_SIZE


@pytest.mark.parametrize("fault", [Fault.EXCEPTION, Fault.INVALID])
async def test_failed_inference_is_a_503_without_server_text(held_model, start, assert_mask, fault):
    answer = await start(230, fault=fault)
    refusal(answer, 503, "engine_failed")
    assert answer.headers["retry-after"] == "1"
    assert "requested" not in answer.text
    assert str(held_model.folder) not in answer.text
    await assert_mask(231, start(231))
