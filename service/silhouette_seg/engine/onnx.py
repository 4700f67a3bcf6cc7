"""ONNX Runtime in this process: one single-threaded session, called from several threads."""

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
from silhouette_seg.runtime.executor import started_executor
from silhouette_seg.spec import ModelSpec

PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
    "coreml": ["CoreMLExecutionProvider"],
    "directml": ["DmlExecutionProvider"],
    # ONNX Runtime 1.23 removed the provider that was named after ROCm.
    "rocm": ["MIGraphXExecutionProvider"],
}
"""Device -> ONNX Runtime execution providers.

The first is required; the others run operators that it lacks.
"""
DISTRIBUTIONS = {
    "cpu": "onnxruntime",
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "coreml": "onnxruntime for macOS",
    "directml": "onnxruntime-directml for Windows",
    "rocm": "onnxruntime-migraphx for Linux",
}
"""Device -> distribution of ONNX Runtime that has its execution provider."""

_SAME_AS_REQUESTED = 1
"""Value of ONNX Runtime's `arena_extend_strategy`: allocate no more than the requested size.

The default allocates the next power of two.
"""
_DEFAULT_SIZE = -1
"""Size in `OrtArenaCfg` that selects ONNX Runtime's own default."""
_UNLIMITED = 0
"""Memory limit in `OrtArenaCfg` for a memory arena without a bound."""
_ORT_TYPES = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}
"""Name in ONNX Runtime of each numpy dtype."""
_FATAL_ONLY = 4
"""Log severity of ONNX Runtime in a run; other errors reach the caller as exceptions."""


def open_engine(
    spec: ModelSpec, repository: Path, *, device: str, workers: int | None
) -> "OnnxEngine":
    return OnnxEngine(spec, spec.model_file(repository), device=device, workers=workers)


class OnnxEngine:
    """Runs a model in one ONNX Runtime session, with up to `workers` batches at once.

    Without `workers` each batch runs in the thread of its caller, and `infer` never suspends. The
    threads start with the first batch. A
    session per thread measured no faster with one thread each, and it would hold the weights once
    more per thread.
    """

    def __init__(
        self, spec: ModelSpec, model_file: Path, *, device: str, workers: int | None
    ) -> None:
        """Loads the weights in `model_file` on a device, a key of `PROVIDERS`.

        Raises errors.EngineFailed when their digest or their tensors differ from the spec, or when
        they do not load. Raises it with `of_device` when the device does not work: there is no
        fallback to another device. Raises ValueError for an unknown device.
        """
        self._spec = spec
        self._session = _open_session(_read_weights(spec, model_file), device)
        _check_signature(spec, self._session)
        self._threads = None if workers is None else max_runs(device, workers)
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0])

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Runs one batch and returns the model's output tensor.

        Raises ValueError for inputs that differ from the spec. Raises errors.EngineFailed if the
        run fails or the engine is closed. Cancelling stops the run after its current node.
        """
        rows = check_inputs(self._spec, inputs)
        if self._closed:
            raise EngineFailed("The inference engine is closed")
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL_ONLY
        if self._threads is None:
            return self._run_session(inputs, rows, options)
        if self._pool is None:
            # Not before: a server loads its models, and then forks its processes.
            self._pool = started_executor(self._threads, f"onnx-{self._spec.name}")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._run_session, inputs, rows, options)
        except asyncio.CancelledError:
            options.terminate = True
            raise

    async def close(self) -> None:
        """Waits for running batches and stops the threads. Later calls fail."""
        self._closed = True
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)

    def _run_session(
        self, inputs: Tensors, rows: int, options: onnxruntime.RunOptions
    ) -> NDArray[Any]:
        with _as_engine_failed("The inference engine failed"):
            (output,) = self._session.run([self._spec.output.name], dict(inputs), options)
            check_output(self._spec, output, rows)
        return np.asarray(output)


def _read_weights(spec: ModelSpec, model_file: Path) -> bytes:
    with _as_engine_failed(f"The weights of {spec.name} cannot be read"):
        weights = model_file.read_bytes()
    if sha256(weights).hexdigest() != spec.sha256:
        raise EngineFailed(f"The weights of {spec.name} do not match the digest in its spec")
    return weights


def _open_session(weights: bytes, device: str) -> onnxruntime.InferenceSession:
    if device not in PROVIDERS:
        raise ValueError(f"unknown device {device!r}; available: {', '.join(PROVIDERS)}")
    requested = PROVIDERS[device]
    missing = set(requested) - set(onnxruntime.get_available_providers())
    if missing:
        raise _device_error(
            f"This ONNX Runtime was built without {', '.join(sorted(missing))}."
            f" The device {device} needs the distribution {DISTRIBUTIONS[device]}"
        )
    options = session_options(device)
    if device == "cpu":
        _share_arena()
    elif "CUDAExecutionProvider" in requested:
        # The extra gpu installs CUDA and cuDNN as packages, where the loader does not look.
        onnxruntime.preload_dlls()
    with _as_engine_failed(f"ONNX Runtime cannot load the model on {device}"):
        session = onnxruntime.InferenceSession(weights, options, providers=requested)
    session.disable_fallback()
    actual = session.get_providers()[0]
    if actual != requested[0]:
        raise _device_error(
            f"ONNX Runtime runs the model on {actual} instead of {requested[0]}."
            " Its own output, above, names the missing driver or library."
        )
    return session


def _device_error(detail: str) -> EngineFailed:
    """Returns the error of a device that can run no model."""
    error = EngineFailed(detail)
    error.of_device = True
    return error


def _check_signature(spec: ModelSpec, session: onnxruntime.InferenceSession) -> None:
    """Raises errors.EngineFailed unless the graph has the tensors of the spec.

    A side that the graph leaves open fits any.
    """
    tensors = {tensor.name: tensor for tensor in (*spec.inputs, spec.output)}
    found = [*session.get_inputs(), *session.get_outputs()]
    if missing := tensors.keys() - {value.name for value in found}:
        raise EngineFailed(f"The graph of {spec.name} has no tensor {', '.join(sorted(missing))}")
    for value in found:
        expected = tensors.get(value.name)
        sides = [side if isinstance(side, int) else -1 for side in value.shape]
        if expected is None:
            raise EngineFailed(
                f"The graph of {spec.name} has a tensor {value.name} beside its spec"
            )
        fits = len(sides) == len(expected.shape) and all(
            -1 in (side, wanted) or side == wanted
            for side, wanted in zip(sides, expected.shape, strict=True)
        )
        if value.type != _ORT_TYPES[expected.dtype] or not fits:
            raise EngineFailed(
                f"The graph of {spec.name} has {value.name} {value.type} {sides},"
                f" its spec says {expected.dtype} {list(expected.shape)}"
            )


def session_options(device: str) -> onnxruntime.SessionOptions:
    """Returns the options of a session on a device: one thread, and its demands on memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if device == "cpu":
        options.add_session_config_entry("session.use_env_allocators", "1")
    # DirectML does not support memory patterns, by the documentation of its provider.
    options.enable_mem_pattern = device != "directml"
    return options


def max_runs(device: str, workers: int) -> int:
    """Returns how many of `workers` threads may run a session on a device at once.

    A session of DirectML allows one run at a time, by the documentation of its provider.
    """
    return 1 if device == "directml" else workers


@cache
def _share_arena() -> None:
    """Registers one memory arena for the tensors of all models of the process.

    An arena per model never shrinks below the peak of its own concurrent runs. A server with four
    models would grow until each had reached its peak.
    """
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg(_UNLIMITED, _SAME_AS_REQUESTED, _DEFAULT_SIZE, _DEFAULT_SIZE)
    onnxruntime.create_and_register_allocator(info, arena)


@contextmanager
def _as_engine_failed(detail: str) -> Iterator[None]:
    """Context manager that turns every exception into errors.EngineFailed with the text `detail`.

    ONNX Runtime's errors share no base but Exception, and their text may reveal internals.
    """
    try:
        yield
    except Exception as error:
        raise EngineFailed(detail) from error
