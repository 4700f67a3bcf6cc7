"""Fuzz tests of every interface. `--mutations` sets their number of inputs."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.invariants import check_released
from tests.integration.conftest import InProcess, in_process, repository, service, settings_with
from tests.memory.conftest import record_measurement

__all__ = ["record_measurement", "repository", "service", "settings_with"]  # fixtures


@pytest.fixture(scope="session")
def request_settings(mutations) -> settings:
    """Hypothesis settings for properties that send requests: few inputs, equal in every run."""
    return settings(
        max_examples=max(5, mutations // 40),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Inside:
    """An application, and a way to call it from a property, which is no coroutine itself."""

    service: InProcess
    run: Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def inside(settings_with) -> Iterator[Inside]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        service = runner.run(stack.enter_async_context(in_process(settings_with())))
        yield Inside(service, runner.run)
        check_released(service.gateway)
        runner.run(stack.aclose())
