"""An engine that is opened at its first inference, and never twice."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from silhouette_seg.engine.base import Engine, black_input
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.engine.lazy import NOT_LOADED, LazyEngine
from silhouette_seg.errors import EngineFailed
from tests.support.tiny_model import tiny_spec

SPEC = tiny_spec()
THREADS = 4


class Opener:
    """Opens fake engines, after the given errors, and keeps them."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.opened: list[FakeEngine] = []

    def __call__(self) -> Engine:
        if self.errors:
            raise self.errors.pop(0)
        self.opened.append(FakeEngine(SPEC))
        return self.opened[-1]


async def test_engine_is_opened_by_the_first_inference():
    opener = Opener()
    engine = LazyEngine(SPEC, opener)
    assert (engine.spec, engine.provider, opener.opened) == (SPEC, NOT_LOADED, [])
    for _ in range(2):
        await engine.infer(black_input(SPEC))
    assert engine.provider == "FakeExecutionProvider"
    (opened,) = opener.opened
    assert opened.batch_sizes == [1, 1]


def test_engine_is_opened_once_for_several_threads():
    together = threading.Barrier(THREADS)
    opener = Opener()
    engine = LazyEngine(SPEC, opener)

    def load() -> Engine:
        together.wait()
        return engine.load()

    with ThreadPoolExecutor(THREADS) as pool:
        loaded = {id(one.result()) for one in [pool.submit(load) for _ in range(THREADS)]}
    assert loaded == {id(opener.opened[0])}
    assert len(opener.opened) == 1


async def test_model_that_did_not_load_is_loaded_again():
    opener = Opener(EngineFailed("no memory"))
    engine = LazyEngine(SPEC, opener)
    with pytest.raises(EngineFailed, match="no memory"):
        await engine.infer(black_input(SPEC))
    await engine.infer(black_input(SPEC))
    assert len(opener.opened) == 1


async def test_closed_engine_opens_no_model():
    opener = Opener()
    engine = LazyEngine(SPEC, opener)
    await engine.close()
    with pytest.raises(EngineFailed, match="closed"):
        await engine.infer(black_input(SPEC))
    assert opener.opened == []


async def test_close_closes_the_opened_engine():
    opener = Opener()
    engine = LazyEngine(SPEC, opener)
    engine.load()
    await engine.close()
    with pytest.raises(EngineFailed):
        await opener.opened[0].infer(black_input(SPEC))
