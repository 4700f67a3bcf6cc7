"""Writes Triton's `config.pbtxt` from the ModelSpec that the service reads.

Fields and TensorRT keys are those of Triton 2.51 (24.10) and later. Two properties need a GPU and
are not verified:

- TensorRT 10 builds FP16 engines of our float32 graphs because of `precision_mode`. TensorRT 11 is
  strongly typed and has no such flag. It needs a float16 graph with uint8 and float32 at its edges.
  Hence TRITON_RELEASE is the last release with TensorRT 10.
- The profiles cover the inputs of the graph. ONNX Runtime may leave nodes out of TensorRT, such as
  casts of uint8 and int64 or a gather by `domain`. The parts between then have inputs of their own,
  and the load fails with their names. Each such input needs its shape in `_profile`.
"""

from collections.abc import Iterable
from pathlib import Path

from silhouette_seg.spec import ModelSpec, TensorSpec

# With two instances, one copies while the other computes.
GPU_INSTANCES = "instance_group [ { kind: KIND_GPU count: 2 } ]"
CPU_INSTANCES = "instance_group [ { kind: KIND_CPU count: 2 } ]"

TRITON_RELEASE = "26.04"
"""Tag of the image, `<release>-py3`. Engines work only with the TensorRT version of this release.
"""
CACHE_VOLUME = f"/var/cache/triton/trt/{TRITON_RELEASE}"
"""Cache folder, which must exist: ONNX Runtime creates the folder of a model, but not its parents.
"""

QUEUE_DELAY_US = 1000
QUEUE_TIMEOUT_US = 2_000_000
"""Timeout of a queued request, equal to the service's own.

A request may have a shorter timeout, never a longer one."""
QUEUE_SIZE = 64
"""Maximum number of queued requests at each priority level."""
WORKSPACE_BYTES = 1 << 30
DIGEST_PARAMETER = "sha256"
"""Optional parameter with the sha256 of the served weights.

The backend ignores it; the gateway compares it with its own spec.
"""


def write_configs(spec: ModelSpec, folder: Path) -> None:
    """Writes the production configuration and the one for machines without a GPU."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(model_config(spec, GPU_INSTANCES))
    (folder / "configs" / "cpu.pbtxt").write_text(model_config(spec, CPU_INSTANCES))


def model_config(spec: ModelSpec, instances: str) -> str:
    """Returns a configuration with the given instance group.

    Only the instance group differs between GPU and CPU. Priority 1 is for live frames, 2 for
    everything else.
    """
    return f"""\
# Generated from spec.json by engine/triton/config_pbtxt.py; edit neither by hand.
name: "{spec.name}"
backend: "onnxruntime"
max_batch_size: {spec.max_batch}
input [
{_join_entries(_tensor(tensor) for tensor in spec.inputs)}
]
output [
{_tensor(spec.output)}
]
{instances}
dynamic_batching {{
  max_queue_delay_microseconds: {QUEUE_DELAY_US}
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {QUEUE_TIMEOUT_US}
    allow_timeout_override: true
    max_queue_size: {QUEUE_SIZE}
  }}
}}
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [ {{
      name: "tensorrt"
{_parameters(tensorrt_options(spec))}
    }} ]
  }}
}}
model_warmup [
{_join_entries(_warm_up(spec, batch) for batch in sorted({1, spec.max_batch}))}
]
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
parameters {{ key: "{DIGEST_PARAMETER}" value {{ string_value: "{spec.sha256}" }} }}
version_policy {{ specific {{ versions: [ {spec.version} ] }} }}
"""


def tensorrt_options(spec: ModelSpec) -> dict[str, str]:
    """Returns the options of ONNX Runtime's TensorRT provider; an unknown key fails the load."""
    # The cache identifies engines by names in the graph, which new weights share with the old.
    cache = f"{CACHE_VOLUME}/{spec.name}-{spec.sha256[:12]}"
    return {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": str(WORKSPACE_BYTES),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": cache,
        # Without profiles every larger batch would build a new engine. TensorRT tunes for the
        # middle shape, the usual batch of a queue under load.
        "trt_profile_min_shapes": _profile(spec, 1),
        "trt_profile_opt_shapes": _profile(spec, max(1, spec.max_batch // 2)),
        "trt_profile_max_shapes": _profile(spec, spec.max_batch),
    }


def _profile(spec: ModelSpec, batch: int) -> str:
    """Returns the input shapes of the graph with the batch: `image:8x512x512x3,domain:8`."""
    return ",".join(
        f"{tensor.name}:" + "x".join(str(side) for side in (batch, *tensor.shape[1:]))
        for tensor in spec.inputs
    )


def _tensor(tensor: TensorSpec) -> str:
    """Returns a tensor entry without the batch axis, which `max_batch_size` implies."""
    reshape = "" if tensor.shape[1:] else " reshape { shape: [ ] }"
    return (
        f'  {{ name: "{tensor.name}" data_type: TYPE_{tensor.datatype} {_dims(tensor)}{reshape} }}'
    )


def _dims(tensor: TensorSpec) -> str:
    """Returns the dims of a row.

    Triton has no empty dims, so a scalar row has dims [1] and is reshaped.
    """
    return f"dims: [ {', '.join(str(side) for side in tensor.row_shape)} ]"


def _warm_up(spec: ModelSpec, batch: int) -> str:
    """Returns a warm-up request.

    It builds the engine, or reads it from the cache, before the model is ready.
    """
    inputs = "\n".join(
        f'    inputs {{ key: "{tensor.name}" value {{ data_type: TYPE_{tensor.datatype}'
        f" {_dims(tensor)} {_warm_up_data(tensor)}: true }} }}"
        for tensor in spec.inputs
    )
    return f'  {{\n    name: "batch of {batch}"\n    batch_size: {batch}\n{inputs}\n  }}'


def _warm_up_data(tensor: TensorSpec) -> str:
    """Returns the data of an input in a warm-up request.

    Any bytes are an image; zero is the only integer that is valid for every model.
    """
    return "random_data" if tensor.dtype == "uint8" else "zero_data"


def _parameters(values: dict[str, str]) -> str:
    return "\n".join(
        f'      parameters {{ key: "{key}" value: "{value}" }}' for key, value in values.items()
    )


def _join_entries(items: Iterable[str]) -> str:
    return ",\n".join(items)
