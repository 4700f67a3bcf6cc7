"""Compares the cost of an imported model with that of its original: processor time on one thread.

    python -m training.evaluation.import_cost isnet.onnx my_models/isnet --rounds 5

Both run in turn, so that other load on the machine affects both. The original gets its input ready
made, and computes the output that holds the mask alone.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import process_time
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
import typer
from numpy.typing import NDArray

from silhouette_seg.spec import load_spec


def main(
    original: Annotated[Path, typer.Argument(help="ONNX file with float images as its input.")],
    imported: Annotated[Path, typer.Argument(help="Folder of the model that it became.")],
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, after one that warms up.")] = 5,
) -> None:
    """Prints the milliseconds of both, and the median of their ratios."""
    spec = load_spec(imported)
    network, model = _open(original), _open(spec.model_file(imported.parent))
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (1, *spec.size_hw, 3), np.uint8)
    pixels = (image / np.float32(255)).astype(np.float32)
    source = network.get_inputs()[0]
    value = pixels if source.shape[-1] == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    mask = network.get_outputs()[0].name
    pairs = [
        (
            _seconds(network, mask, {source.name: value}),
            _seconds(model, spec.output.name, {"image": image}),
        )
        for _ in range(rounds + 1)
    ][1:]
    alone, together = (1000 * median(column) for column in zip(*pairs, strict=True))
    ratio = median(one / other for other, one in pairs)
    typer.echo(f"original {alone:.2f} ms, imported {together:.2f} ms, ratio {ratio:.3f}")


def _open(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _seconds(
    session: ort.InferenceSession, output: str, inputs: Mapping[str, NDArray[Any]]
) -> float:
    """Returns the processor time of one run, in seconds."""
    begin = process_time()
    session.run([output], dict(inputs))
    return process_time() - begin


if __name__ == "__main__":
    typer.run(main)
