"""Models in one process share one memory arena for their tensors."""

import json
import subprocess
import sys

from tests.support.tiny_model import tiny_spec, write_tiny_model

MODELS = 5
SIDE = 2000
"""Side of the input in pixels: one inference takes tens of MB."""
PROGRAM = """
import asyncio, gc, json, os, sys
from pathlib import Path
import numpy as np
from silhouette_seg.engine import open_engine
from silhouette_seg.spec import load_spec
from training.benchmark.server import rss_mb

async def main():
    repository = Path(sys.argv[1])
    specs = [load_spec(folder) for folder in sorted(repository.iterdir())]
    engines = [open_engine("onnx", spec, repository) for spec in specs]
    image = np.ones((1, *specs[0].size_hw, 3), np.uint8)
    marks = [rss_mb(os.getpid())]
    for engine in engines:
        await engine.infer({"image": image})
        gc.collect()
        marks.append(rss_mb(os.getpid()))
    print(json.dumps(marks))

asyncio.run(main())
"""


def test_further_models_reuse_the_memory_arena(tmp_path, record_measurement):
    for n in range(MODELS):
        write_tiny_model(tmp_path, tiny_spec(f"model_{n}", size_hw=(SIDE, SIDE)))
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    before, first, *_, last = json.loads(process.stdout)
    record_measurement(f"{before:.1f} -> {first:.1f} -> {last:.1f} MB")
    assert last - first < first - before
