"""The client with an httpx transport that returns prepared responses."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from silhouette_seg.client import (
    Box,
    Client,
    ClientError,
    Refused,
    Retries,
    StreamClosed,
    Unreachable,
)

PHOTO = b"a photo"
HEADERS = {
    "content-type": "image/webp",
    "x-model": "connectnet",
    "x-model-digest": "sha256:abc",
    "x-backend": "CPUExecutionProvider",
    "x-foreground": "present",
    "x-foreground-top": "1",
    "x-foreground-left": "2",
    "x-foreground-width": "3",
    "x-foreground-height": "4",
    "x-mask-coverage": "0.2500",
    "x-mask-confidence": "0.9000",
    "server-timing": "decode;dur=1.50, infer;dur=6.00",
    "x-request-id": "r1",
}
JSON = {"content-type": "application/json"}
SEGMENTED = httpx.Response(200, headers=HEADERS, content=b"a picture")


def problem(status: int = 503, code: str = "overloaded", after: str | None = "1", **more):
    """Returns a problem document; `after` is the value of Retry-After."""
    document = {"code": code, "detail": "No room.", "retryable": status in (429, 503), **more}
    headers = {"content-type": "application/problem+json"}
    return httpx.Response(
        status,
        headers=headers | ({"retry-after": after} if after else {}),
        content=json.dumps(document),
    )


@dataclass
class Service:
    """Service that returns its answers in turn and repeats the last.

    It records the requests, and the waits of the client between them.
    """

    answers: list[httpx.Response | Exception]
    requests: list[httpx.Request] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def client(self, key: str | None = None, **retries) -> Client:
        return Client(
            "http://service/below",
            key,
            retries=Retries(sleep=self.sleep, **retries),
            transport=httpx.MockTransport(self),
        )


async def segment(service: Service, photo: bytes | Path = PHOTO, **parameters):
    async with service.client() as client:
        return await client.segment(photo, **parameters)


async def test_response_headers_become_typed_fields():
    segmented = await segment(Service([SEGMENTED]))
    assert (segmented.body, segmented.media_type, segmented.model) == (
        b"a picture",
        "image/webp",
        "connectnet",
    )
    assert (segmented.digest, segmented.backend) == ("sha256:abc", "CPUExecutionProvider")
    assert segmented.foreground
    assert not segmented.doubtful
    assert segmented.box == Box(top=1, left=2, width=3, height=4)
    assert (segmented.coverage, segmented.confidence, segmented.domain) == (0.25, 0.9, None)
    assert segmented.timings_s == {"decode": 0.0015, "infer": 0.006}
    assert segmented.request_id == "r1"


async def test_photo_without_person_has_no_box():
    headers = {k: v for k, v in HEADERS.items() if not k.startswith("x-foreground")}
    empty = httpx.Response(200, headers=headers | {"x-foreground": "none"}, content=b"empty")
    segmented = await segment(Service([empty]))
    assert not segmented.foreground
    assert segmented.box is None


async def test_doubtful_person_is_a_field_of_the_result():
    headers = HEADERS | {"x-foreground-doubtful": "true"}
    segmented = await segment(Service([httpx.Response(200, headers=headers, content=b"a mask")]))
    assert segmented.foreground
    assert segmented.doubtful


async def test_parameters_are_the_query_and_photo_the_body():
    service = Service([SEGMENTED])
    await segment(service, output="cutout", crop=True, feather=1.5, grow=-2)
    (request,) = service.requests
    assert request.url.path == "/below/v1/segment"
    assert dict(request.url.params) == {
        "output": "cutout",
        "crop": "true",
        "feather": "1.5",
        "grow": "-2",
    }
    assert request.content == PHOTO
    assert request.headers["content-type"].startswith("image/")


@pytest.mark.parametrize("parameters", [{"masks": "rle"}, {"faces": True}], ids=str)
async def test_facts_are_requested_and_read_from_the_report(parameters):
    report = {"people": [], "image": {"media_type": "image/png", "data": "YSBwaWN0dXJl"}}
    service = Service([httpx.Response(200, headers=HEADERS | JSON, content=json.dumps(report))])
    segmented = await segment(service, **parameters)
    assert service.requests[0].headers["accept"] == "application/json"
    assert (segmented.body, segmented.media_type) == (b"a picture", "image/png")
    assert segmented.report == report
    assert segmented.box is not None


async def test_image_without_facts_has_no_report():
    service = Service([SEGMENTED])
    segmented = await segment(service)
    assert service.requests[0].headers["accept"] == "*/*"
    assert (segmented.report, segmented.blurred_faces) == (None, None)


@pytest.mark.parametrize("count", [0, 2])
async def test_number_of_blurred_faces_is_a_field(count):
    headers = HEADERS | {"x-faces-blurred": str(count)}
    segmented = await segment(Service([httpx.Response(200, headers=headers, content=b"photo")]))
    assert segmented.blurred_faces == count


async def test_background_image_is_sent_in_a_form(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    service = Service([SEGMENTED])
    await segment(service, tmp_path / "photo.jpg", background_image=b"a wall", output="composite")
    (request,) = service.requests
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert PHOTO in request.content
    assert b'name="background_image"' in request.content
    assert b"a wall" in request.content


async def test_key_is_sent_as_bearer_token():
    service = Service([SEGMENTED])
    async with service.client(key="secret") as client:
        await client.segment(PHOTO)
    assert service.requests[0].headers["authorization"] == "Bearer secret"


async def test_overload_is_retried_after_the_requested_time():
    service = Service([problem(after="3"), problem(after=None), SEGMENTED])
    assert (await segment(service)).body == b"a picture"
    assert service.waits == [3.0, 0.5]
    assert [request.content for request in service.requests] == [PHOTO] * 3


async def test_final_error_is_raised_without_retry():
    service = Service([problem(413, "body_too_large", None, limit=10, actual=11, request_id="r7")])
    with pytest.raises(Refused) as refused:
        await segment(service)
    error = refused.value
    assert (error.code, error.status, error.detail) == ("body_too_large", 413, "No room.")
    assert (error.limit, error.actual, error.request_id, error.retryable) == (10, 11, "r7", False)
    assert len(service.requests) == 1


async def test_retries_end_after_the_last_try():
    service = Service([problem()])
    with pytest.raises(Refused) as refused:
        await segment(service)
    assert refused.value.retryable
    assert len(service.requests) == Retries().tries


@pytest.mark.parametrize(
    ("tried", "spent_s", "after_s", "wait_s"),
    [
        (1, 0.0, None, 0.25),
        (3, 1.0, None, 1.0),
        (7, 7.0, None, 2.0),
        (1, 0.0, 7.0, 7.0),
        (1, 19.5, None, 0.25),
        (9, 0.0, None, None),
        (1, 19.9, None, None),
        (1, 0.0, 21.0, None),
    ],
)
def test_retries_compute_the_next_wait(tried, spent_s, after_s, wait_s):
    error = Refused("overloaded", "", retryable=True, retry_after_s=after_s)
    assert Retries().wait_s(tried, spent_s, error) == wait_s


@pytest.mark.parametrize("error", [ClientError(), Refused("bad", ""), StreamClosed(1007, "")])
def test_final_error_has_no_next_wait(error):
    assert Retries().wait_s(1, 0.0, error) is None


async def test_lost_connection_is_retried_then_raised():
    service = Service([httpx.ReadError("reset"), SEGMENTED])
    assert (await segment(service)).body == b"a picture"

    stopped = Service([httpx.ConnectError("refused")])
    with pytest.raises(Unreachable, match=r"http://service/below cannot be reached: refused"):
        await segment(stopped)
    assert len(stopped.requests) == Retries().tries


@pytest.mark.parametrize("refused_s", [0.2, 1.0, 2.0, 3.2])
@pytest.mark.parametrize("restart_s", [2.4, 3.2, 6.0])
async def test_default_retries_survive_restart_of_service(refused_s, restart_s):
    """The port is closed at first, and then the models warm up."""
    service = Service([])

    def answer(request: httpx.Request) -> httpx.Response:
        now = sum(service.waits)
        if now < min(refused_s, restart_s):
            raise httpx.ConnectError("refused", request=request)
        return problem(503, "warming_up") if now < restart_s else SEGMENTED

    retries = Retries(sleep=service.sleep)
    async with Client(
        "http://service", retries=retries, transport=httpx.MockTransport(answer)
    ) as client:
        assert (await client.segment(PHOTO)).body == b"a picture"


async def test_read_timeout_is_not_retried():
    service = Service([httpx.ReadTimeout("")])
    with pytest.raises(Unreachable, match="too long"):
        await segment(service)
    assert len(service.requests) == 1


@pytest.mark.parametrize(("status", "tries"), [(502, 9), (404, 1), (302, 1)])
async def test_response_without_problem_document_raises_refused(status, tries):
    service = Service([httpx.Response(status, content=b"<html>proxy</html>")])
    with pytest.raises(Refused) as refused:
        await segment(service)
    assert (refused.value.code, refused.value.status) == (f"http_{status}", status)
    assert len(service.requests) == tries


async def test_models_lists_segmentation_models_only():
    cards = [
        {"name": "connectnet", "task": "segmentation"},
        {"name": "face_detector", "task": "faces"},
    ]
    async with Service([httpx.Response(200, json={"models": cards})]).client() as client:
        assert await client.models() == ("connectnet",)


@pytest.mark.parametrize("url", ["service:8000", "ftp://service", "http://", ""])
def test_invalid_url_raises_value_error(url):
    with pytest.raises(ValueError, match="http://host:port"):
        Client(url)
