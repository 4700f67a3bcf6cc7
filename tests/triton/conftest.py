"""Servers shared by all tests of this folder, because a start takes seconds."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tritonclient.grpc.aio import InferenceServerClient

from tests.support.published import REPOSITORY
from tests.triton.faults import FaultModel, write_fault_model
from tests.triton.server import TritonServer, missing_requirement, run_triton


@pytest.fixture(scope="package")
def wheel() -> None:
    reason = missing_requirement()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="package")
def triton_server(wheel, tmp_path_factory) -> Iterator[TritonServer]:
    """A server with the published models."""
    with run_triton(REPOSITORY, tmp_path_factory.mktemp("triton")) as server:
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
    with run_triton(repository, tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture
async def fault_client(fault_server) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(fault_server.grpc) as client:
        yield client


@pytest.fixture
def held_model(fault_models) -> Iterator[FaultModel]:
    """A model that runs one request at a time and can be held by the test."""
    model = fault_models["one_by_one"]
    model.reset()
    yield model
    model.release()
