"""Client of `POST /v1/segment/batch`: sends photos and parses the parts of the response."""

import asyncio
import email
import email.policy
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx

from tests.integration.conftest import InProcess, until
from tests.support.images import make_jpeg, quadrants

PATH = "/v1/segment/batch"
JPEG = make_jpeg(quadrants())


@dataclass(frozen=True)
class Part:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def filename(self) -> str:
        """File name as browsers read it: `filename*` takes precedence (RFC 6266)."""
        disposition = self.headers["content-disposition"]
        assert disposition.isascii()
        plain = re.fullmatch(r'attachment; filename="([^"\\]+)"(; filename\*=.+)?', disposition)
        assert plain is not None, disposition
        _, star, encoded = disposition.partition("; filename*=UTF-8''")
        return unquote(encoded) if star else plain[1]


def parts_of(answer: httpx.Response) -> list[Part]:
    """Parses the parts with the standard library, so that no code under test checks itself."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/mixed"
    assert not message.defects
    return [_part(index, part) for index, part in enumerate(message.iter_parts())]


def _part(index: int, part: Any) -> Part:
    headers = {name.lower(): str(value) for name, value in part.raw_items()}
    body = part.get_payload(decode=True)
    assert headers["x-index"] == str(index)
    assert headers["content-length"] == str(len(body))
    return Part(int(headers["x-status"]), headers, body)


def problem_of(part: Part, status: int, code: str) -> dict[str, Any]:
    assert part.headers["content-type"] == "application/problem+json"
    document = json.loads(part.body)
    assert (part.status, document["status"], document["code"]) == (status, status, code), document
    assert document["request_id"] == part.headers["x-request-id"]
    assert document["instance"] == PATH
    return document


async def send(
    service: InProcess, *photos: bytes, query: str = "", accept: str = "*/*", **fields: Any
) -> httpx.Response:
    files: list[tuple[str, Any]] = [("image", ("photo.jpg", photo)) for photo in photos]
    files += [
        (name, ("b.jpg", value) if isinstance(value, bytes) else (None, value))
        for name, value in fields.items()
    ]
    return await service.client.post(f"{PATH}{query}", files=files, headers={"accept": accept})


async def chunks(*parts: bytes, then_stall: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then_stall:
        await asyncio.Event().wait()


def image_part(body: bytes = JPEG) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return head + body + b"\r\n"


async def send_chunks(
    service: InProcess, *parts: bytes, then_stall: bool = False
) -> httpx.Response:
    return await service.client.post(
        PATH,
        content=chunks(*parts, then_stall=then_stall),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )


async def assert_released(service: InProcess) -> None:
    await until(lambda: service.gateway.requests.count == 0)
    assert service.gateway.photo_queue.running == 0
    assert service.gateway.body_memory.reserved == 0
