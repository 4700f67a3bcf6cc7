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


LIMITS = httpx.Response(
    200, json={"limits": {"batch_images": 3, "image_bytes": 2000, "batch_body_bytes": 5000}}
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
    service.answers = [LIMITS, mixed(*PARTS)]
    photos = [b"a photo", tmp_path / "b.jpg", b""]
    first, second, third = await service.call(
        "segment_batch", photos, background=b"sky", output="composite"
    )

    assert isinstance(first, Segmented)
    assert (first.body, first.model, first.request_id) == (PICTURE, "connectnet", "r1")
    assert isinstance(second, Refused)
    assert (second.code, second.status) == ("undecodable_image", 422)
    assert isinstance(third, Segmented)
    limits, request = service.requests
    assert limits.url.path == "/below/v1/capabilities"
    assert request.url.path == "/below/v1/segment/batch"
    assert dict(request.url.params) == {"output": "composite"}
    sent = request.content
    positions = [sent.index(text) for text in (b"a photo", b'filename="b.jpg"', b"another", b"sky")]
    assert positions == sorted(positions)


async def test_rejected_batch_is_retried_then_raised(service):
    service.answers = [LIMITS, problem(), problem(413, "too_many_images", after=None)]
    with pytest.raises(Refused) as refused:
        await service.call("segment_batch", [b"a photo"])
    assert refused.value.code == "too_many_images"
    assert len(service.requests) == 3


async def test_photos_beyond_the_limits_are_sent_in_several_batches(service):
    ok = part(200, HEADERS, b"")
    too_large = problem(413, "body_too_large", after=None)
    service.answers = [LIMITS, mixed(ok, ok, ok), mixed(ok), too_large, mixed(ok, ok), mixed(ok)]
    photos = [b"1", b"2", b"3", b"4", b"5" * 2001, b"6" * 900, b"7" * 900, b"8" * 900]
    results = await service.call("segment_batch", photos)
    refused = [isinstance(result, Refused) for result in results]
    assert refused == [False] * 4 + [True] + [False] * 3
    bodies = [request.content for request in service.requests[1:]]
    assert [body.count(b'name="image"') for body in bodies] == [3, 1, 1, 2, 1]
    assert max(map(len, bodies)) <= 5000


async def test_photo_of_wrong_type_is_named_by_its_index(service):
    service.answers = [LIMITS]
    with pytest.raises(InvalidArgument, match=r"^photos\[1\]: must be a path") as invalid:
        await service.call("segment_batch", [b"a photo", 3])
    assert invalid.value.argument == "photos[1]"
