"""Measures the cost of an image for each model in ONNX Runtime, by threads, batch and provider."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import ModelSpec
from training.benchmark.model import sample_inputs

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
THREAD_COUNTS = (1, 2)
BATCH_SIZES = (1, 4, 8)


@dataclass(frozen=True, slots=True)
class TimingSetup:
    """One configuration to time; `threads` are those inside an operator, on the CPU."""

    model: str
    provider: str
    threads: int
    batch: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over rounds, for one image of the batch, in milliseconds."""

    setup: TimingSetup
    ms: float
    cpu_ms: float
    """Processor time of all threads of this process."""


def time_models(
    specs: Sequence[ModelSpec], repository: Path, *, rounds: int, images: int
) -> list[Timing]:
    """Times every setup once per round, so that a busy minute affects all of them."""
    runs = {
        setup: _TimedSession(spec, setup, sessions)
        for spec in specs
        for sessions in [_sessions(spec, repository)]
        for setup in setups(spec)
    }
    measured: dict[TimingSetup, list[tuple[float, float]]] = {setup: [] for setup in runs}
    for _ in track(range(rounds), "timing", console=Console(stderr=True), transient=True):
        for setup, run in runs.items():
            measured[setup].append(run.milliseconds(images))
    return [
        Timing(setup, median(wall for wall, _ in pairs), median(cpu for _, cpu in pairs))
        for setup, pairs in measured.items()
    ]


def single_image_ms(timings: Sequence[Timing]) -> dict[str, float]:
    """Returns the processor time of an image by model: on the CPU, one thread, a batch of one."""
    setup = CPU, 1, 1
    return {
        timing.setup.model: timing.cpu_ms
        for timing in timings
        if (timing.setup.provider, timing.setup.threads, timing.setup.batch) == setup
    }


def providers() -> tuple[str, ...]:
    """Returns the measured providers: the CPU, and CUDA if this ONNX Runtime has it."""
    return (CPU, CUDA) if CUDA in ort.get_available_providers() else (CPU,)


def setups(spec: ModelSpec) -> Iterator[TimingSetup]:
    """Yields the setups of a model: all providers, threads and batch sizes that it allows."""
    for provider in providers():
        for threads in THREAD_COUNTS if provider == CPU else (1,):
            for batch in BATCH_SIZES:
                if batch <= spec.max_batch:
                    yield TimingSetup(spec.name, provider, threads, batch)


def repeated_inputs(spec: ModelSpec, count: int) -> dict[str, NDArray[Any]]:
    """Returns the benchmark photo `count` times, with all domains in turn for a domain input."""
    rows = {name: np.repeat(row, count, axis=0) for name, row in sample_inputs(spec).items()}
    if "domain" in rows:
        rows["domain"] = np.arange(count, dtype=np.int64) % len(Domain)
    return rows


Sessions = dict[tuple[str, int], ort.InferenceSession]


def _sessions(spec: ModelSpec, repository: Path) -> Sessions:
    """Opens the sessions by provider and threads."""
    configurations = {(setup.provider, setup.threads) for setup in setups(spec)}
    return {
        (provider, threads): _open(spec.model_file(repository), provider, threads)
        for provider, threads in sorted(configurations)
    }


def _open(file: Path, provider: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(file), options, providers=[provider])
    active_provider = session.get_providers()[0]
    if active_provider != provider:
        name = file.parent.parent.name
        raise RuntimeError(f"ONNX Runtime runs {name} on {active_provider}, not {provider}")
    return session


class _TimedSession:
    def __init__(self, spec: ModelSpec, setup: TimingSetup, sessions: Sessions) -> None:
        self._session = sessions[setup.provider, setup.threads]
        self._inputs = repeated_inputs(spec, setup.batch)
        self._batch = setup.batch

    def milliseconds(self, images: int) -> tuple[float, float]:
        """Returns wall clock and processor time of an image, in ms, over about `images` of them."""
        calls = max(1, images // self._batch)
        # Before this call, memory and caches are those of the previous setup.
        self._session.run(None, self._inputs)
        cpu, wall = process_time(), perf_counter()
        for _ in range(calls):
            self._session.run(None, self._inputs)
        wall_s, cpu_s = perf_counter() - wall, process_time() - cpu
        return 1000 * wall_s / (calls * self._batch), 1000 * cpu_s / (calls * self._batch)
