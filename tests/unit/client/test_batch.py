"""The client's parsing of a batch response, complete or damaged."""

import httpx
import pytest

from silhouette_seg.client import Refused, Segmented, Unreachable
from silhouette_seg.client.batch import split_responses
from silhouette_seg.errors import InvalidArgument
from tests.unit.client.test_photos import HEADERS, problem

BOUNDARY = "multipart/mixed; boundary=edge"
PICTURE = b"a\r\n--edg\r\n\r\npicture"


def part(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"X-Status": status, **headers}.items()]
    return "\r\n".join(["--edge", *lines, "", ""]).encode() + body + b"\r\n"


def mixed(*parts: bytes, content_type: str = BOUNDARY, end: bytes = b"--edge--\r\n"):
    return httpx.Response(
        200, headers={"content-type": content_type}, content=b"".join(parts) + end
    )


REFUSED = problem(422, "undecodable_image", after=None)
PARTS = (
    part(200, HEADERS, PICTURE),
    part(422, dict(REFUSED.headers), REFUSED.content),
    part(200, HEADERS, b""),
)


def test_mixed_response_is_split_into_its_parts():
    good, bad, empty = split_responses(mixed(*PARTS))
    assert (good.status_code, good.content) == (200, PICTURE)
    assert good.headers["x-model"] == "connectnet"
    assert (bad.status_code, bad.json()["code"]) == (422, "undecodable_image")
    assert empty.content == b""


@pytest.mark.parametrize(
    "damaged",
    [
        mixed(*PARTS, end=b""),
        mixed(*PARTS, end=b"--edge"),
        mixed(),
        mixed(*PARTS, content_type="image/png"),
        mixed(*PARTS, content_type="multipart/mixed"),
        mixed(*PARTS, content_type="multipart/mixed; boundary=other"),
        mixed(part(200, {}, b"").replace(b"X-Status", b"X-Other")),
        mixed(b"--edge\r\n"),
    ],
    ids=["no end", "half an end", "empty", "type", "no boundary", "other", "no status", "no part"],
)
def test_damaged_response_raises_unreachable(damaged):
    with pytest.raises(Unreachable):
        split_responses(damaged)


async def test_batch_sends_one_form_and_returns_results_in_order(service, tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"another")
    service.answers = [mixed(*PARTS)]
    photos = [b"a photo", tmp_path / "b.jpg", b""]
    first, second, third = await service.call(
        "segment_batch", photos, background_image=b"sky", output="composite"
    )

    assert isinstance(first, Segmented)
    assert (first.body, first.model, first.request_id) == (PICTURE, "connectnet", "r1")
    assert isinstance(second, Refused)
    assert (second.code, second.status) == ("undecodable_image", 422)
    assert isinstance(third, Segmented)
    (request,) = service.requests
    assert request.url.path == "/below/v1/segment/batch"
    assert dict(request.url.params) == {"output": "composite"}
    sent = request.content
    positions = [sent.index(text) for text in (b"a photo", b'filename="b.jpg"', b"another", b"sky")]
    assert positions == sorted(positions)


async def test_rejected_batch_is_retried_then_raised(service):
    service.answers = [problem(), problem(413, "too_many_images", after=None)]
    with pytest.raises(Refused) as refused:
        await service.call("segment_batch", [b"a photo"])
    assert refused.value.code == "too_many_images"
    assert len(service.requests) == 2


async def test_photo_of_wrong_type_is_named_by_its_index(service):
    with pytest.raises(InvalidArgument, match=r"^photos\[1\]: must be a path") as invalid:
        await service.call("segment_batch", [b"a photo", 3])
    assert invalid.value.argument == "photos[1]"
