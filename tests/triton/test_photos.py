"""Every photo parameter gives the same response with ONNX Runtime and with Triton."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import numpy as np
import pytest

from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.vision.codec.decode import ImageFormat
from tests.integration.pictures import picture, problem
from tests.support.images import make_jpeg, make_png, person
from tests.support.published import REPOSITORY
from tests.triton.gateway import TIMEOUT_S, run_gateway, wait_until_ready

LONG_TIMEOUTS = {"queue_timeout_s": TIMEOUT_S, "request_timeout_s": TIMEOUT_S}
TWO_PEOPLE = np.hstack([person(320, 320), person(320, 320)[:, ::-1]])
PHOTO = make_jpeg(np.vstack([np.full((320, 640, 3), 200, np.uint8), TWO_PEOPLE]))
"""Square, so that a model with a square input does not distort the two people."""
EMPTY_PHOTO = make_png(np.zeros((64, 64, 3), np.uint8))
CUTOUT = "output=cutout"
COMPOSITE = "output=composite"

QUERIES = (
    "",
    "model=auto",
    "model=connectnet",
    "model=rcrnet",
    "output=mask",
    CUTOUT,
    COMPOSITE,
    f"{COMPOSITE}&background=%2320639b",
    f"{COMPOSITE}&background=blur:8",
    f"{CUTOUT}&format=png",
    f"{CUTOUT}&format=webp",
    f"{COMPOSITE}&format=jpeg",
    "person=all",
    "person=dominant",
    "refine=none",
    "refine=guided",
    f"{CUTOUT}&decontaminate=true",
    f"{CUTOUT}&decontaminate=false",
    "grow=4",
    "grow=-4",
    "feather=2.5",
    f"{CUTOUT}&keep_metadata=true",
    f"{CUTOUT}&crop=true",
    f"{CUTOUT}&crop=true&crop_margin=10",
    "invert=true",
    "threshold=0.5",
    "model=md_trisenet&domain=far_shot",
    "model=md_trisenet&domain=head_shot",
    "require_foreground=true",
    "layout=x:0.25,scale:0.5;x:0.75,scale:0.5,flip:true",
    f"{COMPOSITE}&background=%23ffffff&light_wrap=60",
    "output=trimap&trimap_band=3",
)
REPORT_QUERIES = ("masks=rle", "masks=polygon", "faces=true")
"""Queries that add facts to the JSON report."""


@dataclass(frozen=True)
class Both:
    """Clients of a gateway with ONNX Runtime and of one with Triton."""

    clients: tuple[httpx.AsyncClient, httpx.AsyncClient]

    async def post(self, path: str, **upload: object) -> tuple[httpx.Response, httpx.Response]:
        onnx, triton = [await client.post(path, **upload) for client in self.clients]
        return onnx, triton


@pytest.fixture(scope="module")
def urls(triton_server, tmp_path_factory) -> Iterator[tuple[str, str]]:
    folders = [tmp_path_factory.mktemp(name) for name in ("onnx", "triton")]
    shared = {"model_repository": REPOSITORY, **LONG_TIMEOUTS}
    with (
        run_gateway(folders[0], engine="onnx", **shared) as onnx,
        run_gateway(folders[1], triton_url=triton_server.grpc, **shared) as triton,
    ):
        yield onnx.url, triton.url


@pytest.fixture
async def both(urls) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, verify=False)
            )
            for url in urls
        ]
        for client in clients:
            await wait_until_ready(client)
        yield Both((clients[0], clients[1]))


def test_queries_cover_every_parameter():
    assert {
        pair.partition("=")[0]
        for query in (*QUERIES, *REPORT_QUERIES)
        for pair in query.split("&")
        if pair
    } == set(PARAMETERS)


@pytest.mark.parametrize("query", QUERIES)
async def test_response_is_the_same_with_both_engines(both, query):
    onnx, triton = await both.post(
        f"/v1/segment?{query}", content=PHOTO, headers={"content-type": "image/jpeg"}
    )
    assert onnx.status_code == triton.status_code == 200, onnx.text
    assert onnx.headers["x-backend"] == "CPUExecutionProvider"
    assert triton.headers["x-backend"] == "triton:cpu"
    assert onnx.headers["x-foreground"] == "present"
    assert onnx.content == triton.content
    headers = [
        name for name in onnx.headers if name.startswith(("x-mask", "x-foreground", "x-model"))
    ]
    assert [onnx.headers[name] for name in headers] == [triton.headers[name] for name in headers]
    assert onnx.headers["etag"] == triton.headers["etag"]
    image_format = ImageFormat(onnx.headers["content-type"].removeprefix("image/"))
    assert picture(onnx, image_format.media_type).any()


@pytest.mark.parametrize("query", REPORT_QUERIES)
async def test_report_is_the_same_with_both_engines(both, query):
    headers = {"content-type": "image/jpeg", "accept": "application/json"}
    onnx, triton = await both.post(f"/v1/segment?{query}", content=PHOTO, headers=headers)
    facts = ("foreground", "people", "people_separated", "people_reason", "faces", "image")
    assert onnx.status_code == 200, onnx.text
    assert [onnx.json()[name] for name in facts] == [triton.json()[name] for name in facts]


async def test_background_image_is_the_same_with_both_engines(both):
    files = {"image": PHOTO, "background_image": make_png(np.full((40, 40, 3), 200, np.uint8))}
    onnx, triton = await both.post("/v1/segment", files=files, data={"output": "composite"})
    assert onnx.status_code == 200, onnx.text
    assert onnx.content == triton.content


async def test_required_foreground_is_missing_with_both_engines(both):
    upload = {"content": EMPTY_PHOTO, "headers": {"content-type": "image/png"}}
    for answer in await both.post("/v1/segment?require_foreground=true", **upload):
        assert problem(answer)["code"] == "foreground_missing"
    for answer in await both.post("/v1/segment", **upload):
        assert answer.headers["x-foreground"] == "none"
        assert not picture(answer).any()


async def test_report_of_dominant_person_is_the_same_with_both_engines(both):
    upload = {
        "content": PHOTO,
        "headers": {"content-type": "image/jpeg", "accept": "application/json"},
    }
    reports = [
        json.loads(answer.content)
        for answer in await both.post("/v1/segment?person=dominant", **upload)
    ]
    assert reports[0]["foreground"] == reports[1]["foreground"]
    assert reports[0]["mask"] == reports[1]["mask"]
    assert sum(piece["reason"] == "dominant" for piece in reports[0]["foreground"]["pieces"]) == 1
