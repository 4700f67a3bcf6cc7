"""Queue, priorities and failures of the real server under the generated configuration."""

import asyncio

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from silhouette_seg.engine.triton.config_pbtxt import write_configs
from tests.support.tiny_model import write_tiny_model
from tests.triton.client import infer, wait_until_queued
from tests.triton.faults import QUEUE_SIZE, TIMEOUT_S, Fault
from tests.triton.server import StartFailed, run_triton

UNAVAILABLE = "StatusCode.UNAVAILABLE"
LIVE, PHOTO = 1, 2


@pytest.fixture
def call(fault_client, held_model):
    """Starts the inference of an image with one red value on the held model."""

    def start(red=0, fault=Fault.NONE, **options):
        inputs = {"image": held_model.image(red, fault)}
        return asyncio.create_task(infer(fault_client, held_model.spec, inputs, **options))

    return start


@pytest.fixture
async def busy(held_model, call):
    """A call that holds the model, until the test releases it."""
    held_model.hold()
    first = call()
    await asyncio.to_thread(held_model.wait_until_held)
    yield first
    held_model.release()
    await output_of(first)


async def output_of(call):
    async with asyncio.timeout(TIMEOUT_S):
        return await call


async def test_full_queue_rejects_at_once(held_model, call, busy):
    others = {call(red): red for red in range(1, 9)}
    waiting = set(others)
    async with asyncio.timeout(TIMEOUT_S):
        while len(waiting) > QUEUE_SIZE:
            rejected, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for failed in rejected:
                assert failed.exception().status() == UNAVAILABLE
                assert "Exceeds maximum queue size" in failed.exception().message()
    held_model.release()
    for other in waiting:
        np.testing.assert_array_equal(await output_of(other), others[other])


async def test_request_past_its_timeout_is_rejected_and_never_executed(
    fault_server, held_model, call, busy
):
    timed_out, queued = call(7, timeout=1), call(8)
    await wait_until_queued(fault_server, held_model, 2)
    held_model.release()
    with pytest.raises(InferenceServerException, match="Request timeout expired") as caught:
        await output_of(timed_out)
    assert caught.value.status() == UNAVAILABLE
    np.testing.assert_array_equal(await output_of(queued), 8)
    assert held_model.executed == [[0], [8]]


async def test_live_frames_precede_photos(fault_server, held_model, call, busy):
    photos = [call(red, priority=PHOTO) for red in (21, 22)]
    await wait_until_queued(fault_server, held_model, 2)
    frames = [call(red, priority=LIVE) for red in (11, 12)]
    await wait_until_queued(fault_server, held_model, 4)
    held_model.release()
    for other in (*photos, *frames):
        await output_of(other)
    order = [red for batch in held_model.executed for red in batch]
    assert sorted(order[1:3]) == [11, 12]
    assert sorted(order[3:]) == [21, 22]


async def test_request_without_priority_is_a_photo(fault_server, held_model, call, busy):
    photo = call(2)
    await wait_until_queued(fault_server, held_model, 1)
    frame = call(1, priority=LIVE)
    await wait_until_queued(fault_server, held_model, 2)
    held_model.release()
    await output_of(photo)
    await output_of(frame)
    assert held_model.executed == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.EXCEPTION, "StatusCode.INTERNAL"), (Fault.INVALID, "StatusCode.INVALID_ARGUMENT")],
)
async def test_failed_request_has_its_status_and_the_model_works(call, fault, status):
    with pytest.raises(InferenceServerException) as caught:
        await output_of(call(3, fault))
    assert caught.value.status() == status
    np.testing.assert_array_equal(await output_of(call(4)), 4)


def test_warm_up_executes_smallest_and_largest_batch(fault_server, fault_models):
    assert [len(batch) for batch in fault_models["batching"].executed[:2]] == [1, 8]


def test_start_fails_if_configuration_contradicts_graph(wheel, tmp_path):
    spec = write_tiny_model(tmp_path / "repository")
    folder = tmp_path / "repository" / spec.name
    write_configs(spec, folder)
    file = folder / "configs" / "cpu.pbtxt"
    file.write_text(file.read_text().replace("24, 32, 3", "32, 24, 3"))
    with pytest.raises(StartFailed, match=r"\[32, 24, 3\].*the graph has.*\[24, 32, 3\]"):  # noqa: SIM117
        with run_triton(tmp_path / "repository", tmp_path):
            pass
