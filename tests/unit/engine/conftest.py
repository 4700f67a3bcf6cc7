"""A fake Triton server and engines connected to it."""

from contextlib import AsyncExitStack

import pytest

from silhouette_seg.engine import open_inference_server
from silhouette_seg.engine.base import TritonConfig
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.unit.engine.inputs import SPEC, SPECS


@pytest.fixture
async def triton():
    return FakeTriton(SPECS)


@pytest.fixture
async def port(triton):
    async with serve_triton(triton) as port:
        yield port


@pytest.fixture
async def connect():
    """Opens a model of the server at a port, and closes it after the test."""
    async with AsyncExitStack() as stack:

        def open_model(port, spec=SPEC, **config):
            url = port if isinstance(port, str) else f"127.0.0.1:{port}"
            engine = open_inference_server("triton", TritonConfig(url, **config)).open_engine(spec)
            stack.push_async_callback(engine.close)
            return engine

        yield open_model


@pytest.fixture
def engine(connect, port):
    return connect(port)
