"""Calls of `POST /v2/models/connectnet/infer` that the integration tests share."""

import httpx

from tests.integration.conftest import InProcess
from tests.support.tensors import json_request, random_inputs
from tests.support.tiny_model import tiny_spec

IMAGE = random_inputs(tiny_spec(), 1)
"""Inputs of one row."""
INFER_PATH = "/v2/models/connectnet/infer"


async def infer(
    service: InProcess, body: bytes | None = None, path: str = INFER_PATH, **headers: str
) -> httpx.Response:
    """Posts an inference request, by default `IMAGE` as JSON."""
    body = json_request(IMAGE) if body is None else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(path, content=body, headers=named)


def check_idle(service: InProcess) -> None:
    """Asserts that no request, queue slot or body memory is held."""
    assert service.gateway.requests.count == 0
    assert service.gateway.photo_queue.running_pixels == 0
    assert service.gateway.body_memory.reserved == 0
