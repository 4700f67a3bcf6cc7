"""Strangers' bytes, at every door. `--mutations` says how many; the suite takes the least."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.sound import left_nothing
from tests.integration.conftest import InProcess, in_process, repository, service, settings_with

__all__ = ["repository", "service", "settings_with"]  # fixtures


@pytest.fixture(scope="session")
def tried(mutations) -> settings:
    """Of a property that costs a request or more: the same inputs in every run, and how many."""
    return settings(
        max_examples=max(5, mutations // 40),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Inside:
    """An application for the examples of one property, which is no coroutine itself."""

    service: InProcess
    run: Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def inside(settings_with) -> Iterator[Inside]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        service = runner.run(stack.enter_async_context(in_process(settings_with())))
        yield Inside(service, runner.run)
        left_nothing(service.gateway)
        runner.run(stack.aclose())
