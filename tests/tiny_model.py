"""A model repository small enough for a test: graphs whose alpha is the red channel."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.spec import SPEC_FILE, ModelSpec, ResizeRule, TensorSpec


def tiny_spec(
    name: str = "connectnet",
    *,
    size_hw: tuple[int, int] = (24, 32),
    resize: ResizeRule = ResizeRule.LETTERBOX,
    max_batch: int = 8,
    digest: str = "0" * 64,
) -> ModelSpec:
    """The spec of a model that takes `image` alone; what FakeEngine needs."""
    return ModelSpec(
        name=name,
        inputs=(TensorSpec(name="image", dtype="uint8", shape=(-1, *size_hw, 3)),),
        output=TensorSpec(name="alpha", dtype="uint8", shape=(-1, *size_hw)),
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

    An even number of `inversions` makes the model slow and changes nothing else: 10,000 take
    about 10 ms.
    """
    spec = spec or tiny_spec()
    weights = _graph(spec, inversions).SerializeToString()
    spec = spec.model_copy(update={"sha256": sha256(weights).hexdigest()})
    spec.model_file(repository).parent.mkdir(parents=True)
    spec.model_file(repository).write_bytes(weights)
    (repository / spec.name / SPEC_FILE).write_text(spec.model_dump_json())
    return spec


def _graph(spec: ModelSpec, inversions: int) -> onnx.ModelProto:
    height, width = spec.size_hw
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["image", "zero"], ["red"], axis=3),
            helper.make_node("Loop", ["inversions", "", "red"], ["alpha"], body=_inversion()),
        ],
        "red_channel",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", height, width, 3])],
        [helper.make_tensor_value_info("alpha", TensorProto.UINT8, ["n", height, width])],
        [
            numpy_helper.from_array(np.array(0, np.int64), "zero"),
            numpy_helper.from_array(np.array(255, np.uint8), "white"),
            numpy_helper.from_array(np.array(inversions, np.int64), "inversions"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _inversion() -> onnx.GraphProto:
    """The body of an ONNX Loop: (turn, condition, mask) -> (condition, 255 - mask)."""
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
