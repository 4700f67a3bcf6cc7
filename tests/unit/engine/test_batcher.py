import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.engine import batcher as batcher_module
from silhouette_seg.engine.base import PRIORITY, Priority
from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import Draining, EngineFailed, Overloaded
from tests.support.tiny_model import tiny_spec

SPEC = tiny_spec(size_hw=(2, 3))


def image(red: int, rows: int = 1) -> dict[str, np.ndarray]:
    return {"image": np.full((rows, *SPEC.size_hw, 3), red, np.uint8)}


def batcher(engine: FakeEngine, **options) -> Batcher:
    defaults = {"max_batch": 4, "max_queue": 8, "queue_timeout_s": 60, "concurrency": 1}
    return Batcher(engine, **(defaults | options))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(SPEC)


@pytest.fixture
async def call():
    """Starts an inference of images with red value `red`, and lets it reach the queue."""
    tasks = []

    async def start(target: Batcher, red: int, rows: int = 1) -> asyncio.Task:
        tasks.append(asyncio.create_task(target.infer(image(red, rows))))
        await asyncio.sleep(0)
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def reds(alpha: np.ndarray) -> list[int]:
    return alpha[:, 0, 0].tolist()


async def test_image_starts_at_once_while_a_slot_is_free(engine, call):
    engine.gate.clear()
    target = batcher(engine, concurrency=2)
    await call(target, 1)
    await call(target, 2)
    await engine.wait_for_batches(2)
    assert (engine.batch_sizes, target.queued) == ([1, 1], 0)


async def test_images_queued_during_a_run_form_one_batch(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(4)]
    await engine.wait_for_batches(1)
    assert target.queued == 3
    engine.gate.set()
    answers = await asyncio.gather(*calls)
    assert [reds(alpha) for alpha in answers] == [[0], [1], [2], [3]]
    assert engine.batch_sizes == [1, 3]


async def test_callers_with_different_row_counts_get_their_rows(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red, rows) for red, rows in [(9, 1), (1, 2), (2, 1), (3, 3)]]
    await engine.wait_for_batches(1)
    engine.gate.set()
    answers = await asyncio.gather(*calls)
    assert [reds(alpha) for alpha in answers] == [[9], [1, 1], [2], [3, 3, 3]]
    assert engine.batch_sizes == [1, 3, 3]


async def test_batch_is_bounded_by_the_model(call):
    engine = FakeEngine(SPEC.model_copy(update={"max_batch": 2}))
    engine.gate.clear()
    target = batcher(engine, max_batch=32)
    calls = [await call(target, red) for red in range(4)]
    engine.gate.set()
    await asyncio.gather(*calls)
    assert engine.batch_sizes == [1, 2, 1]


async def test_running_batches_never_exceed_the_concurrency(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_batch=1, concurrency=2)
    calls = [await call(target, red) for red in range(5)]
    await engine.wait_for_batches(2)
    assert (engine.running, target.queued) == (2, 3)
    engine.gate.set()
    await asyncio.gather(*calls)
    assert engine.batch_sizes == [1] * 5


async def test_full_queue_raises_at_once(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_queue=1)
    await call(target, 1)
    await call(target, 2)
    with pytest.raises(Overloaded):
        await target.infer(image(3))


async def test_live_frame_overtakes_queued_photos(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_batch=1)
    photos = [await call(target, red) for red in range(3)]
    token = PRIORITY.set(Priority.LIVE)
    live = await call(target, 9)
    PRIORITY.reset(token)
    finished: list[int] = []
    for red, task in [(9, live), *enumerate(photos)]:
        task.add_done_callback(lambda _, red=red: finished.append(red))
    engine.gate.set()
    await asyncio.gather(live, *photos)
    assert finished == [0, 9, 1, 2]


async def test_queue_timeout_raises_while_all_slots_are_busy(engine, call):
    engine.gate.clear()
    target = batcher(engine, queue_timeout_s=0.01)
    running = await call(target, 1)
    with pytest.raises(Overloaded) as caught:
        await target.infer(image(2))
    assert caught.value.retry_after_s == 1
    assert target.queued == 0
    engine.gate.set()
    assert reds(await running) == [1]


async def test_rejection_tells_when_the_queue_is_served(engine, call, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(batcher_module, "perf_counter", lambda: clock[0])

    def slow(alpha):
        clock[0] += 4.0
        return alpha

    engine.transform_output = slow
    target = batcher(engine, max_batch=1, max_queue=2, concurrency=2)
    assert target.image_s == 0
    await target.infer(image(1))
    assert target.image_s == 4
    engine.gate.clear()
    for red in range(4):
        await call(target, red)
    with pytest.raises(Overloaded) as caught:
        await target.infer(image(5))
    assert caught.value.retry_after_s == 6  # three batches of 4 s, two at a time


async def test_failed_batch_fails_its_own_callers_only(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_batch=2)
    calls = [await call(target, red) for red in range(5)]
    await engine.wait_for_batches(1)
    engine.fail_next(EngineFailed("broken"))
    engine.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers[1:3]] == [EngineFailed, EngineFailed]
    assert [reds(answers[red]) for red in (0, 3, 4)] == [[0], [3], [4]]
    assert engine.batch_sizes == [1, 2, 2]


async def test_wrong_input_raises_before_it_joins_a_batch(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(2)]
    with pytest.raises(ValueError, match="float32"):
        await target.infer({"image": image(2)["image"].astype(np.float32)})
    engine.gate.set()
    assert [reds(alpha) for alpha in await asyncio.gather(*calls)] == [[0], [1]]


async def test_output_with_missing_rows_raises():
    class ShortEngine(FakeEngine):
        async def infer(self, inputs):
            return (await super().infer(inputs))[:-1]

    with pytest.raises(EngineFailed):
        await batcher(ShortEngine(SPEC)).infer(image(1, rows=2))


async def test_caller_cancelled_in_the_queue_is_not_run(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(4)]
    calls[2].cancel()
    await asyncio.wait([calls[2]])
    assert target.queued == 2
    engine.gate.set()
    answers = await asyncio.gather(calls[0], calls[1], calls[3])
    assert [reds(alpha) for alpha in answers] == [[0], [1], [3]]
    assert engine.batch_sizes == [1, 2]


async def test_batch_without_callers_is_cancelled_and_frees_its_slot(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    caller = await call(target, 1)
    await engine.wait_for_batches(1)
    caller.cancel()
    await asyncio.wait([caller])
    engine.gate.set()
    assert reds(await target.infer(image(2))) == [2]
    assert engine.batch_sizes == [1, 1]


async def test_batch_with_a_remaining_caller_continues(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(3)]
    await engine.wait_for_batches(1)
    calls[0].cancel()
    await engine.wait_for_batches(2)
    calls[1].cancel()
    await asyncio.wait([calls[1]])
    assert engine.running == 1
    engine.gate.set()
    assert reds(await calls[2]) == [2]
    assert engine.batch_sizes == [1, 2]


async def test_caller_cancelled_before_its_batch_starts_frees_the_slot(engine):
    target = batcher(engine)
    early = asyncio.create_task(target.infer(image(1)))
    asyncio.get_running_loop().call_soon(early.cancel)
    await asyncio.wait([early])
    assert early.cancelled()
    assert reds(await target.infer(image(2))) == [2]


async def test_close_fails_the_remaining_callers(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(3)]
    await engine.wait_for_batches(1)
    await target.close()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Draining] * 3
    with pytest.raises(Draining):
        await target.infer(image(1))
    with pytest.raises(EngineFailed):
        await engine.infer(image(1))


async def test_queue_time_and_run_time_are_separate(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    clock = asyncio.get_running_loop()
    await call(target, 1)
    await engine.wait_for_batches(1)
    created = clock.time()
    second = asyncio.create_task(target.infer_timed(image(2)))
    await asyncio.sleep(0)
    queued = clock.time()
    await asyncio.sleep(0.001)
    freed = clock.time()
    engine.gate.set()
    inference = await second
    assert inference.queue_s >= freed - queued
    assert inference.queue_s + inference.infer_s <= clock.time() - created


async def test_batch_callback_receives_the_rows_of_each_batch(engine, call):
    engine.gate.clear()
    sizes = []
    target = batcher(engine, on_batch=sizes.append)
    calls = [await call(target, red) for red in range(3)]
    engine.gate.set()
    await asyncio.gather(*calls)
    assert sizes == [1, 2]


async def test_callers_with_different_domains_share_a_batch():
    engine = FakeEngine(tiny_spec("md_trisenet", size_hw=(2, 3)))
    engine.gate.clear()
    target = batcher(engine, max_batch=8)
    calls = [
        asyncio.create_task(target.infer({**image(64), "domain": np.array([domain])}))
        for domain in range(6)
    ]
    await engine.wait_for_batches(1)
    engine.gate.set()
    answers = await asyncio.gather(*calls)
    assert [reds(alpha) for alpha in answers] == [[64 ^ domain] for domain in range(6)]
    assert engine.batch_sizes == [1, 5]


@given(
    callers=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=16),
    max_batch=st.integers(1, 6),
    concurrency=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_caller_gets_its_own_rows_or_is_cancelled(callers, max_batch, concurrency, seed):
    async def scenario():
        engine = FakeEngine(SPEC)
        engine.gate.clear()
        target = batcher(engine, max_batch=max_batch, max_queue=16, concurrency=concurrency)
        calls = [
            asyncio.create_task(target.infer(image(red, rows)))
            for red, (rows, _) in enumerate(callers)
        ]
        for _ in range(seed):
            await asyncio.sleep(0)
        for task, (_, cancelled) in zip(calls, callers, strict=True):
            if cancelled:
                task.cancel()
        engine.gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for red, (rows, cancelled) in enumerate(callers):
            if cancelled:
                assert isinstance(answers[red], asyncio.CancelledError)
            else:
                assert reds(answers[red]) == [red] * rows
        assert (target.queued, engine.running) == (0, 0)
        await target.close()

    asyncio.run(scenario())
