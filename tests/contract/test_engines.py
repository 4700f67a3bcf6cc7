"""The contract of all engines and engine wrappers."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest

from silhouette_seg.engine import open_engine, open_inference_server
from silhouette_seg.engine.base import Engine, TritonConfig
from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.lazy import LazyEngine
from silhouette_seg.engine.triton.config_pbtxt import write_configs
from silhouette_seg.errors import EngineFailed, Unavailable
from silhouette_seg.spec import SPEC_FILE, ModelSpec, TensorSpec, load_spec
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.triton.server import missing_requirement, run_triton

OpenEngine = Callable[[ModelSpec, Path], Engine]


def plain(name: str) -> OpenEngine:
    return lambda spec, repository: open_engine(name, spec, repository, workers=2)


def in_caller_thread(name: str) -> OpenEngine:
    return lambda spec, repository: open_engine(name, spec, repository, workers=None)


def lazy(name: str) -> OpenEngine:
    return lambda spec, repository: LazyEngine(spec, partial(plain(name), spec, repository))


def batched(name: str) -> OpenEngine:
    return lambda spec, repository: Batcher(
        plain(name)(spec, repository),
        max_batch=4,
        max_queue=64,
        queue_timeout_s=60,
        concurrency=2,
    )


ENGINES = {
    "fake": plain("fake"),
    "onnx": plain("onnx"),
    "onnx in the thread of the caller": in_caller_thread("onnx"),
    "lazy onnx": lazy("onnx"),
    "batched fake": batched("fake"),
    "batched onnx": batched("onnx"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repository")
    for name in ("connectnet", "rcrnet", "md_trisenet", "face_detector"):
        write_configs(write_tiny_model(path, tiny_spec(name)), path / name)
    return path


@pytest.fixture(scope="module")
def triton_url(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real server with the same models."""
    reason = missing_requirement()
    if reason:
        pytest.skip(reason)
    with run_triton(repository, tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc


@pytest.fixture(params=[*ENGINES, "triton"])
def open_on(request: pytest.FixtureRequest) -> OpenEngine:
    """The factory of one engine; a test runs once for each."""
    if request.param in ENGINES:
        return ENGINES[request.param]
    url = request.getfixturevalue("triton_url")
    return lambda spec, repository: open_inference_server(
        "triton", TritonConfig(url=url)
    ).open_engine(spec)


@pytest.fixture
async def engine(open_on, repository):
    engine = open_on(load_spec(repository / "connectnet"), repository)
    yield engine
    await engine.close()


@pytest.fixture
async def engine_of(open_on, repository):
    """Opens a model of the repository by its name."""
    engines: list[Engine] = []

    def open_model(name: str) -> Engine:
        engines.append(open_on(load_spec(repository / name), repository))
        return engines[-1]

    yield open_model
    for engine in engines:
        await engine.close()


def images(spec: ModelSpec, rows: int, seed: int = 0) -> np.ndarray:
    shape = (rows, *spec.size_hw, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


async def test_engine_names_its_spec_and_its_provider(engine):
    await engine.infer({"image": images(engine.spec, 1)})  # a remote provider is known after it
    assert engine.spec.name == "connectnet"
    assert engine.provider.endswith(("ExecutionProvider", "triton:cpu"))


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
async def test_output_row_belongs_to_input_row(engine, rows):
    batch = images(engine.spec, rows)
    alpha = await engine.infer({"image": batch})
    assert alpha.dtype == np.uint8
    np.testing.assert_array_equal(alpha, batch[..., 0])


async def test_output_of_batch_equals_outputs_of_single_rows(engine):
    batch = images(engine.spec, 5)
    together = await engine.infer({"image": batch})
    alone = [await engine.infer({"image": row[None]}) for row in batch]
    np.testing.assert_array_equal(together, np.concatenate(alone))


async def test_concurrent_callers_get_their_own_rows(engine):
    batches = [images(engine.spec, 1 + seed % 3, seed) for seed in range(24)]
    answers = await asyncio.gather(*(engine.infer({"image": batch}) for batch in batches))
    for batch, alpha in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(alpha, batch[..., 0])


async def test_output_is_independent_of_memory_layout(engine):
    batch = images(engine.spec, 2)[:, ::-1, :, ::-1]
    np.testing.assert_array_equal(await engine.infer({"image": batch}), batch[..., 0])


def wrong_inputs(spec: ModelSpec) -> Iterator[dict[str, np.ndarray]]:
    image = images(spec, 2)
    yield {}
    yield {"picture": image}
    yield {"image": image, "prior": image[..., 0]}
    yield {"image": image.astype(np.float32)}
    yield {"image": image[0]}
    yield {"image": image[:, 1:]}
    yield {"image": image[..., :2]}
    yield {"image": image[:0]}
    yield {"image": images(spec, spec.max_batch + 1)}


@pytest.mark.parametrize("case", range(len(list(wrong_inputs(tiny_spec())))))
async def test_wrong_inputs_raise_value_error(engine, case):
    wrong = list(wrong_inputs(engine.spec))[case]
    with pytest.raises(ValueError, match="connectnet"):
        await engine.infer(wrong)


async def test_rejected_call_does_not_affect_concurrent_calls(engine):
    good = images(engine.spec, 1)
    answers = await asyncio.gather(
        engine.infer({"image": good}),
        engine.infer({"image": good[:, 1:]}),
        engine.infer({"image": good}),
        return_exceptions=True,
    )
    assert isinstance(answers[1], ValueError)
    np.testing.assert_array_equal(answers[0], good[..., 0])
    np.testing.assert_array_equal(answers[2], good[..., 0])


async def test_cancelled_call_does_not_affect_concurrent_calls(engine):
    batch = images(engine.spec, 1)
    calls = [asyncio.create_task(engine.infer({"image": batch})) for _ in range(6)]
    await asyncio.sleep(0)
    calls[1].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for index in (0, 2, 3, 4, 5):
        np.testing.assert_array_equal(answers[index], batch[..., 0])


def inputs_of(spec: ModelSpec, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns random inputs of the model; the rows differ in their domain."""
    arrays = {
        "image": images(spec, rows, seed),
        "prior": images(spec, rows, seed + 1)[..., 1],
        "domain": (np.arange(rows) + seed) % 6,
    }
    return {tensor.name: arrays[tensor.name] for tensor in spec.inputs}


def expected_output(spec: ModelSpec, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the output of the tiny models."""
    if spec.name == "face_detector":
        middle = inputs["image"][:, spec.size_hw[0] // 2, spec.size_hw[1] // 2, 1]
        return np.float32([[[1, 0, 0, 1, level / 255]] for level in middle])
    alpha = inputs["image"][..., 0]
    if spec.name == "rcrnet":
        return alpha ^ inputs["prior"]
    return alpha ^ inputs["domain"].astype(np.uint8).reshape(-1, 1, 1)


OTHERS = ("rcrnet", "md_trisenet", "face_detector")


@pytest.mark.parametrize("name", OTHERS)
async def test_output_row_belongs_to_row_of_every_input(engine_of, name):
    engine = engine_of(name)
    inputs = inputs_of(engine.spec, 5)
    output = await engine.infer(inputs)
    assert output.dtype == engine.spec.output.dtype
    np.testing.assert_allclose(output, expected_output(engine.spec, inputs), rtol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
async def test_output_of_mixed_batch_equals_outputs_of_single_rows(engine_of, name):
    engine = engine_of(name)
    inputs = inputs_of(engine.spec, 6)
    together = await engine.infer(inputs)
    alone = [
        await engine.infer({key: value[row : row + 1] for key, value in inputs.items()})
        for row in range(6)
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("name", OTHERS)
async def test_concurrent_callers_get_outputs_of_all_their_inputs(engine_of, name):
    engine = engine_of(name)
    callers = [inputs_of(engine.spec, 1 + seed % 3, seed) for seed in range(24)]
    answers = await asyncio.gather(*map(engine.infer, callers))
    for inputs, output in zip(callers, answers, strict=True):
        np.testing.assert_allclose(output, expected_output(engine.spec, inputs), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("rcrnet", {}),
        ("rcrnet", {"prior": np.zeros((2, 24, 32), np.float32)}),
        ("rcrnet", {"prior": np.zeros((2, 24, 32, 1), np.uint8)}),
        ("rcrnet", {"prior": np.zeros((1, 24, 32), np.uint8)}),
        ("md_trisenet", {}),
        ("md_trisenet", {"domain": np.zeros(2, np.int32)}),
        ("md_trisenet", {"domain": np.zeros((2, 1), np.int64)}),
        ("md_trisenet", {"domain": np.zeros(3, np.int64)}),
    ],
)
async def test_wrong_extra_inputs_raise_value_error(engine_of, name, wrong):
    engine = engine_of(name)
    with pytest.raises(ValueError, match=name):
        await engine.infer({"image": images(engine.spec, 2), **wrong})


async def test_closed_engine_is_unavailable(engine):
    await engine.close()
    with pytest.raises(Unavailable):
        await engine.infer({"image": images(engine.spec, 1)})


async def test_second_close_has_no_effect(engine):
    await engine.close()
    await engine.close()


def write_open_model(repository: Path, spec: ModelSpec | None = None) -> ModelSpec:
    """Writes a tiny model with a graph that leaves all sides of its tensors open."""
    spec = write_tiny_model(repository, spec)
    file = spec.model_file(repository)
    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        for number, side in enumerate(value.type.tensor_type.shape.dim):
            side.dim_param = f"{value.name}{number}"
    onnx.save(model, file)
    return spec.model_copy(update={"sha256": sha256(file.read_bytes()).hexdigest()})


def tensor(name: str, dtype: str, *sides: int) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=(-1, *sides))


OTHER_TENSORS = [
    pytest.param({"inputs": (tensor("image", "uint8", 8, 8, 3),)}, id="size"),
    pytest.param({"inputs": (tensor("image", "float32", 24, 32, 3),)}, id="dtype"),
    pytest.param({"inputs": (tensor("photo", "uint8", 24, 32, 3),)}, id="name"),
    pytest.param({"output": tensor("alpha", "uint8", 24)}, id="rank"),
]
"""Fields of a spec that contradict the tiny graph."""


class TestOnnx:
    """Behaviour of the ONNX Runtime engine alone."""

    def open(self, repository: Path, device: str = "cpu") -> Engine:
        return open_engine("onnx", load_spec(repository / "connectnet"), repository, device=device)

    def test_provider_is_the_one_of_the_session(self, repository):
        assert self.open(repository).provider == "CPUExecutionProvider"

    def test_weights_with_another_digest_are_engine_failed(self, tmp_path):
        spec = write_tiny_model(tmp_path)
        file = spec.model_file(tmp_path)
        file.write_bytes(file.read_bytes() + b"\0")
        with pytest.raises(EngineFailed, match="do not match the digest"):
            self.open(tmp_path)

    def test_missing_weights_are_engine_failed_without_path(self, tmp_path):
        spec = write_tiny_model(tmp_path)
        spec.model_file(tmp_path).unlink()
        with pytest.raises(EngineFailed) as caught:
            self.open(tmp_path)
        assert str(tmp_path) not in caught.value.detail

    def test_weights_without_a_graph_are_engine_failed(self, tmp_path):
        spec = write_tiny_model(tmp_path)
        spec.model_file(tmp_path).write_bytes(b"garbage")
        digest = sha256(b"garbage").hexdigest()
        edited = spec.model_copy(update={"sha256": digest})
        (tmp_path / spec.name / SPEC_FILE).write_text(edited.model_dump_json())
        with pytest.raises(EngineFailed, match="cannot load"):
            self.open(tmp_path)

    @pytest.mark.parametrize("changes", OTHER_TENSORS)
    def test_graph_with_other_tensors_than_its_spec_is_engine_failed(self, tmp_path, changes):
        spec = write_tiny_model(tmp_path)
        with pytest.raises(EngineFailed, match="of connectnet") as caught:
            open_engine("onnx", spec.model_copy(update=changes), tmp_path)
        assert str(tmp_path) not in caught.value.detail

    async def test_run_that_fails_hides_the_engine_text(self, tmp_path):
        spec = write_open_model(tmp_path, tiny_spec("rcrnet"))
        image, prior = spec.inputs
        other = prior.model_copy(update={"shape": (-1, 7, 7)})
        spec = spec.model_copy(update={"inputs": (image, other)})
        engine = open_engine("onnx", spec, tmp_path)
        with pytest.raises(EngineFailed) as caught:
            await engine.infer({"image": images(spec, 1), "prior": np.zeros((1, 7, 7), np.uint8)})
        assert caught.value.detail == "The inference engine failed"
        assert caught.value.__cause__ is not None
        await engine.close()

    async def test_output_with_other_shape_is_engine_failed(self, tmp_path):
        spec = write_open_model(tmp_path)
        mask = spec.output.model_copy(update={"shape": (-1, 8, 8)})
        engine = open_engine("onnx", spec.model_copy(update={"output": mask}), tmp_path)
        with pytest.raises(EngineFailed):
            await engine.infer({"image": images(spec, 1)})
        await engine.close()

    async def test_cancelled_run_is_terminated(self, tmp_path):
        write_tiny_model(tmp_path, inversions=20_000_000)
        engine = self.open(tmp_path)
        call = asyncio.create_task(engine.infer({"image": images(engine.spec, 1)}))
        await asyncio.wait([call], timeout=0.2)
        assert not call.done()
        call.cancel()
        # `close` waits for the threads: an unterminated run would last about 20 s.
        async with asyncio.timeout(5):
            await engine.close()


def test_unknown_engine_raises_and_lists_the_engines(repository):
    with pytest.raises(ValueError, match="onnx"):
        open_engine("abacus", tiny_spec(), repository)
