"""Explains why the folder of a model cannot be served, or an ONNX file cannot be imported."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.base import Tensors, black_input, check_output
from silhouette_seg.engine.triton.config_pbtxt import CPU_INSTANCES, GPU_INSTANCES, model_config
from silhouette_seg.errors import EngineFailed
from silhouette_seg.model_import.errors import ModelRejected
from silhouette_seg.model_import.graph_session import GraphSession
from silhouette_seg.pipeline.model_folders import read_spec
from silhouette_seg.pipeline.warm_up import drawn_portrait
from silhouette_seg.runtime.extras import is_installed
from silhouette_seg.spec import ModelSpec

CONFIGS = {"config.pbtxt": GPU_INSTANCES, "configs/cpu.pbtxt": CPU_INSTANCES}
"""Triton's configurations in the folder of a model, each with its instances."""


def can_examine() -> bool:
    """Returns True if the package onnx is installed, which the examination of graphs needs."""
    return is_installed("onnx")


def check_folder(folder: Path) -> list[str]:
    """Returns a sentence for each fault of a model's folder; none if the model can be served.

    The model runs on a drawn portrait. Without the package onnx its graph is loaded and run, but
    its weights and operators are not examined.
    """
    try:
        spec = read_spec(folder.parent, folder.name)
        _check_weights(spec, folder.parent)
        _run(spec, folder.parent)
    except (ValueError, EngineFailed) as error:
        return [getattr(error, "detail", str(error))]
    return list(_config_faults(spec, folder))


def check_file(file: Path) -> list[str]:
    """Returns a sentence for the fault of an ONNX file; none if it can be imported.

    It needs the package onnx. A graph with a fixed size runs on a drawn portrait.
    """
    from silhouette_seg.model_import.foreign_graph import open_foreign
    from silhouette_seg.model_import.verification import check_run

    try:
        check_run(open_foreign(file))
    except ModelRejected as error:
        return [str(error)]
    return []


def _check_weights(spec: ModelSpec, repository: Path) -> None:
    """Raises ModelRejected for a file that is missing, changed, or no graph that can be run."""
    file = spec.model_file(repository)
    shown = file.relative_to(repository / spec.name)
    if not file.is_file():
        raise ModelRejected(f"{shown} is missing")
    if can_examine():
        from silhouette_seg.model_import.foreign_graph import check_model, read_model

        check_model(read_model(file))
    content = file.read_bytes()
    if sha256(content).hexdigest() != spec.sha256:
        raise ModelRejected(f"{shown} does not have the sha256 of the spec: it is another file")
    GraphSession(content)


def _run(spec: ModelSpec, repository: Path) -> None:
    """Raises ModelRejected unless the model gives valid masks, alone and in a batch."""
    open_engine("onnx", spec, repository)  # compares the tensors of graph and spec
    session = GraphSession(spec.model_file(repository).read_bytes())
    one = {**black_input(spec), "image": drawn_portrait(spec.size_hw)[None]}
    for rows in sorted({1, min(2, spec.max_batch)}):
        inputs = {name: np.repeat(value, rows, axis=0) for name, value in one.items()}
        output = session.run(spec.output.name, inputs)
        check_output(spec, output, rows)
    if can_examine():
        _check_finite(spec, repository, one)


def _check_finite(spec: ModelSpec, repository: Path, inputs: Tensors) -> None:
    """Raises ModelRejected for NaN in the last float tensors: a mask of bytes cannot show it."""
    from silhouette_seg.model_import.foreign_graph import read_model
    from silhouette_seg.model_import.last_tensors import expose_last_tensors

    model = read_model(spec.model_file(repository))
    names = expose_last_tensors(model, spec.output.name)
    session = GraphSession(model.SerializeToString())
    for name in names:
        value = session.run(name, inputs)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ModelRejected(f"the tensor {name} contains NaN or infinity in a drawn portrait")


def _config_faults(spec: ModelSpec, folder: Path) -> Iterator[str]:
    for name, instances in CONFIGS.items():
        file = folder / name
        if file.exists() and file.read_text() != model_config(spec, instances):
            yield f"{name} does not fit spec.json, which Triton would report"
