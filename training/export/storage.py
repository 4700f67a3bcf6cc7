"""Storage of an exported graph's weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KERNEL_NDIM = 4
"""Dimensions of a convolution's kernel [out,in,height,width]."""


def store_kernels_as_float16(model: onnx.ModelProto) -> None:
    """Stores every float32 kernel of a graph as float16, in place; the graph computes in float32.

    The file has half the size. A `Cast` to float32 follows each kernel. Runtimes compute it once,
    when they load the file, so inference costs the same. Kernels are rounded to 11 bits.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != KERNEL_NDIM:
            continue
        name, stored = tensor.name, f"{tensor.name}.float16"
        kernel = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(kernel, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
