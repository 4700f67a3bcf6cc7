"""Small ONNX graphs with the inputs and outputs of published networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Sides = Sequence[int | str]


@dataclass(frozen=True)
class Graph:
    """Description of a graph: the mean of its input's channels, scaled, is its output."""

    input: Sides = (1, 3, 32, 32)
    output: Sides = (1, 1, 32, 32)
    opset: int = 17
    ending: str = "Sigmoid"
    """Operator after the mean: Sigmoid, Identity, or Softmax over two channels."""
    gain: float = 1.0
    offset: float = 0.0
    kind: int = TensorProto.FLOAT
    names: tuple[str, str] = ("input", "output")
    extra_outputs: int = 0
    """Number of further outputs, as the networks with side outputs have them."""

    @property
    def channels(self) -> int:
        """Axis of the channels."""
        return 1 if self.input[1] == 3 else 3

    def build(self) -> onnx.ModelProto:
        weights = {"gain": self.gain, "offset": self.offset}
        dtype = np.float16 if self.kind == TensorProto.FLOAT16 else np.float32
        constants = [numpy_helper.from_array(dtype(value), name) for name, value in weights.items()]
        axes = [self.channels]
        nodes = []
        if self.opset < 18:
            nodes.append(helper.make_node("ReduceMean", [self.names[0]], ["mean"], axes=axes))
        else:
            constants.append(numpy_helper.from_array(np.array(axes), "axes"))
            nodes.append(helper.make_node("ReduceMean", [self.names[0], "axes"], ["mean"]))
        nodes += [
            helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["value"]),
        ]
        result = self.names[1]
        if self.ending == "Softmax":
            constants.append(numpy_helper.from_array(dtype(0), "zero"))
            nodes += [
                helper.make_node("Mul", ["value", "zero"], ["background"]),
                helper.make_node("Concat", ["background", "value"], ["both"], axis=self.channels),
                helper.make_node("Softmax", ["both"], [result], axis=self.channels),
            ]
        else:
            nodes.append(helper.make_node(self.ending, ["value"], [result]))
        extras = [f"side{number}" for number in range(self.extra_outputs)]
        nodes += [helper.make_node("Neg", ["mean"], [name]) for name in extras]
        outputs = [helper.make_tensor_value_info(result, self.kind, self.output)]
        outputs += [helper.make_tensor_value_info(name, self.kind, self.output) for name in extras]
        inputs = [helper.make_tensor_value_info(self.names[0], self.kind, self.input)]
        graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def write(self, folder: Path, name: str = "network.onnx") -> Path:
        """Writes the graph and returns its file."""
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(self.build(), folder / name)
        return folder / name


def _square(side: int, *, batch: int | str = 1) -> dict[str, Sides]:
    return {"input": (batch, 3, side, side), "output": (batch, 1, side, side)}


U2NET = Graph(**_square(320), opset=11, extra_outputs=6)
BIREFNET = Graph(**_square(1024), opset=17, ending="Identity", gain=4)
OPEN: dict[str, Sides] = {
    "input": ("batch", 3, "height", "width"),
    "output": ("batch", 1, "height", "width"),
}
PUBLISHED = {
    "isnet": Graph(**_square(1024), opset=15, extra_outputs=11, gain=4),
    "u2net": U2NET,
    "u2netp": U2NET,
    "u2net_human_seg": U2NET,
    "silueta": U2NET,
    "birefnet": BIREFNET,
    "birefnet_lite": BIREFNET,
    "rmbg": Graph(**_square(1024, batch="batch_size"), opset=11, gain=4),
    "modnet": Graph(**OPEN, opset=11, ending="Identity", gain=0.5, offset=0.5),
    "pp_humanseg": Graph(
        input=(1, 3, 192, 192), output=(1, 2, 192, 192), opset=13, ending="Softmax"
    ),
    "mediapipe_selfie": Graph(
        input=(1, 256, 256, 3), output=(1, 256, 256, 1), opset=13, ending="Identity"
    ),
}
"""Graph with the shapes, outputs and opset of the network of each preset."""
