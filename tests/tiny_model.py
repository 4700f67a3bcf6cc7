"""A model repository small enough for a test: one graph whose alpha is the red channel."""

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


def write_tiny_model(repository: Path, spec: ModelSpec | None = None) -> ModelSpec:
    """Writes `<name>/spec.json` and `<name>/1/model.onnx`; returns the spec with its digest."""
    spec = spec or tiny_spec()
    weights = _red_channel(spec).SerializeToString()
    spec = spec.model_copy(update={"sha256": sha256(weights).hexdigest()})
    spec.model_file(repository).parent.mkdir(parents=True)
    spec.model_file(repository).write_bytes(weights)
    (repository / spec.name / SPEC_FILE).write_text(spec.model_dump_json())
    return spec


def _red_channel(spec: ModelSpec) -> onnx.ModelProto:
    height, width = spec.size_hw
    graph = helper.make_graph(
        [helper.make_node("Gather", ["image", "red"], ["alpha"], axis=3)],
        "red_channel",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", height, width, 3])],
        [helper.make_tensor_value_info("alpha", TensorProto.UINT8, ["n", height, width])],
        [numpy_helper.from_array(np.array(0, np.int64), "red")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model
