"""What the client makes of a batch's answer, whole or damaged."""

import httpx
import pytest

from silhouette_seg.client import Refused, Segmented, Unreachable
from silhouette_seg.client.batch import split_responses
from tests.unit.client.test_photos import HEADERS, Service, problem

BOUNDARY = "multipart/mixed; boundary=edge"
PICTURE = b"a\r\n--edg\r\n\r\npicture"


def part(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"X-Status": status, **headers}.items()]
    return "\r\n".join(["--edge", *lines, "", ""]).encode() + body + b"\r\n"


def whole(*parts: bytes, content_type: str = BOUNDARY, end: bytes = b"--edge--\r\n"):
    return httpx.Response(
        200, headers={"content-type": content_type}, content=b"".join(parts) + end
    )


REFUSED = problem(422, "undecodable_image", after=None)
MIXED = (
    part(200, HEADERS, PICTURE),
    part(422, dict(REFUSED.headers), REFUSED.content),
    part(200, HEADERS, b""),
)


def test_each_part_is_an_answer():
    good, bad, empty = split_responses(whole(*MIXED))
    assert (good.status_code, good.content) == (200, PICTURE)
    assert good.headers["x-model"] == "connectnet"
    assert (bad.status_code, bad.json()["code"]) == (422, "undecodable_image")
    assert empty.content == b""


@pytest.mark.parametrize(
    "damaged",
    [
        whole(*MIXED, end=b""),
        whole(*MIXED, end=b"--edge"),
        whole(),
        whole(*MIXED, content_type="image/png"),
        whole(*MIXED, content_type="multipart/mixed"),
        whole(*MIXED, content_type="multipart/mixed; boundary=other"),
        whole(part(200, {}, b"").replace(b"X-Status", b"X-Other")),
        whole(b"--edge\r\n"),
    ],
    ids=["no end", "half an end", "empty", "type", "no boundary", "other", "no status", "no part"],
)
def test_what_is_not_whole_is_no_answer(damaged):
    with pytest.raises(Unreachable):
        split_responses(damaged)


async def test_photos_go_as_one_form_and_come_back_in_order(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"another")
    service = Service([whole(*MIXED)])
    async with service.client() as client:
        first, second, third = await client.segment_batch(
            [b"a photo", tmp_path / "b.jpg", b""], background_image=b"sky", output="composite"
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
    places = [sent.index(text) for text in (b"a photo", b'filename="b.jpg"', b"another", b"sky")]
    assert places == sorted(places)


async def test_a_whole_that_is_refused_is_raised_and_what_may_pass_is_tried_again():
    service = Service([problem(), problem(413, "too_many_images", after=None)])
    async with service.client() as client:
        with pytest.raises(Refused) as refused:
            await client.segment_batch([b"a photo"])
    assert refused.value.code == "too_many_images"
    assert len(service.requests) == 2
