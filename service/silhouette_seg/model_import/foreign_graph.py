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
from silhouette_seg.model_import.graph_session import GraphSession
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
COLOURS = 3
"""Channels of an input: red, green and blue."""
COLOUR_AXES = {TensorLayout.NCHW: 1, TensorLayout.NHWC: 3}
MAX_SIDE = 4096
"""Longest side of an input, in pixels."""


@dataclass(frozen=True, slots=True)
class ForeignTensor:
    """Name, element type of ONNX and sides of a tensor; a side that the graph leaves open is -1."""

    name: str
    element_type: int
    sides: tuple[int, ...]

    def __str__(self) -> str:
        kind = TensorProto.DataType.Name(self.element_type).lower()
        return f"{self.name} is {kind} {list(self.sides)}"

    @property
    def can_be_mask(self) -> bool:
        """True for a float tensor of three or four axes."""
        return self.element_type in FLOAT_TYPES and len(self.sides) in (3, 4)

    def takes_colours(self, layout: TensorLayout) -> bool:
        """Returns whether the axis of the colours in a layout has three channels, or is open."""
        return self.sides[COLOUR_AXES[layout]] in (-1, COLOURS)


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """A graph that passed every check: one image in, at least one tensor out that can be a mask."""

    model: onnx.ModelProto
    session: GraphSession
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
        if (second == COLOURS) == (fourth == COLOURS):
            return None
        return TensorLayout.NCHW if second == COLOURS else TensorLayout.NHWC

    def size_hw(self, layout: TensorLayout) -> Size:
        """Returns (height, width) of the input; a side that the graph leaves open is -1."""
        sides = self.input.sides[2:] if layout is TensorLayout.NCHW else self.input.sides[1:3]
        return sides[0], sides[1]

    def select_output(self, name: str | None) -> ForeignTensor:
        """Returns the output with the mask; None names the first that can be one.

        Raises ModelRejected for a name without an output, or with one that cannot be a mask.
        """
        outputs = {tensor.name: tensor for tensor in self.outputs}
        if name is None:
            return next(tensor for tensor in self.outputs if tensor.can_be_mask)
        if name not in outputs:
            raise ModelRejected(f"the graph has no output {name}; it has {', '.join(outputs)}")
        if not outputs[name].can_be_mask:
            raise ModelRejected(f"the output {outputs[name]}; {MASK_RULE}")
        return outputs[name]


MASK_RULE = "it must be a float tensor of three or four axes"


def open_foreign(file: Path) -> ForeignGraph:
    """Reads an ONNX file, checks it and loads it into ONNX Runtime; raises ModelRejected."""
    model = read_model(file)
    check_model(model)
    image, outputs = _check_input(model), _check_outputs(model)
    return ForeignGraph(model, GraphSession(model.SerializeToString()), image, outputs)


def _check_input(model: onnx.ModelProto) -> ForeignTensor:
    """Returns the only input; raises ModelRejected unless it is one image."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_tensor(value) for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs) or "none"
        raise ModelRejected(f"the graph has {len(inputs)} inputs ({names}); it must have one")
    image = inputs[0]
    if len(image.sides) != IMAGE_RANK or image.element_type not in FLOAT_TYPES:
        raise ModelRejected(f"the input {image}; it must be a float tensor of four axes")
    if image.sides[0] not in (-1, 1):
        raise ModelRejected(f"the input {image}; its batch must be open or 1")
    if not any(image.takes_colours(layout) for layout in TensorLayout):
        raise ModelRejected(f"the input {image}; its second or last axis must be {COLOURS} colours")
    if 0 in image.sides or max(image.sides) > MAX_SIDE:
        raise ModelRejected(f"the input {image}; a side must be 1 to {MAX_SIDE} pixels, or open")
    return image


def _check_outputs(model: onnx.ModelProto) -> tuple[ForeignTensor, ...]:
    """Returns the outputs; raises ModelRejected if none of them can be a mask."""
    outputs = _outputs(model)
    if not outputs:
        raise ModelRejected("the graph has no output")
    if not any(tensor.can_be_mask for tensor in outputs):
        raise ModelRejected(f"the output {outputs[0]}; {MASK_RULE}")
    return outputs


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
