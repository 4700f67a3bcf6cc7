"""Size, length, encoding and speed of request bodies."""

import asyncio
import gzip
import json
import zlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.integration.conftest import in_process
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, quadrants
from tests.support.tensors import binary_request, random_inputs
from tests.support.tiny_model import tiny_spec

JPEG = make_jpeg(quadrants())


@pytest.fixture(autouse=True)
async def resources_are_released(service) -> AsyncIterator[None]:
    """After every error no request, byte or queue slot is held, and photos are processed."""
    yield
    assert service.gateway.requests.count == 0
    assert service.gateway.photo_queue.running_pixels == 0
    assert service.gateway.body_memory.reserved == 0
    picture(await service.segment(JPEG))


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


BODY_ROUTES = {
    "/v1/segment": "image/jpeg",
    "/v1/segment/batch": "multipart/form-data; boundary=b",
    "/v1/webrtc": "application/sdp",
    "/v1.0/removebg": "application/json",
    "/v2/models/connectnet/infer": "application/octet-stream",
}
"""Every route that reads a body, with a media type that it accepts."""


@pytest.fixture
async def coded_errors(service):
    """Posts a body and returns the status and the code that the metrics count."""
    registry = service.gateway.telemetry.registry

    def counts() -> Counter[str]:
        (metric,) = (m for m in registry.collect() if m.name == "silhouette_requests")
        counts: Counter[str] = Counter()
        for sample in metric.samples:
            if sample.name == "silhouette_requests_total":
                counts[sample.labels["code"]] += int(sample.value)
        return counts

    async def post(path: str, headers: dict[str, str]) -> tuple[int, set[str]]:
        before = counts()
        headers = {"content-type": BODY_ROUTES[path]} | headers
        answer = await service.client.post(path, content=chunks(JPEG), headers=headers)
        return answer.status_code, set(counts() - before)

    return post


@pytest.mark.parametrize("path", BODY_ROUTES)
async def test_unknown_encoding_is_415_on_every_route(coded_errors, path):
    answer = await coded_errors(path, {"content-encoding": "br"})
    assert answer == (415, {"unsupported_media_type"})


@pytest.mark.parametrize("path", BODY_ROUTES)
async def test_damaged_gzip_is_400_on_every_route(coded_errors, path):
    answer = await coded_errors(path, {"content-encoding": "gzip"})
    assert answer == (400, {"malformed_body"})


FILE_PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Returns a body of 200 kB that becomes 200 MB; it is the beginning of a form as well."""
    return gzip.compress(FILE_PART + bytes(200_000_000))


@pytest.mark.parametrize("path", BODY_ROUTES)
async def test_bomb_is_413_on_every_route(service, bomb, path):
    headers = {"content-type": BODY_ROUTES[path], "content-encoding": "gzip"}
    answer = await service.client.post(path, content=bomb, headers=headers)
    error = json.dumps(answer.json())
    if path == "/v1.0/removebg":
        assert (answer.status_code, "file_too_large" in error) == (400, True)
    else:
        assert answer.status_code == 413
    assert "has more than" in error
    assert "limit" in error


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/segment/batch", "/v1.0/removebg"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_form_is_answered_like_a_plain_one(service, path, encoding):
    field = "image_file" if path == "/v1.0/removebg" else "image"
    plain = service.client.build_request("POST", path, files={field: ("a.jpg", JPEG)})
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    answer = await service.client.post(
        path,
        content=compress(await plain.aread()),
        headers={"content-type": plain.headers["content-type"], "content-encoding": encoding},
    )
    assert answer.status_code == 200
    assert answer.content.count(b"\x89PNG") == 1


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
async def test_compressed_tensors_are_answered_like_plain_ones(service, compress):
    path = "/v2/models/connectnet/infer"
    body, headers = binary_request(random_inputs(tiny_spec(), 2))
    plain = await service.client.post(path, content=body, headers=headers)
    encoding = "gzip" if compress is gzip.compress else "deflate"
    headers["content-encoding"] = encoding
    answer = await service.client.post(path, content=compress(body), headers=headers)
    assert answer.status_code == 200
    assert answer.json() == plain.json()


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 5000, ""])
@pytest.mark.parametrize("path", BODY_ROUTES)
async def test_content_length_without_number_is_400_on_every_route(coded_errors, path, length):
    answer = await coded_errors(path, {"content-length": length})
    assert answer == (400, {"malformed_body"})


class TestBodySize:
    @pytest.fixture
    async def service(self, settings_with):
        async with in_process(settings_with(max_body_bytes=len(JPEG))) as running:
            yield running

    async def test_body_at_the_size_limit_is_processed(self, service):
        picture(await service.segment(JPEG))
        picture(await service.form(("image", JPEG)))

    async def test_body_above_the_size_limit_is_413(self, service):
        document = refusal(await service.segment(JPEG + b"\0"), 413, "body_too_large")
        assert (document["limit"], document["actual"]) == (len(JPEG), len(JPEG) + 1)
        refusal(await service.form(("image", JPEG + b"\0")), 413, "body_too_large")

    async def test_body_above_its_content_length_is_413(self, service):
        answer = await service.client.post(
            "/v1/segment",
            content=chunks(JPEG, JPEG),
            headers={"content-type": "image/jpeg", "content-length": "10"},
        )
        refusal(answer, 413, "body_too_large")

    async def test_chunked_body_above_the_limit_is_413(self, service):
        answer = await service.client.post(
            "/v1/segment", content=chunks(JPEG, b"\0"), headers={"content-type": "image/jpeg"}
        )
        refusal(answer, 413, "body_too_large")


class TestSlowBody:
    @pytest.fixture
    async def service(self, settings_with):
        async with in_process(settings_with(read_timeout_s=0.05)) as running:
            yield running

    async def test_stalled_body_is_408(self, service):
        async def stalled() -> AsyncIterator[bytes]:
            yield JPEG[:100]
            await asyncio.Event().wait()

        answer = await service.client.post(
            "/v1/segment", content=stalled(), headers={"content-type": "image/jpeg"}
        )
        document = refusal(answer, 408, "body_too_slow")
        assert document["retryable"] is True
