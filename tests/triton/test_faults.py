"""What the server does with requests that it cannot run at once, under our configuration."""

import asyncio

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.support.tiny_model import write_tiny_model
from tests.triton.client import ask, wait_until_queued
from tests.triton.faults import PATIENCE_S, QUEUE_SIZE, Fault
from tests.triton.server import StartFailed, serve
from training.export.triton_config import write_configs

UNAVAILABLE = "StatusCode.UNAVAILABLE"
LIVE, PHOTO = 1, 2


@pytest.fixture
def call(faulty, stoppable):
    """Asks the stoppable model in the background, for a picture of one red."""

    def start(red=0, fault=Fault.NONE, **options):
        inputs = {"image": stoppable.image(red, fault)}
        return asyncio.create_task(ask(faulty, stoppable.spec, inputs, **options))

    return start


@pytest.fixture
async def busy(stoppable, call):
    """The call that the model is at work on, until the test opens its gate."""
    stoppable.close()
    first = call()
    await asyncio.to_thread(stoppable.wait_until_held)
    yield first
    stoppable.open()
    await answer_of(first)


async def answer_of(call):
    async with asyncio.timeout(PATIENCE_S):
        return await call


async def test_full_queue_refuses_at_once(stoppable, call, busy):
    others = {call(red): red for red in range(1, 9)}
    waiting = set(others)
    async with asyncio.timeout(PATIENCE_S):
        while len(waiting) > QUEUE_SIZE:
            early, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for refused in early:
                assert refused.exception().status() == UNAVAILABLE
                assert "Exceeds maximum queue size" in refused.exception().message()
    stoppable.open()
    for other in waiting:
        np.testing.assert_array_equal(await answer_of(other), others[other])


async def test_what_waited_too_long_is_refused_and_never_run(fault_server, stoppable, call, busy):
    hasty, patient = call(7, timeout=1), call(8)
    await wait_until_queued(fault_server, stoppable, 2)
    stoppable.open()
    with pytest.raises(InferenceServerException, match="Request timeout expired") as caught:
        await answer_of(hasty)
    assert caught.value.status() == UNAVAILABLE
    np.testing.assert_array_equal(await answer_of(patient), 8)
    assert stoppable.ran == [[0], [8]]


async def test_live_frames_go_before_photos(fault_server, stoppable, call, busy):
    photos = [call(red, priority=PHOTO) for red in (21, 22)]
    await wait_until_queued(fault_server, stoppable, 2)
    frames = [call(red, priority=LIVE) for red in (11, 12)]
    await wait_until_queued(fault_server, stoppable, 4)
    stoppable.open()
    for other in (*photos, *frames):
        await answer_of(other)
    order = [red for batch in stoppable.ran for red in batch]
    assert sorted(order[1:3]) == [11, 12]
    assert sorted(order[3:]) == [21, 22]


async def test_who_names_no_priority_sends_a_photo(fault_server, stoppable, call, busy):
    photo = call(2)
    await wait_until_queued(fault_server, stoppable, 1)
    frame = call(1, priority=LIVE)
    await wait_until_queued(fault_server, stoppable, 2)
    stoppable.open()
    await answer_of(photo)
    await answer_of(frame)
    assert stoppable.ran == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.EXCEPTION, "StatusCode.INTERNAL"), (Fault.INVALID, "StatusCode.INVALID_ARGUMENT")],
)
async def test_a_failing_model_says_so_and_lives_on(call, fault, status):
    with pytest.raises(InferenceServerException) as caught:
        await answer_of(call(3, fault))
    assert caught.value.status() == status
    np.testing.assert_array_equal(await answer_of(call(4)), 4)


def test_warm_up_ran_one_row_and_the_most(fault_server, fault_models):
    assert [len(batch) for batch in fault_models["batching"].ran[:2]] == [1, 8]


def test_configuration_that_the_graph_belies_is_refused(wheel, tmp_path):
    spec = write_tiny_model(tmp_path / "repository")
    folder = tmp_path / "repository" / spec.name
    write_configs(spec, folder)
    file = folder / "configs" / "cpu.pbtxt"
    file.write_text(file.read_text().replace("24, 32, 3", "32, 24, 3"))
    with pytest.raises(StartFailed, match=r"\[32, 24, 3\].*the graph has.*\[24, 32, 3\]"):  # noqa: SIM117
        with serve(tmp_path / "repository", tmp_path):
            pass
