"""One thread for torch, a data pack, and a run of training. The tests only read pack and run."""

import gc
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from tests.support.made_data import write_data_pack
from tests.support.made_runs import ALONE, RECIPE
from training.recipe import Recipe, read_recipe
from training.train import StartingPoint, train


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Single-threaded torch: the work is tiny, and sums repeat exactly."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture(autouse=True, scope="module")
def frozen_garbage() -> Iterator[None]:
    """Keeps objects of earlier tests away from the garbage collector of forked data loaders.

    A gRPC channel of an earlier test that is collected in a fork waits for a thread that only the
    parent has.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_data_pack(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "made.toml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="session")
def recipe(recipe_file) -> Recipe:
    return read_recipe(recipe_file)


@pytest.fixture(scope="session")
def run(recipe, data, tmp_path_factory) -> Path:
    """Returns the folder of an uninterrupted run of two epochs."""
    run = tmp_path_factory.mktemp("runs") / "made"
    train(recipe, data, run, ALONE, start=StartingPoint())
    return run
