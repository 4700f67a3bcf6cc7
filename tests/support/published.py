"""Checks that the files in a folder of a model repository agree with one another."""

from hashlib import sha256
from pathlib import Path

import onnx
from onnx import TensorProto

from silhouette_seg.engine.triton.config_pbtxt import CPU_INSTANCES, GPU_INSTANCES, model_config
from silhouette_seg.spec import TensorSpec, load_spec
from tests.support.config_lint import config_errors

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"

DTYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def assert_published(folder: Path) -> None:
    """Checks spec.json against the graph, and the other files against spec.json."""
    spec = load_spec(folder)
    assert spec.name == folder.name
    weights = spec.model_file(folder.parent).read_bytes()
    assert spec.sha256 == sha256(weights).hexdigest()
    graph = onnx.load_from_string(weights).graph
    assert_tensors(spec.inputs, list(graph.input))
    assert_tensors((spec.output,), list(graph.output))
    assert spec.inputs[0].shape == (-1, *spec.size_hw, 3)
    if spec.output.name == "alpha":
        assert spec.output.shape == (-1, *spec.size_hw)
    gpu = (folder / "config.pbtxt").read_text()
    cpu = (folder / "configs" / "cpu.pbtxt").read_text()
    assert gpu == model_config(spec, GPU_INSTANCES)
    assert cpu == model_config(spec, CPU_INSTANCES)
    assert config_errors(folder, gpu) == []
    assert config_errors(folder, cpu) == []
    assert f"`{spec.sha256}`" in (folder / "CARD.md").read_text()


def assert_tensors(specs: tuple[TensorSpec, ...], found: list[onnx.ValueInfoProto]) -> None:
    """Compares names, types and shapes; -1 is an axis that the graph leaves open."""
    assert [tensor.name for tensor in specs] == [value.name for value in found]
    for tensor, value in zip(specs, found, strict=True):
        kind = value.type.tensor_type
        assert kind.elem_type == DTYPES[tensor.dtype]
        sides = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        assert tuple(sides) == tensor.shape
