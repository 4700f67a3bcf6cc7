"""Contract of every model of model_repository/: its files are consistent."""

import json

import onnx
import pytest
from tritonclient.grpc import model_config_pb2 as schema

from silhouette_seg.engine.triton.config_pbtxt import (
    DIGEST_PARAMETER,
    tensorrt_options,
    write_configs,
)
from silhouette_seg.engine.triton.model_config import config_differences
from silhouette_seg.spec import SPEC_FILE, ModelTask, load_spec
from tests.support.config_lint import config_errors, parse
from tests.support.published import REPOSITORY, assert_published
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.export.model_card import card_text
from training.export.triton_config import main

MODELS = sorted(
    {file.parent.parent for file in REPOSITORY.glob("*/*/model.onnx")}
    | {file.parent for file in REPOSITORY.glob(f"*/{SPEC_FILE}")}
)


@pytest.mark.parametrize(
    "folder",
    [pytest.param(folder, id=folder.name) for folder in MODELS]
    or [pytest.param(None, marks=pytest.mark.skip(reason="no model is in model_repository/ yet"))],
)
def test_committed_model_has_consistent_files(folder):
    assert_published(folder)


def test_published_models_were_measured_on_the_same_photos():
    specs = [load_spec(folder) for folder in MODELS]
    photo_sets = {
        spec.name: {source: row["photos"] for source, row in spec.metrics.items()}
        for spec in specs
        if spec.task is ModelTask.SEGMENTATION
    }
    first = next(iter(photo_sets.values()))
    assert all(photos == first for photos in photo_sets.values()), photo_sets


NAMES = ("connectnet", "rcrnet", "md_trisenet", "face_detector")
CONFIGS = ("config.pbtxt", "configs/cpu.pbtxt")


def published(repository, name="connectnet"):
    """Returns the folder of a model with consistent files."""
    spec = write_tiny_model(repository, tiny_spec(name))
    write_configs(spec, repository / name)
    (repository / name / "CARD.md").write_text(card_text(spec))
    return repository / name


@pytest.fixture
def folder(tmp_path):
    return published(tmp_path)


def test_model_check_accepts_the_output_of_export(folder):
    assert_published(folder)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("CARD.md", "sha256 | `", "sha256 | `0", id="card of other weights"),
        pytest.param("config.pbtxt", "max_batch_size: 8", "max_batch_size: 9", id="edited"),
        pytest.param("configs/cpu.pbtxt", "KIND_CPU", "KIND_GPU", id="cpu on a gpu"),
        pytest.param("spec.json", '"sha256":"', '"sha256":"0', id="digest"),
        pytest.param("spec.json", '"alpha"', '"mask"', id="output name"),
    ],
)
def test_model_check_reports_each_fault(folder, file, old, new):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    with pytest.raises(AssertionError):
        assert_published(folder)


def test_model_check_reports_shapes_that_differ_from_the_graph(folder):
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["output"]["shape"] = [-1, 8, 8]
    (folder / SPEC_FILE).write_text(json.dumps(spec))
    with pytest.raises(AssertionError):
        assert_published(folder)


@pytest.mark.parametrize("name", NAMES)
def test_configurations_differ_only_in_their_instances(tmp_path, name):
    folder = published(tmp_path, name)
    gpu, cpu = (parse((folder / file).read_text()) for file in CONFIGS)
    assert {group.kind for group in gpu.instance_group} == {schema.ModelInstanceGroup.KIND_GPU}
    assert {group.kind for group in cpu.instance_group} == {schema.ModelInstanceGroup.KIND_CPU}
    for config in (gpu, cpu):
        config.ClearField("instance_group")
    assert gpu == cpu


def test_configurations_are_reproducible_from_the_specs(tmp_path):
    folders = [published(tmp_path, name) for name in NAMES]
    files = [folder / file for folder in folders for file in CONFIGS]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.write_text("stale")
    main(tmp_path)
    assert [file.read_bytes() for file in files] == before


def test_engine_names_differ_for_other_weights(folder):
    spec = load_spec(folder)
    retrained = spec.model_copy(update={"sha256": "1" * 64})
    key = "trt_engine_cache_path"
    assert tensorrt_options(spec)[key] != tensorrt_options(retrained)[key]


def test_configurations_name_the_weights_of_their_engines(folder):
    spec = load_spec(folder)
    for file in CONFIGS:
        config = parse((folder / file).read_text())
        assert config.parameters[DIGEST_PARAMETER].string_value == spec.sha256
        assert config_differences(spec, config) == []
        retrained = spec.model_copy(update={"sha256": "1" * 64})
        [difference] = config_differences(retrained, config)
        assert spec.sha256 in difference


@pytest.mark.parametrize("stale", [SPEC_FILE, "1/model.onnx"])
def test_lint_reports_a_digest_that_differs_between_files(folder, stale):
    text = (folder / "config.pbtxt").read_text()
    if stale == SPEC_FILE:
        spec = json.loads((folder / SPEC_FILE).read_text())
        (folder / SPEC_FILE).write_text(json.dumps(spec | {"sha256": "1" * 64}))
    else:
        # Another graph of the same shapes: the old one with a name.
        graph = onnx.load(folder / stale)
        graph.producer_name = "retrained"
        onnx.save(graph, folder / stale)
    [complaint] = config_errors(folder, text)
    assert complaint.startswith("digest:")
    assert stale in complaint


def test_domain_input_has_its_own_profile(tmp_path):
    options = tensorrt_options(load_spec(published(tmp_path, "md_trisenet")))
    assert options["trt_profile_opt_shapes"] == "image:4x24x32x3,domain:4"


@pytest.mark.parametrize("name", NAMES)
def test_lint_accepts_the_output_of_the_generator(tmp_path, name):
    folder = published(tmp_path, name)
    for file in CONFIGS:
        assert config_errors(folder, (folder / file).read_text()) == []


FAULTS = [
    ("schema", "max_batch_size:", "max_batchsize:"),
    ("schema", "timeout_action: REJECT", "timeout_action: REFUSE"),
    ("schema", "default_timeout_microseconds: 2000000", 'default_timeout_microseconds: "2 s"'),
    ("schema", "dynamic_batching {", "sequence_batching { } dynamic_batching {"),
    ("name", 'name: "md_trisenet"', 'name: "trisenet"'),
    ("backend", '"onnxruntime"', '"tensorflow"'),
    ("graph", '"image" data_type: TYPE_UINT8', '"image" data_type: TYPE_FP32'),
    ("graph", '"image" data_type', '"picture" data_type'),
    ("graph", "dims: [ 24, 32, 3 ] },", "dims: [ 32, 24, 3 ] },"),
    ("graph", "reshape { shape: [ ] }", ""),
    ("graph", '"alpha" data_type: TYPE_UINT8 dims: [ 24, 32 ]', '"alpha" data_type: TYPE_UINT8'),
    ("queue", "timeout_action: REJECT", "timeout_action: DELAY"),
    ("queue", "max_queue_size: 64", ""),
    ("queue", "default_timeout_microseconds: 2000000", ""),
    ("queue", "priority_levels: 2", "priority_levels: 1"),
    ("accelerator", 'name: "tensorrt"', 'name: "cuda"'),
    ("accelerator", "trt_engine_cache_enable", "trt_engine_cache_enabled"),
    ("accelerator", '"trt_timing_cache_enable" value: "1"', '"trt_timing_cache_enable" value: ""'),
    ("accelerator", '"FP16"', '"half"'),
    ("accelerator", "/var/cache/triton/", "/models/"),
    ("profile", "trt_profile_min_shapes", "trt_max_partition_iterations"),
    ("profile", "image:1x24x32x3", "image:2x24x32x3"),
    ("profile", "image:8x24x32x3,domain:8", "image:16x24x32x3,domain:16"),
    ("profile", "image:4x24x32x3,domain:4", "image:4x24x32x3,domain:8"),
    ("profile", "image:4x24x32x3,domain:4", "image:4x24x32x3"),
    ("profile", "image:4x24x32x3", "image:4x3x24x32"),
    ("profile", "image:4x24x32x3", "image=4x24x32x3"),
    ("warm-up", "    batch_size: 8", "    batch_size: 9"),
    ("warm-up", "    batch_size: 1", "    batch_size: 2"),
    ("warm-up", "dims: [ 24, 32, 3 ] random", "dims: [ 24, 32 ] random"),
    ("warm-up", 'inputs { key: "domain"', 'inputs { key: "prior"'),
    ("parameters", "intra_op_thread_count", "intra_op_threads"),
    ("parameters", 'key: "sha256"', 'key: "sha265"'),
    ("digest", 'key: "sha256"', 'key: "sha265"'),
    ("digest", 'key: "sha256" value { string_value: "', 'key: "sha256" value { string_value: "0'),
    ("version", "versions: [ 1 ]", "versions: [ 2 ]"),
    ("version", "specific { versions: [ 1 ] }", "latest { num_versions: 1 }"),
]


@pytest.mark.parametrize(("about", "old", "new"), FAULTS)
def test_lint_reports_each_fault(tmp_path, about, old, new):
    folder = published(tmp_path, "md_trisenet")
    text = (folder / "config.pbtxt").read_text()
    assert old in text
    found = config_errors(folder, text.replace(old, new))
    assert about in {complaint.split(":")[0] for complaint in found}
