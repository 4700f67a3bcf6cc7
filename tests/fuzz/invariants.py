"""Properties of every response to a fuzzed request: documented shape, and never a 500."""

import json

import httpx

from tests.integration.pictures import problem


def check_response(answer: httpx.Response) -> int:
    """Checks the shape of a response, and returns its status."""
    assert answer.status_code < 500, (answer.status_code, answer.text[:500])
    if answer.status_code < 400:
        return answer.status_code
    path = answer.request.url.path
    if path.startswith("/v2"):
        assert json.loads(answer.content).keys() == {"error"}
    elif path.startswith("/v1.0"):
        (error,) = json.loads(answer.content)["errors"]
        assert error.keys() == {"title", "code", "detail"}
    else:
        problem(answer)
    # Text that the client sent is cut before the response repeats it.
    assert len(answer.content) < 2500, answer.text
    return answer.status_code


def check_released(gateway) -> None:
    """Checks that no request slot and no byte of body memory is held."""
    assert gateway.requests.count == 0
    assert gateway.body_memory.reserved == 0
