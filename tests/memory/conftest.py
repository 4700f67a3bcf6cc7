"""What the memory of servers is measured on: a tiny model, or those that are served."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MEASURED
from tests.support.published import REPOSITORY
from tests.support.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def repository(request, tmp_path_factory) -> Path:
    """Of a model that takes next to no memory of its own, or with `--real-models` the real ones."""
    if request.config.getoption("--real-models"):
        return REPOSITORY
    folder = tmp_path_factory.mktemp("model_repository")
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def requests(request) -> int:
    """How many requests must not make a process grow."""
    return int(request.config.getoption("--requests"))


@pytest.fixture
def told(record_property) -> Callable[[str], None]:
    """Takes a measurement, which is printed at the end, also where the test passes."""
    return partial(record_property, MEASURED)
