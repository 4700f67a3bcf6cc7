"""Makes the tensors before the mask of a graph visible, where NaN still shows."""

import onnx
from onnx import helper

STEPS = 8
"""Number of operators before the output: more than those after any network."""


def expose_last_tensors(model: onnx.ModelProto, output: str) -> list[str]:
    """Adds the tensors before `output` to the outputs of a graph, and returns their names.

    They are the first inputs of the last operators, from the end. `output` itself is the first.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    names = [output]
    while len(names) <= STEPS and names[-1] in producers and producers[names[-1]].input:
        names.append(producers[names[-1]].input[0])
    outputs = {value.name for value in model.graph.output}
    known = outputs | {value.name for value in model.graph.input}
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [name for name in names if name and name not in weights]
    added = [name for name in names if name not in known]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in added)
    return [name for name in names if name in outputs or name in added]
