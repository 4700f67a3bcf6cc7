"""Every model of model_repository/: its files agree with each other."""

import json
from pathlib import Path

import pytest

from service.spec import SPEC_FILE
from tests.published import assert_published
from tests.tiny_model import write_tiny_model
from training.card import card
from training.triton_config import write_configs

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"

MODELS = sorted(
    {file.parent.parent for file in REPOSITORY.glob("*/*/model.onnx")}
    | {file.parent for file in REPOSITORY.glob(f"*/{SPEC_FILE}")}
)


@pytest.mark.parametrize(
    "folder",
    [pytest.param(folder, id=folder.name) for folder in MODELS]
    or [pytest.param(None, marks=pytest.mark.skip(reason="no model is in model_repository/ yet"))],
)
def test_files_of_a_committed_model_agree(folder):
    assert_published(folder)


@pytest.fixture
def folder(tmp_path):
    """A model whose files agree."""
    spec = write_tiny_model(tmp_path)
    write_configs(spec, tmp_path / spec.name)
    (tmp_path / spec.name / "CARD.md").write_text(card(spec))
    return tmp_path / spec.name


def test_the_check_accepts_what_export_writes(folder):
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
def test_the_check_sees_what_is_wrong(folder, file, old, new):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    with pytest.raises(AssertionError):
        assert_published(folder)


def test_the_check_sees_shapes_that_the_graph_does_not_have(folder):
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["output"]["shape"] = [-1, 8, 8]
    (folder / SPEC_FILE).write_text(json.dumps(spec))
    with pytest.raises(AssertionError):
        assert_published(folder)


def test_configurations_differ_in_their_instances_alone(folder):
    gpu = (folder / "config.pbtxt").read_text().splitlines()
    cpu = (folder / "configs" / "cpu.pbtxt").read_text().splitlines()
    (different,) = [pair for pair in zip(gpu, cpu, strict=True) if pair[0] != pair[1]]
    assert all(line.startswith("instance_group") for line in different)
