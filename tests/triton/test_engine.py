"""TritonEngine against a real server that is full, slow or failing."""

import asyncio

import numpy as np
import pytest

from silhouette_seg.engine import open_inference_server
from silhouette_seg.engine.base import DEADLINE, TritonConfig
from silhouette_seg.errors import DeadlineExceeded, EngineFailed, Overloaded
from tests.triton.client import cancelled_requests, wait_until_queued
from tests.triton.faults import QUEUE_SIZE, TIMEOUT_S, Fault

QUEUE_TIMEOUT_S = 0.2


@pytest.fixture
async def engines(fault_server, fault_models):
    """Engines by model name, over one connection."""
    config = TritonConfig(fault_server.grpc, queue_timeout_s=60, request_timeout_s=60)
    server = open_inference_server("triton", config)
    engines = {name: server.open_engine(model.spec) for name, model in fault_models.items()}
    await server.check_ready(engines)
    yield engines
    for engine in engines.values():
        await engine.close()


@pytest.fixture
def engine(engines, held_model):
    return engines[held_model.spec.name]


@pytest.fixture
def flush(engines, fault_models):
    """Returns once the server has received all earlier messages.

    Later requests on the same connection are answered by then. There are several, because several
    threads of the server receive.
    """

    async def infer_others():
        for red in (91, 92, 93):
            image = fault_models["batching"].image(red)
            await assert_red(red, engines["batching"].infer({"image": image}))

    return infer_others


@pytest.fixture
def start(held_model, engine):
    """Starts the inference of an image with one red value."""

    def start_infer(red=0, fault=Fault.NONE, on=engine):
        return asyncio.create_task(on.infer({"image": held_model.image(red, fault)}))

    return start_infer


async def assert_red(red, call):
    async with asyncio.timeout(TIMEOUT_S):
        np.testing.assert_array_equal(await call, red)


@pytest.fixture
async def busy(held_model, start):
    """Holds the model with image 1, until the test releases it."""
    held_model.hold()
    first = start(1)
    await asyncio.to_thread(held_model.wait_until_held)
    yield
    held_model.release()
    await assert_red(1, first)


async def test_cancelled_request_is_never_executed(fault_server, held_model, start, busy, flush):
    before = await cancelled_requests(fault_server, held_model)
    cancelled = start(2)
    await wait_until_queued(fault_server, held_model, 1)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await flush()
    held_model.release()
    await assert_red(3, start(3))
    assert held_model.executed == [[1], [3]]
    assert await cancelled_requests(fault_server, held_model) == before + 1


async def test_request_past_its_deadline_is_never_executed(held_model, start, busy, flush):
    token = DEADLINE.set(asyncio.get_running_loop().time() + 0.2)
    late = start(4)
    DEADLINE.reset(token)
    with pytest.raises(DeadlineExceeded):
        await late
    await flush()
    held_model.release()
    await assert_red(6, start(6))
    assert held_model.executed == [[1], [6]]


async def test_full_queue_is_overloaded_at_once(held_model, start, busy):
    calls = {start(red): red for red in range(10, 18)}
    waiting = set(calls)
    while len(waiting) > QUEUE_SIZE:
        rejected, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert {type(call.exception()) for call in rejected} == {Overloaded}
    held_model.release()
    for call in waiting:
        await assert_red(calls[call], call)


async def test_request_past_its_queue_timeout_is_overloaded(fault_server, held_model, start, busy):
    config = TritonConfig(fault_server.grpc, queue_timeout_s=QUEUE_TIMEOUT_S, request_timeout_s=60)
    impatient_engine = open_inference_server("triton", config).open_engine(held_model.spec)
    waiting = start(20, on=impatient_engine)
    await wait_until_queued(fault_server, held_model, 1)
    await asyncio.sleep(QUEUE_TIMEOUT_S)  # Triton's clock sends no event
    held_model.release()
    with pytest.raises(Overloaded):
        await waiting
    await impatient_engine.close()
    await assert_red(21, start(21))
    assert held_model.executed == [[1], [21]]


@pytest.mark.parametrize("fault", [Fault.EXCEPTION, Fault.INVALID])
async def test_model_works_after_a_failed_request(held_model, start, fault):
    for _ in range(2):
        with pytest.raises(EngineFailed):
            await start(3, fault)
        await assert_red(4, start(4))
