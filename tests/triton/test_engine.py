"""TritonEngine against a real server that is full, slow or asked in vain."""

import asyncio

import numpy as np
import pytest

from silhouette_seg.engine import open_inference_server
from silhouette_seg.engine.base import DEADLINE, TritonConfig
from silhouette_seg.errors import DeadlineExceeded, EngineFailed, Overloaded
from tests.triton.client import cancelled, wait_until_queued
from tests.triton.faults import PATIENCE_S, QUEUE_SIZE, Fault

QUEUE_TIMEOUT_S = 0.2


@pytest.fixture
async def engines(fault_server, fault_models):
    """By name, over one connection."""
    patient = TritonConfig(fault_server.grpc, queue_timeout_s=60, request_timeout_s=60)
    server = open_inference_server("triton", patient)
    opened = {name: server.open_engine(model.spec) for name, model in fault_models.items()}
    await server.check_ready()
    yield opened
    for engine in opened.values():
        await engine.close()


@pytest.fixture
def engine(engines, stoppable):
    return engines[stoppable.spec.name]


@pytest.fixture
def heard(engines, fault_models):
    """Returns when the server has heard all that was said before: what comes after was answered,
    over the same connection, and more than once as more than one thread listens.
    """

    async def hear():
        for red in (91, 92, 93):
            image = fault_models["batching"].image(red)
            await right(red, engines["batching"].infer({"image": image}))

    return hear


@pytest.fixture
def start(stoppable, engine):
    """Asks in the background, for a picture of one red."""

    def begin(red=0, fault=Fault.NONE, of=engine):
        return asyncio.create_task(of.infer({"image": stoppable.image(red, fault)}))

    return begin


async def right(red, call):
    async with asyncio.timeout(PATIENCE_S):
        np.testing.assert_array_equal(await call, red)


@pytest.fixture
async def busy(stoppable, start):
    """The model is at work on picture 1, until the test opens its gate."""
    stoppable.close()
    first = start(1)
    await asyncio.to_thread(stoppable.wait_until_held)
    yield
    stoppable.open()
    await right(1, first)


async def test_what_is_cancelled_is_never_run(fault_server, stoppable, start, busy, heard):
    before = await cancelled(fault_server, stoppable)
    leaving = start(2)
    await wait_until_queued(fault_server, stoppable, 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await heard()
    stoppable.open()
    await right(3, start(3))
    assert stoppable.ran == [[1], [3]]
    assert await cancelled(fault_server, stoppable) == before + 1


async def test_what_has_no_time_left_is_never_run(stoppable, start, busy, heard):
    token = DEADLINE.set(asyncio.get_running_loop().time() + 0.2)
    late = start(4)
    DEADLINE.reset(token)
    with pytest.raises(DeadlineExceeded):
        await late
    await heard()
    stoppable.open()
    await right(6, start(6))
    assert stoppable.ran == [[1], [6]]


async def test_a_full_queue_is_overloaded_at_once(stoppable, start, busy):
    calls = {start(red): red for red in range(10, 18)}
    waiting = set(calls)
    while len(waiting) > QUEUE_SIZE:
        early, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert {type(call.exception()) for call in early} == {Overloaded}
    stoppable.open()
    for held in waiting:
        await right(calls[held], held)


async def test_what_waited_too_long_is_overloaded_and_never_run(
    fault_server, stoppable, start, busy
):
    terms = TritonConfig(fault_server.grpc, queue_timeout_s=QUEUE_TIMEOUT_S, request_timeout_s=60)
    hasty = open_inference_server("triton", terms).open_engine(stoppable.spec)
    waiting = start(20, of=hasty)
    await wait_until_queued(fault_server, stoppable, 1)
    await asyncio.sleep(QUEUE_TIMEOUT_S)  # what it waits for is the clock, and nobody tells
    stoppable.open()
    with pytest.raises(Overloaded):
        await waiting
    await hasty.close()
    await right(21, start(21))
    assert stoppable.ran == [[1], [21]]


@pytest.mark.parametrize("fault", [Fault.EXCEPTION, Fault.INVALID])
async def test_a_model_that_fails_lives_on(stoppable, start, fault):
    for _ in range(2):
        with pytest.raises(EngineFailed):
            await start(3, fault)
        await right(4, start(4))
