"""What holds for every answer, whatever was asked: made for it, described, and nobody's fault
but the asker's."""

import json

import httpx

from tests.integration.pictures import problem


def sound(answer: httpx.Response) -> int:
    """The status, after a look at the rest."""
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
    # What is told back of a stranger's words is cut.
    assert len(answer.content) < 2500, answer.text
    return answer.status_code


def left_nothing(gateway) -> None:
    """No permit and no byte stays behind."""
    assert gateway.requests.count == 0
    assert gateway.body_memory.reserved == 0
