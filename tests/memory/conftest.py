"""Fixtures of the memory tests: the models, the number of requests, and the measurements."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MEASURED
from tests.support.published import REPOSITORY
from tests.support.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def repository(request, tmp_path_factory) -> Path:
    """Model repository with a tiny model, or with `--real-models` the published one."""
    if request.config.getoption("--real-models"):
        return REPOSITORY
    folder = tmp_path_factory.mktemp("model_repository")
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def requests(request) -> int:
    """Number of requests that must not make a process grow."""
    return int(request.config.getoption("--requests"))


@pytest.fixture
def record_measurement(record_property) -> Callable[[str], None]:
    """Records a measurement, which pytest prints at the end even if the test passes."""
    return partial(record_property, MEASURED)
