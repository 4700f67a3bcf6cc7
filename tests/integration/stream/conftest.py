"""A service with an engine that the tests can block, for streams in process."""

import asyncio

import pytest

from tests.integration.conftest import in_process, until


@pytest.fixture
async def service(settings_with, gated):
    """Checks after each test that every stream has released its slot and its tasks."""
    async with in_process(settings_with(engine="gated")) as running:
        before = len(asyncio.all_tasks())
        yield running
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert running.gateway.streams.count == 0


@pytest.fixture
def engine(service, gated):
    """The engine of `service`; it answers only while its gate is set."""
    (engine,) = gated
    yield engine
    engine.gate.set()
