"""Tiny models for tests: ONNX graphs with the outputs of FakeEngine."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from silhouette_seg.spec import SPEC_FILE, ModelSpec, ModelTask, ResizeRule, TensorSpec


def tiny_spec(
    name: str = "connectnet",
    *,
    size_hw: tuple[int, int] = (24, 32),
    resize: ResizeRule = ResizeRule.LETTERBOX,
    max_batch: int = 8,
    digest: str = "0" * 64,
) -> ModelSpec:
    """Returns the spec of a model. Its name determines its inputs and its output."""
    image = TensorSpec(name="image", dtype="uint8", shape=(-1, *size_hw, 3))
    prior = TensorSpec(name="prior", dtype="uint8", shape=(-1, *size_hw))
    domain = TensorSpec(name="domain", dtype="int64", shape=(-1,))
    alpha = TensorSpec(name="alpha", dtype="uint8", shape=(-1, *size_hw))
    faces = TensorSpec(name="faces", dtype="float32", shape=(-1, 1, 5))
    extra = {"rcrnet": (prior,), "md_trisenet": (domain,)}
    return ModelSpec(
        name=name,
        inputs=(image, *extra.get(name, ())),
        output=faces if name == "face_detector" else alpha,
        size_hw=size_hw,
        resize=resize,
        max_batch=max_batch,
        precision="uint8",
        sha256=digest,
        run="tests",
        licence="Apache-2.0",
    )


def write_tiny_model(
    repository: Path, spec: ModelSpec | None = None, *, inversions: int = 0
) -> ModelSpec:
    """Writes `<name>/spec.json` and `<name>/1/model.onnx`; returns the spec with its digest.

    An even number of `inversions` slows the model down without other effects: 10,000 take about
    10 ms.
    """
    spec = spec or tiny_spec()
    weights = _graph(spec, inversions).SerializeToString()
    spec = spec.model_copy(update={"sha256": sha256(weights).hexdigest()})
    spec.model_file(repository).parent.mkdir(parents=True)
    spec.model_file(repository).write_bytes(weights)
    (repository / spec.name / SPEC_FILE).write_text(spec.model_dump_json())
    return spec


def _graph(spec: ModelSpec, inversions: int) -> onnx.ModelProto:
    nodes, constants = _faces(spec) if spec.task is ModelTask.FACES else _alpha(spec, inversions)
    graph = helper.make_graph(
        nodes,
        spec.task,
        [_value(tensor) for tensor in spec.inputs],
        [_value(spec.output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _value(tensor: TensorSpec) -> onnx.ValueInfoProto:
    kind = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    sides = ["n" if side == -1 else side for side in tensor.shape]
    return helper.make_tensor_value_info(tensor.name, kind[tensor.dtype], sides)


Nodes = list[onnx.NodeProto]
Constants = dict[str, int | np.ndarray]


def _alpha(spec: ModelSpec, inversions: int) -> tuple[Nodes, Constants]:
    """Computes red, inverted `inversions` times, xor the extra input."""
    constants: Constants = {"zero": 0, "white": np.uint8(255), "inversions": inversions}
    nodes = [
        helper.make_node("Gather", ["image", "zero"], ["red"], axis=3),
        helper.make_node("Loop", ["inversions", "", "red"], ["looped"], body=_inversion()),
    ]
    if spec.has_input("prior"):
        nodes.append(helper.make_node("BitwiseXor", ["looped", "prior"], ["alpha"]))
    elif spec.has_input("domain"):
        constants["one_by_one"] = np.array([-1, 1, 1])
        nodes += [
            helper.make_node("Cast", ["domain"], ["level"], to=TensorProto.UINT8),
            helper.make_node("Reshape", ["level", "one_by_one"], ["levels"]),
            helper.make_node("BitwiseXor", ["looped", "levels"], ["alpha"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["looped"], ["alpha"]))
    return nodes, constants


def _faces(spec: ModelSpec) -> tuple[Nodes, Constants]:
    """Computes one face, as high as the image and as wide as the green of its centre pixel."""
    nodes = [
        helper.make_node("Gather", ["image", "middle_row"], ["row"], axis=1),
        helper.make_node("Gather", ["row", "middle_column"], ["pixel"], axis=1),
        helper.make_node("Gather", ["pixel", "green"], ["level"], axis=1),
        helper.make_node("Cast", ["level"], ["float_level"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float_level", "one_by_one"], ["levels"]),
        helper.make_node("Mul", ["levels", "its_width"], ["widths"]),
        helper.make_node("Add", ["widths", "a_face"], ["faces"]),
    ]
    constants: Constants = {
        "middle_row": spec.size_hw[0] // 2,
        "middle_column": spec.size_hw[1] // 2,
        "green": 1,
        "one_by_one": np.array([-1, 1, 1]),
        "its_width": np.float32([[[0, 0, 0, 0, 1 / 255]]]),
        "a_face": np.float32([[[1, 0, 0, 1, 0]]]),
    }
    return nodes, constants


def _inversion() -> onnx.GraphProto:
    """Returns the body of an ONNX Loop: (turn, condition, mask) -> (condition, 255 - mask)."""
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sub", ["white", "mask"], ["inverse"]),
        ],
        "inversion",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("mask", TensorProto.UINT8, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("inverse", TensorProto.UINT8, None),
        ],
    )
