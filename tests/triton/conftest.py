"""Servers that all tests of this folder share: a start takes seconds."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tritonclient.grpc.aio import InferenceServerClient

from tests.support.published import REPOSITORY
from tests.triton.faults import FaultModel, write_fault_model
from tests.triton.server import TritonServer, missing, serve


@pytest.fixture(scope="package")
def wheel() -> None:
    reason = missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="package")
def triton_server(wheel, tmp_path_factory) -> Iterator[TritonServer]:
    """Serves what production serves."""
    with serve(REPOSITORY, tmp_path_factory.mktemp("triton")) as server:
        yield server


@pytest.fixture
async def triton(triton_server) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(triton_server.grpc) as client:
        yield client


@pytest.fixture(scope="package")
def fault_models(wheel, tmp_path_factory) -> dict[str, FaultModel]:
    repository = tmp_path_factory.mktemp("fault_repository")
    return {
        "one_by_one": write_fault_model(repository, "one_by_one"),
        "batching": write_fault_model(repository, "batching", max_batch=8),
    }


@pytest.fixture(scope="package")
def fault_server(fault_models, tmp_path_factory) -> Iterator[TritonServer]:
    repository = fault_models["batching"].folder.parent
    with serve(repository, tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture
async def faulty(fault_server) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(fault_server.grpc) as client:
        yield client


@pytest.fixture
def stoppable(fault_models) -> Iterator[FaultModel]:
    """Runs one request at a time, when the test lets it."""
    model = fault_models["one_by_one"]
    model.forget()
    yield model
    model.open()
