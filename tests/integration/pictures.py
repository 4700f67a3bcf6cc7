"""Reads responses with Pillow, so that no code under test checks itself."""

import io
import json
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

PROBLEM_FIELDS = {
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "request_id",
    "retryable",
}


def picture(response: httpx.Response, media_type: str = "image/png") -> NDArray[np.uint8]:
    """Returns the pixels of a response, which must be an image of that media type."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == media_type
    return pixels(response.content)


def pixels(body: bytes) -> NDArray[np.uint8]:
    """Returns the pixels of an image file: height x width, or height x width x channels."""
    return np.asarray(Image.open(io.BytesIO(body)))


def refusal(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Returns the problem document of a response, which must have that status and code."""
    document = problem(response)
    assert (document["status"], document["code"]) == (status, code), document
    return document


def problem(response: httpx.Response) -> dict[str, Any]:
    """Returns the problem document of a response, and checks its shape."""
    assert response.headers["content-type"] == "application/problem+json", response.text[:200]
    document = json.loads(response.content)
    assert document.keys() >= PROBLEM_FIELDS
    assert document.keys() <= PROBLEM_FIELDS | {"limit", "actual"}
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["type"].endswith(document["code"])
    return document
