"""ONNX Runtime in process: one session of one thread, run from several threads at once."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from silhouette_seg.engine.base import Tensors, check_inputs, check_output
from silhouette_seg.errors import EngineFailed
from silhouette_seg.spec import ModelSpec

PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
}
"""Device -> providers. The first is the one asked for; the next take what it cannot run."""

_EXTEND_AS_REQUESTED = 1
"""Of ONNX Runtime's `arena_extend_strategy`: not to the next power of two."""
_DEFAULT_SIZE = -1
"""Of the sizes in its `OrtArenaCfg`: what it takes itself."""


def open_engine(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> "OnnxEngine":
    return OnnxEngine(spec, spec.model_file(repository), device=device, workers=workers)


class OnnxEngine:
    """Runs up to `workers` batches at once.

    One session serves every thread: with one thread each, a session of its own for every thread
    measured no faster and would hold the weights once more for each.
    """

    def __init__(self, spec: ModelSpec, model_file: Path, *, device: str, workers: int) -> None:
        """Raises errors.EngineFailed when the weights are not those of the spec, or when the
        device cannot run them; another device never stands in.
        """
        self._spec = spec
        self._session = _open_session(_read_weights(spec, model_file), device)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"onnx-{spec.name}")
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0])

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        rows = check_inputs(self._spec, inputs)
        if self._closed:
            raise EngineFailed("The inference engine is closed")
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4  # what goes wrong reaches us as an exception
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._run, inputs, rows, options)
        except asyncio.CancelledError:
            options.terminate = True  # the run ends after the node it is at
            raise

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)

    def _run(self, inputs: Tensors, rows: int, options: onnxruntime.RunOptions) -> NDArray[Any]:
        with _as_engine_failed("The inference engine failed"):
            (output,) = self._session.run([self._spec.output.name], dict(inputs), options)
            check_output(self._spec, output, rows)
        return np.asarray(output)


def _read_weights(spec: ModelSpec, model_file: Path) -> bytes:
    with _as_engine_failed(f"The weights of {spec.name} cannot be read"):
        weights = model_file.read_bytes()
    if sha256(weights).hexdigest() != spec.sha256:
        raise EngineFailed(f"The weights of {spec.name} are not those of its spec")
    return weights


def _open_session(weights: bytes, device: str) -> onnxruntime.InferenceSession:
    if device not in PROVIDERS:
        raise ValueError(f"no device {device!r}; there are {', '.join(PROVIDERS)}")
    asked = PROVIDERS[device]
    missing = set(asked) - set(onnxruntime.get_available_providers())
    if missing:
        raise EngineFailed(f"This ONNX Runtime was built without {', '.join(sorted(missing))}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if device == "cpu":
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    with _as_engine_failed(f"ONNX Runtime cannot load the model on {device}"):
        session = onnxruntime.InferenceSession(weights, options, providers=asked)
    session.disable_fallback()
    got = session.get_providers()[0]
    if got != asked[0]:
        raise EngineFailed(f"ONNX Runtime runs the model on {got} instead of {asked[0]}")
    return session


@cache
def _share_arena() -> None:
    """One arena for the tensors of all models of the process.

    With one of its own each model keeps what the most of its runs at once ever took, and a server
    that uses four of them grows until each had that moment.
    """
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg(
        0, _EXTEND_AS_REQUESTED, _DEFAULT_SIZE, _DEFAULT_SIZE
    )  # 0 is without a bound
    onnxruntime.create_and_register_allocator(info, arena)


@contextmanager
def _as_engine_failed(detail: str) -> Iterator[None]:
    """ONNX Runtime's errors share no base but Exception; none of their text is for callers."""
    try:
        yield
    except Exception as error:
        raise EngineFailed(detail) from error
