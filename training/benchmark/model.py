"""Measures the cost of one image for each model of a repository, on one thread and on all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.base import Engine, Tensors
from silhouette_seg.pipeline.model_folders import find_models, read_spec
from silhouette_seg.runtime.cpu_quota import available_cpus
from silhouette_seg.spec import ModelSpec, TensorSpec
from silhouette_seg.vision.geometry import fit
from training.benchmark.measure import Figures
from training.benchmark.photos import SIZES, photo

WARM_UP = 3


def measure_models(repository: Path, *, images: int, rounds: int) -> Iterator[Figures]:
    """Yields the best of the rounds: other load on the machine only makes a round slower."""
    for name in find_models(repository):
        spec = read_spec(repository, name)
        for workers in sorted({1, available_cpus()}):
            runs = [
                asyncio.run(_run(spec, repository, workers=workers, images=images))
                for _ in range(rounds)
            ]
            best = min(runs, key=lambda run: float(run["ms"]))
            yield {"model": name, "input": f"{spec.size_hw[1]}x{spec.size_hw[0]}"} | best


async def _run(spec: ModelSpec, repository: Path, *, workers: int, images: int) -> Figures:
    engine = open_engine("onnx", spec, repository, workers=workers)
    inputs = sample_inputs(spec)
    try:
        await _infer(engine, inputs, images=WARM_UP, concurrency=workers)
        cpu, wall = process_time(), perf_counter()
        await _infer(engine, inputs, images=images, concurrency=workers)
        wall_s, cpu_s = perf_counter() - wall, process_time() - cpu
    finally:
        await engine.close()
    return {
        "provider": engine.provider,
        "workers": workers,
        "ms": 1000 * wall_s / images,
        "cpu_ms": 1000 * cpu_s / images,
        "images": images,
    }


async def _infer(engine: Engine, inputs: Tensors, *, images: int, concurrency: int) -> None:
    """Runs `images` inferences of one image, `concurrency` of them at a time."""
    remaining = iter(range(images))

    async def caller() -> None:
        for _ in remaining:
            await engine.infer(inputs)

    await asyncio.gather(*(caller() for _ in range(concurrency)))


def sample_inputs(spec: ModelSpec) -> dict[str, NDArray[np.generic]]:
    """Returns one row of each input: the photo for `image`, zeros for other inputs."""
    return {tensor.name: _input(spec, tensor) for tensor in spec.inputs}


def _input(spec: ModelSpec, tensor: TensorSpec) -> NDArray[np.generic]:
    if tensor.name == "image":
        return fit(photo(SIZES["640x480"]), spec.size_hw, spec.resize)[0][None]
    return np.zeros([1 if side == -1 else side for side in tensor.shape], tensor.dtype)
