"""Both clients with an httpx transport that returns prepared responses."""

import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from silhouette_seg.client import AsyncClient, Box, Client, Refused, Retries, Unreachable
from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.sources import FileSource

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
    """Service that returns its answers in turn and repeats the last, for either client.

    It records the requests, and the waits of the client between them.
    """

    client: type[Client] | type[AsyncClient]
    requests: list[httpx.Request] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    answers: list[httpx.Response | Exception] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        # A copy: a response belongs to the client that read it.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def call(self, method: str, *arguments, key: str | None = None, **named):
        """Calls a method of a new client and returns its result."""
        transport = httpx.MockTransport(self)
        if self.client is Client:
            retries = Retries(sleep=self.waits.append)
            with Client("http://service/below", key, retries=retries, transport=transport) as one:
                result = getattr(one, method)(*arguments, **named)
                return list(result) if isinstance(result, Iterator) else result
        retries = Retries(sleep=self.sleep)
        async with AsyncClient(
            "http://service/below", key, retries=retries, transport=transport
        ) as one:
            result = getattr(one, method)(*arguments, **named)
            if isinstance(result, AsyncIterator):
                return [part async for part in result]
            return await result

    async def segment(self, photo: FileSource = PHOTO, **named):
        return await self.call("segment", photo, **named)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_photo_without_a_person_has_no_confidence(service):
    headers = {name: value for name, value in HEADERS.items() if name != "x-mask-confidence"}
    service.answers = [httpx.Response(200, headers=headers | {"x-foreground": "none"})]
    segmented = await service.segment()
    assert (segmented.foreground, segmented.confidence) == (False, None)


async def test_response_headers_become_typed_fields(service):
    service.answers = [SEGMENTED]
    segmented = await service.segment()
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


async def test_photo_without_person_has_no_box(service):
    headers = {k: v for k, v in HEADERS.items() if not k.startswith("x-foreground")}
    empty = httpx.Response(200, headers=headers | {"x-foreground": "none"}, content=b"empty")
    service.answers = [empty]
    segmented = await service.segment()
    assert not segmented.foreground
    assert segmented.box is None


async def test_doubtful_person_is_a_field_of_the_result(service):
    headers = HEADERS | {"x-foreground-doubtful": "true"}
    service.answers = [httpx.Response(200, headers=headers, content=b"a mask")]
    segmented = await service.segment()
    assert segmented.foreground
    assert segmented.doubtful


async def test_parameters_are_the_query_and_photo_the_body(service):
    service.answers = [SEGMENTED]
    await service.segment(output="cutout", crop=True, feather=1.5, grow=-2, threshold=1 / 3)
    (request,) = service.requests
    assert request.url.path == "/below/v1/segment"
    assert dict(request.url.params) == {
        "output": "cutout",
        "crop": "true",
        "feather": "1.5",
        "grow": "-2",
        "threshold": "0.333333333",
    }
    assert request.content == PHOTO
    assert request.headers["content-type"].startswith("image/")


@pytest.mark.parametrize("parameters", [{"masks": "rle"}, {"faces": True}], ids=str)
async def test_facts_are_requested_and_read_from_the_report(service, parameters):
    report = {"people": [], "image": {"media_type": "image/png", "data": "YSBwaWN0dXJl"}}
    content = json.dumps(report)
    service.answers = [httpx.Response(200, headers=HEADERS | JSON, content=content)]
    segmented = await service.segment(**parameters)
    assert service.requests[0].headers["accept"] == "application/json"
    assert (segmented.body, segmented.media_type) == (b"a picture", "image/png")
    assert segmented.report == report
    assert segmented.box is not None


async def test_image_without_facts_has_no_report(service):
    service.answers = [SEGMENTED]
    segmented = await service.segment()
    assert service.requests[0].headers["accept"] == "*/*"
    assert (segmented.report, segmented.blurred_faces) == (None, None)


@pytest.mark.parametrize("count", [0, 2])
async def test_number_of_blurred_faces_is_a_field(service, count):
    headers = HEADERS | {"x-faces-blurred": str(count)}
    service.answers = [httpx.Response(200, headers=headers, content=b"photo")]
    segmented = await service.segment()
    assert segmented.blurred_faces == count


async def test_background_image_is_sent_in_a_form(service, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    service.answers = [SEGMENTED]
    wall = io.BytesIO(b"a wall")
    await service.segment(tmp_path / "photo.jpg", background=wall, output="composite")
    (request,) = service.requests
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert PHOTO in request.content
    assert b'name="background_image"' in request.content
    assert b"a wall" in request.content


async def test_key_is_sent_as_bearer_token(service):
    service.answers = [SEGMENTED]
    await service.segment(key="secret")
    assert service.requests[0].headers["authorization"] == "Bearer secret"


async def test_overload_is_retried_after_the_requested_time(service):
    service.answers = [problem(after="3"), problem(after=None), SEGMENTED]
    assert (await service.segment()).body == b"a picture"
    assert service.waits == [3.0, 0.5]
    assert [request.content for request in service.requests] == [PHOTO] * 3


async def test_final_error_is_raised_without_retry(service):
    fields = {"limit": 10, "actual": 11, "request_id": "r7"}
    service.answers = [problem(413, "body_too_large", None, **fields)]
    with pytest.raises(Refused) as refused:
        await service.segment()
    error = refused.value
    assert (error.code, error.status, error.detail) == ("body_too_large", 413, "No room.")
    assert (error.limit, error.actual, error.request_id, error.retryable) == (10, 11, "r7", False)
    assert len(service.requests) == 1


async def test_retries_end_after_the_last_try(service):
    service.answers = [problem()]
    with pytest.raises(Refused) as refused:
        await service.segment()
    assert refused.value.retryable
    assert len(service.requests) == Retries().tries


async def test_lost_connection_is_retried_then_raised(service):
    service.answers = [httpx.ReadError("reset"), SEGMENTED]
    assert (await service.segment()).body == b"a picture"

    stopped = Service(service.client, answers=[httpx.ConnectError("refused")])
    with pytest.raises(Unreachable, match=r"http://service/below cannot be reached: refused"):
        await stopped.segment()
    assert len(stopped.requests) == Retries().tries
    assert sum(stopped.waits) < 12  # as docs/clients.md says


@pytest.mark.parametrize("refused_s", [0.2, 1.0, 2.0, 3.2])
@pytest.mark.parametrize("restart_s", [2.4, 3.2, 6.0])
async def test_default_retries_survive_restart_of_service(service, refused_s, restart_s):
    """The port is closed at first, and then the models warm up."""
    refused = httpx.ConnectError("refused")
    warming_up = problem(503, "warming_up")

    class Restarting(Service):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            now = sum(self.waits)
            is_closed = now < min(refused_s, restart_s)
            self.answers = [refused if is_closed else warming_up if now < restart_s else SEGMENTED]
            return super().__call__(request)

    assert (await Restarting(service.client).segment()).body == b"a picture"


async def test_read_timeout_is_not_retried(service):
    service.answers = [httpx.ReadTimeout("")]
    with pytest.raises(Unreachable, match="too long"):
        await service.segment()
    assert len(service.requests) == 1


@pytest.mark.parametrize(("status", "tries"), [(502, 9), (404, 1), (302, 1)])
async def test_response_without_problem_document_raises_refused(service, status, tries):
    service.answers = [httpx.Response(status, content=b"<html>proxy</html>")]
    with pytest.raises(Refused) as refused:
        await service.segment()
    assert (refused.value.code, refused.value.status) == (f"http_{status}", status)
    assert len(service.requests) == tries


async def test_models_lists_segmentation_models_only(service):
    cards = [
        {"name": "connectnet", "task": "segmentation"},
        {"name": "face_detector", "task": "faces"},
    ]
    service.answers = [httpx.Response(200, json={"models": cards})]
    assert await service.call("models") == ("connectnet",)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("localhost:8000", "write http://localhost:8000 or https://localhost:8000"),
        ("10.1.2.3", "write http://10.1.2.3 or"),
        ("[::1]:8000", "write http://[::1]:8000 or"),
        ("host/below", "write http://host/below or"),
        ("ftp://service", "must be like http://localhost:8000"),
        ("http:/service", "must be like http://localhost:8000"),
        ("http://", "must be like http://localhost:8000"),
        ("", "must be like http://localhost:8000"),
        ("http://a:b", "is not a URL"),
        (b"http://service", "must be text such as http://localhost:8000, not bytes"),
        (None, "must be text such as http://localhost:8000, not NoneType"),
    ],
)
def test_invalid_url_raises_error_with_advice(client, url, hint):
    with pytest.raises(InvalidArgument, match=f"^url: .*{re.escape(hint)}"):
        client(url)


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"photo": 3}, "photo"),
        ({"photo": io.StringIO("text")}, "photo"),
        ({"photo": "http://elsewhere/photo.jpg"}, "photo"),
        ({"photo": PHOTO, "background": ["a wall"]}, "background"),
        ({"photo": PHOTO, "background": "wall.jpg"}, "background"),
        ({"photo": PHOTO, "background_image": PHOTO}, "background_image"),
        ({"photo": PHOTO, "crop": [True]}, "crop"),
    ],
    ids=["number", "open text", "URL", "background", "path", "name of the API", "parameter"],
)
async def test_argument_of_wrong_type_is_named_and_not_sent(service, given, argument):
    with pytest.raises(InvalidArgument, match=f"^{argument}: ") as invalid:
        await service.segment(**given)
    assert invalid.value.argument == argument
    assert service.requests == []


async def test_photo_may_be_a_path_bytes_or_an_open_file(service, tmp_path):
    service.answers = [SEGMENTED]
    path = tmp_path / "photo.jpg"
    path.write_bytes(PHOTO)
    with path.open("rb") as file:
        for photo in (path, str(path), file, PHOTO, bytearray(PHOTO), io.BytesIO(PHOTO)):
            await service.segment(photo)
    assert [request.content for request in service.requests] == [PHOTO] * 6


async def test_missing_file_raises_os_error(service, tmp_path):
    with pytest.raises(FileNotFoundError):
        await service.segment(tmp_path / "absent.jpg")


@pytest.mark.parametrize(
    "photos",
    ["photo.jpg", b"photo", io.BytesIO(b"photo"), []],
    ids=["str", "bytes", "open file", "none"],
)
async def test_batch_of_one_photo_or_none_is_rejected(service, photos):
    service.answers = [SEGMENTED]
    with pytest.raises(InvalidArgument, match=r"^photos: must be a sequence"):
        await service.call("segment_batch", photos)
    assert service.requests == []
