import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.evaluation.onnx_model import open_onnx
from training.export.storage import store_kernels_as_float16

SIDE = 8


@pytest.fixture
def kernel():
    return np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32)


@pytest.fixture
def graph(kernel):
    """A convolution with a bias."""
    bias = np.arange(4, dtype=np.float32) / 3
    node = helper.make_node("Conv", ["image", "kernel", "bias"], ["alpha"])
    return helper.make_model(
        helper.make_graph(
            [node],
            "convolution",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 4, SIDE - 2, SIDE - 2])],
            [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias, "bias")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def stored_types(graph):
    return {tensor.name: tensor.data_type for tensor in graph.graph.initializer}


def test_kernels_are_stored_as_float16_and_biases_stay_float32(graph):
    store_kernels_as_float16(graph)
    onnx.checker.check_model(graph, full_check=True)
    types = stored_types(graph)
    assert types == {"kernel.float16": TensorProto.FLOAT16, "bias": TensorProto.FLOAT}


def test_a_graph_with_float16_kernels_computes_with_the_rounded_kernels(graph, kernel, tmp_path):
    image = np.random.default_rng(1).normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(graph)
    rounded.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(kernel.astype(np.float16).astype(np.float32), "kernel")
    )
    store_kernels_as_float16(graph)
    answers = []
    for name, model in (("stored", graph), ("rounded", rounded)):
        onnx.save(model, str(tmp_path / f"{name}.onnx"))
        answers.append(open_onnx(tmp_path / f"{name}.onnx")({"image": image}))
    np.testing.assert_array_equal(*answers)


def test_storing_kernels_twice_changes_nothing(graph):
    store_kernels_as_float16(graph)
    once = graph.SerializeToString()
    store_kernels_as_float16(graph)
    assert graph.SerializeToString() == once
