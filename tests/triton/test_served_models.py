"""The published models on the real server, compared with ONNX Runtime in this process."""

import asyncio

import numpy as np
import onnxruntime
import pytest
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import SPEC_FILE, ModelSpec, load_spec
from tests.support.published import REPOSITORY
from tests.triton.client import infer, inference_counts, poll_until

NAMES = sorted(file.parent.name for file in REPOSITORY.glob(f"*/{SPEC_FILE}"))
CALLERS = 32
CALLS_PER_CALLER = 4


def inputs_of(spec: ModelSpec, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns images of coloured blocks, which noise lacks; the rows differ in their domain."""
    random = np.random.default_rng(seed)
    arrays = {"domain": (np.arange(rows) + seed) % len(Domain)}
    for tensor in spec.inputs:
        if tensor.dtype == "uint8":
            blocks = random.integers(0, 256, (rows, 8, 8, *tensor.shape[3:]), np.uint8)
            arrays[tensor.name] = blocks.repeat(tensor.shape[1] // 8, 1).repeat(
                tensor.shape[2] // 8, 2
            )
    return {tensor.name: arrays[tensor.name] for tensor in spec.inputs}


def in_process(spec: ModelSpec) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    file = spec.model_file(REPOSITORY)
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
async def test_output_equals_that_of_onnx_runtime(triton, name):
    spec = load_spec(REPOSITORY / name)
    session = in_process(spec)
    for rows in (1, 3):
        inputs = inputs_of(spec, rows, seed=rows)
        (expected,) = session.run(None, inputs)
        output = await infer(triton, spec, inputs)
        assert output.dtype == spec.output.dtype
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("name", NAMES)
async def test_output_of_batch_equals_outputs_of_single_rows(triton, name):
    spec = load_spec(REPOSITORY / name)
    rows = len(Domain)
    inputs = inputs_of(spec, rows)
    together = await infer(triton, spec, inputs)
    alone = [
        await infer(triton, spec, {key: value[row : row + 1] for key, value in inputs.items()})
        for row in range(rows)
    ]
    np.testing.assert_allclose(
        together.astype(np.float32), np.concatenate(alone), atol=tolerance(spec), rtol=0
    )


def tolerance(spec: ModelSpec) -> float:
    """Returns one level of 255, or 1e-4: kernels add up in another order by batch size."""
    return 1 if spec.output.dtype == "uint8" else 1e-4


@pytest.mark.skipif("md_trisenet" not in NAMES, reason="no published model takes a domain")
@pytest.mark.parametrize("unknown", [-1, len(Domain), 2**40])
async def test_unknown_domain_equals_no_face(triton, unknown):
    spec = load_spec(REPOSITORY / "md_trisenet")
    inputs = inputs_of(spec, 1)
    outputs = [
        await infer(triton, spec, inputs | {"domain": np.array([domain])})
        for domain in (unknown, Domain.NO_FACE)
    ]
    np.testing.assert_array_equal(*outputs)


async def infer_with_retries(
    client: InferenceServerClient, spec: ModelSpec, inputs: dict[str, np.ndarray]
) -> np.ndarray:
    """Repeats a request after a queue timeout, which is no failure on a busy machine."""
    while True:
        try:
            return await infer(client, spec, inputs)
        except InferenceServerException as error:
            if error.message() != "Request timeout expired":
                raise


async def test_concurrent_requests_share_batches(triton, record_property):
    spec = load_spec(REPOSITORY / "connectnet")
    session = in_process(spec)
    inputs = [inputs_of(spec, 1, seed) for seed in range(CALLERS)]
    expected = [session.run(None, arrays)[0] for arrays in inputs]

    async def call_repeatedly(caller: int) -> None:
        for _ in range(CALLS_PER_CALLER):
            output = await infer_with_retries(triton, spec, inputs[caller])
            np.testing.assert_allclose(
                output.astype(int), expected[caller], atol=tolerance(spec), rtol=0
            )

    rows_before, batches_before = await inference_counts(triton, spec)
    await asyncio.gather(*(call_repeatedly(caller) for caller in range(CALLERS)))

    async def all_are_counted() -> bool:
        rows, _ = await inference_counts(triton, spec)
        return rows - rows_before == CALLERS * CALLS_PER_CALLER

    # Triton counts a request after it has sent the response.
    await poll_until(all_are_counted)
    rows, batches = await inference_counts(triton, spec)
    mean = (rows - rows_before) / (batches - batches_before)
    print(f"mean batch of {mean:.1f} at concurrency {CALLERS}")
    record_property("mean_batch", mean)
    assert mean > 1
