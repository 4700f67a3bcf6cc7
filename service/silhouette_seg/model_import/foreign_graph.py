"""Reads ONNX files of other people, and rejects with a sentence those that cannot be served."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from silhouette_seg.model_import.errors import ModelRejected
from silhouette_seg.model_import.processing import TensorLayout
from silhouette_seg.vision.geometry import Size

MAX_FILE_BYTES = 2**31 - 1
"""Largest ONNX file, in bytes: a message of protobuf cannot be larger."""
RUNTIME_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "ai.onnx.ml")
"""Domains of operators, beside the standard, that every ONNX Runtime has."""
STANDARD_DOMAINS = ("", "ai.onnx")
FLOAT_TYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
}
"""Element types of ONNX that a network may have at its edges."""
MIN_OPSET = 9
"""Oldest opset with the operators of the steps around the network."""
IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class ForeignTensor:
    """Name, element type of ONNX and sides of a tensor; a side that the graph leaves open is -1."""

    name: str
    element_type: int
    sides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """A graph that passed every check: one image in, at least one tensor out."""

    model: onnx.ModelProto
    input: ForeignTensor
    outputs: tuple[ForeignTensor, ...]

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return opset_of(self.model)

    @property
    def has_open_batch(self) -> bool:
        """True if the graph declares a batch of any length."""
        return self.input.sides[0] == -1

    @property
    def layout(self) -> TensorLayout | None:
        """Layout that the shape of the input shows, by its side of 3; None if it is not clear."""
        _, second, _, fourth = self.input.sides
        if (second == 3) == (fourth == 3):
            return None
        return TensorLayout.NCHW if second == 3 else TensorLayout.NHWC

    def size_hw(self, layout: TensorLayout) -> Size:
        """Returns (height, width) of the input; a side that the graph leaves open is -1."""
        sides = self.input.sides[2:] if layout is TensorLayout.NCHW else self.input.sides[1:3]
        return sides[0], sides[1]


def open_foreign(file: Path) -> ForeignGraph:
    """Reads an ONNX file and checks it; raises ModelRejected."""
    model = read_model(file)
    check_model(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_tensor(value) for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs) or "none"
        raise ModelRejected(f"the graph has {len(inputs)} inputs ({names}); it must have one")
    image = inputs[0]
    if len(image.sides) != IMAGE_RANK or image.element_type not in FLOAT_TYPES:
        raise ModelRejected(f"{_describe(image)}; it must be a float tensor of four axes")
    if image.sides[0] not in (-1, 1):
        raise ModelRejected(f"{_describe(image)}; its batch must be open or 1")
    return ForeignGraph(model, image, _outputs(model))


def read_model(file: Path) -> onnx.ModelProto:
    """Parses an ONNX file; raises ModelRejected."""
    if not file.is_file():
        raise ModelRejected(f"there is no file {file}")
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ModelRejected(f"{file.name} has {size / 1e9:.1f} GB; an ONNX file has at most 2 GB")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelRejected(f"{file.name} cannot be read: {error.strerror}") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # protobuf's own error, which has no types
        raise ModelRejected(f"{file.name} is not an ONNX file") from None
    if not model.graph.node:
        raise ModelRejected(f"{file.name} is not an ONNX file, or its graph is empty")
    return model


def check_model(model: onnx.ModelProto) -> None:
    """Checks the version, weights and operators of a graph, without running it.

    Raises ModelRejected.
    """
    _check_versions(model)
    for graph in all_graphs(model.graph.node, model.graph):
        for tensor in graph.initializer:
            _check_weights(tensor)
    _check_operators(model)


def opset_of(model: onnx.ModelProto) -> int:
    """Returns the version of the standard operators that a graph uses."""
    versions = [each.version for each in model.opset_import if each.domain in STANDARD_DOMAINS]
    if not versions:
        raise ModelRejected("the graph does not name an opset")
    return int(max(versions))


def all_graphs(
    nodes: Iterable[onnx.NodeProto], graph: onnx.GraphProto | None = None
) -> Iterator[onnx.GraphProto]:
    """Yields a graph, and the bodies of loops and branches among its nodes, at every depth."""
    if graph is not None:
        yield graph
    for node in nodes:
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from all_graphs(body.node, body)


def _check_versions(model: onnx.ModelProto) -> None:
    opset = opset_of(model)
    if opset < MIN_OPSET:
        raise ModelRejected(f"the graph has opset {opset}; the oldest allowed is {MIN_OPSET}")
    if not _runs(opset, model.ir_version):
        raise ModelRejected(
            f"the graph has opset {opset} and IR version {model.ir_version}, which are too new for"
            f" ONNX Runtime {onnxruntime.__version__}; export it with an older opset"
        )


def _runs(opset: int, ir_version: int) -> bool:
    """Returns whether ONNX Runtime loads a graph of these versions."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:]
    )
    opsets = [helper.make_opsetid("", opset)]
    probe = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    try:
        onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's errors share no other base
        return False
    return True


def _check_weights(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL:
        location = next((e.value for e in tensor.external_data if e.key == "location"), "a file")
        raise ModelRejected(
            f"the weights are in another file, {location}; write both as one file with"
            " onnx.save(onnx.load(FILE), ONE_FILE)"
        )
    if tensor.data_type in FLOAT_TYPES:
        try:
            finite = np.isfinite(numpy_helper.to_array(tensor)).all()
        except ValueError:
            raise ModelRejected(f"the weights {tensor.name} are cut off") from None
        if not finite:
            raise ModelRejected(f"the weights {tensor.name} contain NaN or infinity")


def _check_operators(model: onnx.ModelProto) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [node for graph in all_graphs(model.graph.node, model.graph) for node in graph.node]
    for function in model.functions:
        nodes += [*function.node, *(n for g in all_graphs(function.node) for n in g.node)]
    custom = sorted(
        {
            f"{node.domain or 'ai.onnx'}.{node.op_type}"
            for node in nodes
            if (node.domain, node.op_type) not in own and not _is_known(node)
        }
    )
    if custom:
        raise ModelRejected(
            f"the graph has operators that ONNX Runtime does not have: {', '.join(custom)}"
        )


def _is_known(node: onnx.NodeProto) -> bool:
    if node.domain in STANDARD_DOMAINS:
        return bool(onnx.defs.has(node.op_type))
    return node.domain in RUNTIME_DOMAINS


def _outputs(model: onnx.ModelProto) -> tuple[ForeignTensor, ...]:
    """Returns the outputs of a graph; shapes that it does not declare are inferred."""
    values = model.graph.output
    if not all(value.type.tensor_type.HasField("shape") for value in values):
        values = onnx.shape_inference.infer_shapes(model).graph.output
    return tuple(_tensor(value) for value in values)


def _tensor(value: onnx.ValueInfoProto) -> ForeignTensor:
    shape = value.type.tensor_type.shape
    sides = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape.dim)
    return ForeignTensor(value.name, value.type.tensor_type.elem_type, sides)


def _describe(tensor: ForeignTensor) -> str:
    kind = TensorProto.DataType.Name(tensor.element_type).lower()
    return f"the input {tensor.name} is {kind} {list(tensor.sides)}"
