"""Finds errors in a `config.pbtxt` that Triton's own schema accepts.

Triton ignores unknown keys in `parameters`, and without a GPU all keys of the accelerator. A typing
error would otherwise show only in production.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx
from google.protobuf import text_format
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2 as schema

from silhouette_seg.engine.triton.config_pbtxt import DIGEST_PARAMETER
from silhouette_seg.spec import SPEC_FILE

# Source: onnxruntime_backend r26.06. The project uses the first nine.
TENSORRT_KEYS = frozenset(  # one key per line would fill a screen
    """
    precision_mode max_workspace_size_bytes trt_engine_cache_enable trt_engine_cache_path
    trt_timing_cache_enable trt_timing_cache_path trt_profile_min_shapes trt_profile_opt_shapes
    trt_profile_max_shapes
    trt_max_partition_iterations trt_min_subgraph_size int8_calibration_table_name
    int8_use_native_calibration_table trt_dla_enable trt_dla_core trt_engine_cache_prefix
    trt_dump_subgraphs trt_force_sequential_engine_build trt_context_memory_sharing_enable
    trt_layer_norm_fp32_fallback trt_force_timing_cache trt_detailed_build_log
    trt_build_heuristics_enable trt_sparsity_enable trt_builder_optimization_level
    trt_auxiliary_streams trt_tactic_sources trt_extra_plugin_lib_paths trt_cuda_graph_enable
    trt_dump_ep_context_model trt_ep_context_file_path trt_ep_context_embed_mode
    """.split()  # noqa: SIM905
)
PARAMETERS = frozenset(
    """
    intra_op_thread_count inter_op_thread_count execution_mode enable_mem_arena enable_mem_pattern
    memory.enable_memory_arena_shrinkage session.use_device_allocator_for_initializers
    """.split()  # noqa: SIM905
)
PRECISIONS = ("FP32", "FP16", "BF16", "INT8")
DATATYPES = {
    TensorProto.UINT8: schema.TYPE_UINT8,
    TensorProto.INT64: schema.TYPE_INT64,
    TensorProto.FLOAT: schema.TYPE_FP32,
    TensorProto.FLOAT16: schema.TYPE_FP16,
}

Shape = tuple[int, ...]


def parse(text: str) -> Any:
    """Parses a ModelConfig. Raises text_format.ParseError for unknown fields, values and types."""
    return text_format.Parse(text, schema.ModelConfig())


def config_errors(folder: Path, text: str) -> list[str]:
    """Returns the errors in a configuration of the model in `folder`."""
    try:
        config = parse(text)
    except text_format.ParseError as error:
        return [f"schema: {error}"]
    checks = (
        _names,
        _tensors,
        _queue,
        _accelerator,
        _profiles,
        _warm_up,
        _parameters,
        _digest,
        _versions,
    )
    return [error for check in checks for error in check(config, folder)]


def _names(config: Any, folder: Path) -> Iterator[str]:
    if config.name != folder.name:
        yield f"name: {config.name!r} in a folder {folder.name!r}"
    if config.backend != "onnxruntime":
        yield f"backend: {config.backend!r}"


def _tensors(config: Any, folder: Path) -> Iterator[str]:
    """Compares names, types and shapes with the graph. The batch axis must be open."""
    files = sorted(folder.glob("*/model.onnx"))
    if not files:
        yield "graph: missing"
    for file in files:
        graph = onnx.load(file, load_external_data=False).graph
        for tensors, values in ((config.input, graph.input), (config.output, graph.output)):
            configured = {
                tensor.name: (tensor.data_type, (-1, *_sides(tensor))) for tensor in tensors
            }
            actual = {value.name: _type_and_shape(value) for value in values}
            if configured != actual:
                yield f"graph: configured {configured}, version {file.parent.name} has {actual}"


def _sides(tensor: Any) -> Shape:
    """Returns the shape that the graph sees, without the batch axis."""
    return tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)


def _type_and_shape(value: onnx.ValueInfoProto) -> tuple[int, Shape]:
    kind = value.type.tensor_type
    sides = (side.dim_value if side.HasField("dim_value") else -1 for side in kind.shape.dim)
    return DATATYPES[kind.elem_type], tuple(sides)


def _queue(config: Any, folder: Path) -> Iterator[str]:
    if not config.HasField("dynamic_batching"):
        yield "queue: no dynamic batching"
        return
    batching = config.dynamic_batching
    policy = batching.default_queue_policy
    if policy.timeout_action != schema.ModelQueuePolicy.REJECT:
        yield "queue: requests over the timeout are not rejected"
    if not (policy.max_queue_size and policy.default_timeout_microseconds):
        yield "queue: no limit"
    if not 1 <= batching.default_priority_level <= batching.priority_levels:
        yield f"queue: priority {batching.default_priority_level} of {batching.priority_levels}"


def _tensorrt(config: Any) -> Mapping[str, str]:
    for accelerator in config.optimization.execution_accelerators.gpu_execution_accelerator:
        if accelerator.name == "tensorrt":
            return dict(accelerator.parameters)
    return {}


def _accelerator(config: Any, folder: Path) -> Iterator[str]:
    accelerators = config.optimization.execution_accelerators
    names = [accelerator.name for accelerator in accelerators.gpu_execution_accelerator]
    if names != ["tensorrt"] or accelerators.cpu_execution_accelerator:
        yield f"accelerator: {names}, expected TensorRT alone"
    options = _tensorrt(config)
    for key in options.keys() - TENSORRT_KEYS:
        yield f"accelerator: unknown TensorRT key {key!r}"
    if options.get("precision_mode") not in PRECISIONS:
        yield f"accelerator: precision {options.get('precision_mode')!r}"
    for cache in ("trt_engine_cache", "trt_timing_cache"):
        if options.get(f"{cache}_enable") != "1":
            yield f"accelerator: {cache} is not enabled"
        if not options.get(f"{cache}_path", "").startswith("/var/cache/triton/"):
            yield f"accelerator: {cache} is not on the cache volume"


def _profiles(config: Any, folder: Path) -> Iterator[str]:
    """Checks the three profiles of every input, from one row to `max_batch_size` rows."""
    batches = []
    for level in ("min", "opt", "max"):
        text = _tensorrt(config).get(f"trt_profile_{level}_shapes", "")
        try:
            profile = {name: shape for name, shape in map(_read_shape, text.split(","))}
        except ValueError:
            yield f"profile: {level} is {text!r}"
            continue
        batch = next(iter(profile.values()))[0]
        batches.append(batch)
        if profile != {tensor.name: (batch, *_sides(tensor)) for tensor in config.input}:
            yield f"profile: {level} is {text!r}, which differs from the inputs"
    if len(batches) == 3:
        smallest, optimal, largest = batches
        if not (smallest == 1 <= optimal <= largest == config.max_batch_size):
            yield f"profile: batches of {batches} for max_batch_size {config.max_batch_size}"


def _read_shape(text: str) -> tuple[str, Shape]:
    name, shape = text.split(":")
    return name, tuple(int(side) for side in shape.split("x"))


def _warm_up(config: Any, folder: Path) -> Iterator[str]:
    batches = {sample.batch_size for sample in config.model_warmup}
    if batches != {1, config.max_batch_size}:
        yield f"warm-up: batches of {sorted(batches)}, expected 1 and {config.max_batch_size}"
    inputs = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in config.input}
    for sample in config.model_warmup:
        sent = {name: (value.data_type, tuple(value.dims)) for name, value in sample.inputs.items()}
        if sent != inputs:
            yield f"warm-up: {sample.name!r} has {sent}, the inputs are {inputs}"


def _parameters(config: Any, folder: Path) -> Iterator[str]:
    for key in config.parameters.keys() - PARAMETERS - {DIGEST_PARAMETER}:
        yield f"parameters: unknown key {key!r}"


def _digest(config: Any, folder: Path) -> Iterator[str]:
    """Compares the digest with the spec and with the weights of every served version."""
    if DIGEST_PARAMETER not in config.parameters:
        yield "digest: missing"
        return
    configured = config.parameters[DIGEST_PARAMETER].string_value
    found = {SPEC_FILE: json.loads((folder / SPEC_FILE).read_text())["sha256"]}
    for version in config.version_policy.specific.versions:
        file = folder / str(version) / "model.onnx"
        if file.exists():
            found[f"{version}/{file.name}"] = sha256(file.read_bytes()).hexdigest()
    for where, digest in found.items():
        if digest != configured:
            yield f"digest: {configured!r}, but {where} has {digest!r}"


def _versions(config: Any, folder: Path) -> Iterator[str]:
    for version in config.version_policy.specific.versions:
        if not (folder / str(version) / "model.onnx").exists():
            yield f"version: {version} does not exist"
    if not config.version_policy.specific.versions:
        yield "version: none is configured"
