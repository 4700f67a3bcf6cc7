"""The client against an httpx transport that answers what a test says."""

import json
import subprocess
import sys
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

ROOT = Path(__file__).resolve().parents[3]
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
DONE = httpx.Response(200, headers=HEADERS, content=b"a picture")


def problem(status: int = 503, code: str = "overloaded", after: str | None = "1", **more):
    said = {"code": code, "detail": "No room.", "retryable": status in (429, 503), **more}
    headers = {"content-type": "application/problem+json"}
    return httpx.Response(
        status,
        headers=headers | ({"retry-after": after} if after else {}),
        content=json.dumps(said),
    )


@dataclass
class Service:
    """Answers in turn, the last one for ever; keeps what it was asked and how long it was left."""

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


async def test_the_answer_is_typed():
    done = await segment(Service([DONE]))
    assert (done.body, done.media_type, done.model) == (b"a picture", "image/webp", "connectnet")
    assert (done.digest, done.backend) == ("sha256:abc", "CPUExecutionProvider")
    assert done.foreground
    assert done.box == Box(top=1, left=2, width=3, height=4)
    assert (done.coverage, done.confidence, done.domain) == (0.25, 0.9, None)
    assert done.timings_s == {"decode": 0.0015, "infer": 0.006}
    assert done.request_id == "r1"


async def test_nobody_in_the_photo_has_no_box():
    headers = {k: v for k, v in HEADERS.items() if not k.startswith("x-foreground")}
    empty = httpx.Response(200, headers=headers | {"x-foreground": "none"}, content=b"empty")
    done = await segment(Service([empty]))
    assert not done.foreground
    assert done.box is None


async def test_parameters_go_into_the_query_and_the_photo_into_the_body():
    service = Service([DONE])
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


async def test_a_background_makes_it_a_form(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    service = Service([DONE])
    await segment(service, tmp_path / "photo.jpg", background_image=b"a wall", output="composite")
    (request,) = service.requests
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert PHOTO in request.content
    assert b'name="background_image"' in request.content
    assert b"a wall" in request.content


async def test_the_key_goes_along():
    service = Service([DONE])
    async with service.client(key="secret") as client:
        await client.segment(PHOTO)
    assert service.requests[0].headers["authorization"] == "Bearer secret"


async def test_a_full_service_is_asked_again_after_the_time_it_names():
    service = Service([problem(after="3"), problem(after=None), DONE])
    assert (await segment(service)).body == b"a picture"
    assert service.waits == [3.0, 0.5]
    assert [request.content for request in service.requests] == [PHOTO] * 3


async def test_a_refusal_is_told_and_not_repeated():
    service = Service([problem(413, "body_too_large", None, limit=10, actual=11, request_id="r7")])
    with pytest.raises(Refused) as refused:
        await segment(service)
    said = refused.value
    assert (said.code, said.status, said.detail) == ("body_too_large", 413, "No room.")
    assert (said.limit, said.actual, said.request_id, said.retryable) == (10, 11, "r7", False)
    assert len(service.requests) == 1


async def test_tries_are_bounded():
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
        (1, 0.0, 7.0, 7.0),
        (1, 19.5, None, 0.25),
        (4, 0.0, None, None),
        (1, 19.9, None, None),
        (1, 0.0, 21.0, None),
    ],
)
def test_waits(tried, spent_s, after_s, wait_s):
    error = Refused("overloaded", "", retryable=True, retry_after_s=after_s)
    assert Retries().wait_s(tried, spent_s, error) == wait_s


@pytest.mark.parametrize("error", [ClientError(), Refused("bad", ""), StreamClosed(1007, "")])
def test_what_will_not_change_is_not_waited_for(error):
    assert Retries().wait_s(1, 0.0, error) is None


async def test_a_lost_connection_is_tried_again_and_then_told():
    service = Service([httpx.ReadError("reset"), DONE])
    assert (await segment(service)).body == b"a picture"

    gone = Service([httpx.ConnectError("refused")])
    with pytest.raises(Unreachable, match=r"http://service/below cannot be reached: refused"):
        await segment(gone)
    assert len(gone.requests) == Retries().tries


async def test_silence_is_not_asked_again():
    silent = Service([httpx.ReadTimeout("")])
    with pytest.raises(Unreachable, match="too long"):
        await segment(silent)
    assert len(silent.requests) == 1


@pytest.mark.parametrize(("status", "tries"), [(502, 4), (404, 1), (302, 1)])
async def test_what_is_no_problem_document_is_still_a_refusal(status, tries):
    service = Service([httpx.Response(status, content=b"<html>proxy</html>")])
    with pytest.raises(Refused) as refused:
        await segment(service)
    assert (refused.value.code, refused.value.status) == (f"http_{status}", status)
    assert len(service.requests) == tries


async def test_models_are_those_to_segment_with():
    cards = [
        {"name": "connectnet", "task": "segmentation"},
        {"name": "face_detector", "task": "faces"},
    ]
    async with Service([httpx.Response(200, json={"models": cards})]).client() as client:
        assert await client.models() == ("connectnet",)


@pytest.mark.parametrize("url", ["service:8000", "ftp://service", "http://", ""])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="http://host:port"):
        Client(url)


def test_neither_the_gateway_nor_the_command_loads_the_client_or_libav():
    code = "import sys, silhouette_seg.server.server, silhouette_seg.cli.main; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.split()
    assert "silhouette_seg.cli.main" in loaded
    assert not [
        name
        for name in loaded
        if name.startswith(("silhouette_seg.client", "silhouette_seg.video"))
    ]
    assert "av" not in loaded
