"""Composes the steps before and after a network into its graph: uint8 pixels in, uint8 mask out."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from silhouette_seg.model_import.foreign_graph import ForeignGraph, ForeignTensor, all_graphs
from silhouette_seg.model_import.processing import (
    Activation,
    ColourOrder,
    Processing,
    Scale,
    TensorLayout,
)

PREFIX = "network/"
"""Prefix of all names of the foreign graph, so that they differ from those of our steps."""
MIN_IR_VERSION = 4
"""Oldest version of the format in which weights need not be inputs of the graph."""
SMALLEST_RANGE = 1e-6
"""Least divisor of `Scale.MAXIMUM` and `Activation.MINMAX`: a black photo has the maximum 0."""
REDUCTION_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "ReduceMin": 18}
"""Opset from which the axes of a reduction are an input instead of an attribute."""
CLIP_BOUNDS_ARE_INPUTS = 11
"""Opset from which the bounds of Clip are inputs instead of attributes."""


def compose_graph(
    foreign: ForeignGraph, output: ForeignTensor, processing: Processing
) -> onnx.ModelProto:
    """Returns a graph from `image`, uint8 [N,H,W,3] RGB, to `alpha`, uint8 [N,H,W].

    `output` is the tensor of the foreign graph that holds the mask. Parts of that graph that do not
    lead to it are left out.
    """
    model = compose.add_prefix(foreign.model, PREFIX)
    steps = _Steps(foreign.opset)
    _preprocess(steps, foreign, processing)
    first = len(steps.nodes)
    _postprocess(steps, output, processing)
    graph = model.graph
    nodes = [*steps.nodes[:first], *graph.node, *steps.nodes[first:]]
    weights = [*graph.initializer, *steps.constants]
    kept = _reachable(nodes, "alpha")
    used = {name for node in kept for name in _inputs(node)}
    size = processing.size_hw
    del graph.node[:], graph.initializer[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensor for tensor in weights if tensor.name in used)
    graph.input.append(_value("image", ["batch", *size, 3]))
    graph.output.append(_value("alpha", ["batch", *size]))
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)
    return model


def compose_preprocessing(foreign: ForeignGraph, processing: Processing) -> onnx.ModelProto:
    """Returns the graph of the steps before the network alone: `image` to the network's input."""
    steps = _Steps(foreign.opset)
    _preprocess(steps, foreign, processing)
    image = _value("image", ["batch", *processing.size_hw, 3])
    result = helper.make_empty_tensor_value_info(PREFIX + foreign.input.name)
    graph = helper.make_graph(steps.nodes, "preprocessing", [image], [result], steps.constants)
    opsets = [helper.make_opsetid("", foreign.opset)]
    ir_version = max(foreign.model.ir_version, MIN_IR_VERSION)
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


class _Steps:
    """Nodes and constants of the steps around the network. Each method returns a tensor's name."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(
        self, operator: str, *inputs: str, output: str = "", **attributes: float | list[int]
    ) -> str:
        """Adds a node. Its output has that name, or a new one."""
        output = output or f"step/{len(self.nodes)}"
        node = helper.make_node(operator, inputs, [output])
        node.attribute.extend(helper.make_attribute(*each) for each in attributes.items())
        self.nodes.append(node)
        return output

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"constant/{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def reduce(self, operator: str, tensor: str, axes: list[int]) -> str:
        """Adds a reduction over `axes`, which keep the side 1."""
        if self._opset < REDUCTION_AXES_ARE_INPUTS[operator]:
            return self.add(operator, tensor, axes=axes)
        return self.add(operator, tensor, self.constant(np.array(axes)))

    def clip(self, tensor: str, smallest: float, largest: float) -> str:
        if self._opset < CLIP_BOUNDS_ARE_INPUTS:
            return self.add("Clip", tensor, min=float(smallest), max=float(largest))
        return self.add("Clip", tensor, self.number(smallest), self.number(largest))

    def cast(self, tensor: str, kind: int, output: str = "") -> str:
        return self.add("Cast", tensor, output=output, to=kind)


def _preprocess(steps: _Steps, foreign: ForeignGraph, processing: Processing) -> None:
    """Adds the nodes from `image` to the input of the network.

    Axes move while a pixel is a byte, and the arithmetic is one product and one sum.
    """
    mean, std = np.array(processing.mean, np.float32), np.array(processing.std, np.float32)
    pixels = "image"
    if processing.order is ColourOrder.BGR:
        pixels = steps.add("Gather", pixels, steps.constant(np.array([2, 1, 0])), axis=3)
        mean, std = mean[::-1], std[::-1]
    per_channel = (1, 1, 1, 3)
    if processing.layout is TensorLayout.NCHW:
        pixels = steps.add("Transpose", pixels, perm=[0, 3, 1, 2])
        per_channel = (1, 3, 1, 1)
    values = steps.cast(pixels, TensorProto.FLOAT)
    factor = (1 / std).reshape(per_channel)
    if processing.scale is Scale.MAXIMUM:
        largest = steps.reduce("ReduceMax", values, [1, 2, 3])
        values = steps.add("Div", values, steps.add("Max", largest, steps.number(SMALLEST_RANGE)))
    else:
        factor = factor / np.float32(255)
    values = steps.add("Mul", values, steps.constant(factor))
    offset = (-mean / std).reshape(per_channel)
    if offset.any():
        values = steps.add("Add", values, steps.constant(offset))
    # Casts to the type that a tensor has already are free: ONNX Runtime leaves them out.
    steps.cast(values, foreign.input.element_type, PREFIX + foreign.input.name)


def _postprocess(steps: _Steps, output: ForeignTensor, processing: Processing) -> None:
    """Adds the nodes from the output of the network to `alpha`."""
    values = PREFIX + output.name
    if output.element_type != TensorProto.FLOAT:
        values = steps.cast(values, TensorProto.FLOAT)
    channels = 1 if processing.layout is TensorLayout.NCHW else len(output.sides) - 1
    if processing.activation is Activation.SOFTMAX:
        # The operator Softmax means another axis before opset 13.
        largest = steps.reduce("ReduceMax", values, [channels])
        values = steps.add("Exp", steps.add("Sub", values, largest))
        values = steps.add("Div", values, steps.reduce("ReduceSum", values, [channels]))
    if len(output.sides) == 4:
        channel = steps.constant(np.array(processing.channel))
        values = steps.add("Gather", values, channel, axis=channels)
    if processing.activation is Activation.SIGMOID:
        values = steps.add("Sigmoid", values)
    elif processing.activation is Activation.MINMAX:
        values = _stretch(steps, values)
    # A cast cuts the fraction off, so that adding one half rounds.
    levels = steps.add("Mul", values, steps.number(255))
    levels = steps.add("Add", levels, steps.number(0.5))
    if processing.activation is Activation.NONE:
        levels = steps.clip(levels, 0, 255)
    steps.cast(levels, TensorProto.UINT8, "alpha")


def _stretch(steps: _Steps, values: str) -> str:
    """Adds the nodes of `Activation.MINMAX`."""
    smallest = steps.reduce("ReduceMin", values, [1, 2])
    largest = steps.reduce("ReduceMax", values, [1, 2])
    extent = steps.add("Sub", largest, smallest)
    extent = steps.add("Max", extent, steps.number(SMALLEST_RANGE))
    return steps.add("Div", steps.add("Sub", values, smallest), extent)


def _reachable(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Returns the nodes that `output` depends on, in their order."""
    producers = {name: node for node in nodes for name in node.output}
    waiting, needed = [output], set()
    while waiting:
        name = waiting.pop()
        node = producers.get(name)
        if node is not None and id(node) not in needed:
            needed.add(id(node))
            waiting.extend(_inputs(node))
    return [node for node in nodes if id(node) in needed]


def _inputs(node: onnx.NodeProto) -> set[str]:
    """Returns the names that a node reads, those in the bodies of loops and branches included."""
    bodies = list(all_graphs([node]))
    return {*node.input, *(name for body in bodies for n in body.node for name in n.input)} | {
        value.name for body in bodies for value in body.output
    }


def _value(name: str, sides: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, sides)
