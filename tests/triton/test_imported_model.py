"""An imported model on the real server: the same masks as with ONNX Runtime in the gateway."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from silhouette_seg.model_import.importer import ImportRequest, import_model
from silhouette_seg.model_import.presets import PRESETS
from silhouette_seg.spec import ModelSpec, load_spec
from tests.integration.pictures import picture
from tests.support.foreign_graphs import PUBLISHED, Graph
from tests.support.images import make_png, person
from tests.triton.client import infer
from tests.triton.gateway import TIMEOUT_S, run_gateway, wait_until_ready
from tests.triton.server import TritonServer, run_triton

NAMES = ("fixed", "open")
"""Models with a batch of one, and of any length."""
LONG_TIMEOUTS = {"queue_timeout_s": TIMEOUT_S, "request_timeout_s": TIMEOUT_S}


@pytest.fixture(scope="module")
def imported(wheel, tmp_path_factory) -> Path:
    """A repository with two imported models."""
    repository = tmp_path_factory.mktemp("imported")
    preset = PRESETS["mediapipe_selfie"]
    opened = Graph(input=("n", 256, 256, 3), output=("n", 256, 256, 1), ending="Identity")
    files = tmp_path_factory.mktemp("files")
    for name, graph in zip(NAMES, (PUBLISHED["mediapipe_selfie"], opened), strict=True):
        file = graph.write(files, f"{name}.onnx")
        import_model(ImportRequest(file, name, "Apache-2.0", preset.processing), repository)
    return repository


@pytest.fixture(scope="module")
def server(imported, tmp_path_factory) -> Iterator[TritonServer]:
    with run_triton(imported, tmp_path_factory.mktemp("triton_of_imported")) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
async def test_imported_model_runs_its_largest_batch(imported, server, name):
    spec: ModelSpec = load_spec(imported / name)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (spec.max_batch, *spec.size_hw, 3), np.uint8)
    async with InferenceServerClient(server.grpc) as client:
        masks = await infer(client, spec, {"image": images})
    assert spec.max_batch == {"fixed": 1, "open": 16}[name]
    assert np.abs(masks - images.mean(-1)).max() < 0.51


async def test_photo_has_the_same_mask_with_both_engines(imported, server, tmp_path_factory):
    shared = {"model_repository": imported, **LONG_TIMEOUTS}
    folders = [tmp_path_factory.mktemp(engine) for engine in ("onnx", "triton")]
    photo = make_png(person(256, 256))
    with (
        run_gateway(folders[0], engine="onnx", **shared) as onnx,
        run_gateway(folders[1], triton_url=server.grpc, **shared) as triton,
    ):
        answers = []
        for gateway in (onnx, triton):
            async with gateway.client() as client:
                await wait_until_ready(client)
                for name in NAMES:
                    path = f"/v1/segment?model={name}"
                    headers = {"content-type": "image/png"}
                    answers.append(await client.post(path, content=photo, headers=headers))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].headers["x-backend"] == "CPUExecutionProvider"
    assert answers[3].headers["x-backend"] == "triton:cpu"
    assert len({answer.content for answer in answers}) == 1
    assert picture(answers[0]).any()
