"""Compares Triton's configuration of a model with its spec, and reads its device."""

from collections.abc import Iterable, Sequence
from typing import Any

from tritonclient.grpc import model_config_pb2

from silhouette_seg.engine.triton.config_pbtxt import DIGEST_PARAMETER
from silhouette_seg.spec import ModelSpec, TensorSpec

ModelConfig = Any
"""Triton's message `ModelConfig`.

Protobuf creates its class at run time, so it has no static type.
"""


def provider_of(config: ModelConfig) -> str:
    """Returns the device of a Triton model: `triton:tensorrt`, `triton:cuda` or `triton:cpu`.

    It is `triton:cpu` if any instance of the model runs on the CPU.
    """
    kinds = {group.kind for group in config.instance_group}
    if kinds != {model_config_pb2.ModelInstanceGroup.KIND_GPU}:
        return "triton:cpu"
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    is_plan = config.backend == "tensorrt" or config.platform == "tensorrt_plan"
    if is_plan or any(accelerator.name == "tensorrt" for accelerator in accelerators):
        return "triton:tensorrt"
    return "triton:cuda"


def config_differences(spec: ModelSpec, config: ModelConfig) -> list[str]:
    """Returns a sentence for each way in which Triton's configuration contradicts a model's spec.

    The list is empty if it does not.
    """
    expected = _describe(map(_from_spec, spec.inputs), "input")
    expected |= _describe([_from_spec(spec.output)], "output")
    actual = _describe(map(_from_config, config.input), "input")
    actual |= _describe(map(_from_config, config.output), "output")
    differences = [
        f"{name} is {actual.get(name, 'missing')} and should be {expected.get(name, 'absent')}"
        for name in expected | actual
        if actual.get(name) != expected.get(name)
    ]
    if config.max_batch_size < spec.max_batch:
        differences.append(
            f"max_batch_size is {config.max_batch_size} and should be {spec.max_batch}"
        )
    if DIGEST_PARAMETER in config.parameters:
        digest = config.parameters[DIGEST_PARAMETER].string_value
        if digest != spec.sha256:
            differences.append(f"{DIGEST_PARAMETER} is {digest} and should be {spec.sha256}")
    return differences


_Tensor = tuple[str, str, Sequence[int]]
"""Name, datatype and shape of one row, without the batch axis."""


def _describe(tensors: Iterable[_Tensor], side: str) -> dict[str, str]:
    return {f"{side} {name}": f"{datatype} {[-1, *shape]}" for name, datatype, shape in tensors}


def _from_spec(tensor: TensorSpec) -> _Tensor:
    return tensor.name, tensor.datatype, tensor.row_shape


def _from_config(tensor: ModelConfig) -> _Tensor:
    datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return tensor.name, datatype, tensor.dims
