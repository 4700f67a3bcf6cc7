"""Folders of a model repository: each fault of a spec is a sentence without paths."""

import json

import pytest

from silhouette_seg.pipeline.model_folders import find_models, read_folders, read_spec
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture
def repository(tmp_path):
    write_tiny_model(tmp_path, tiny_spec("good"))
    write_tiny_model(tmp_path, tiny_spec("bad"))
    return tmp_path


def changed(repository, **fields):
    """Rewrites fields of a spec."""
    file = repository / "bad" / "spec.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def reason(repository) -> str:
    folders = read_folders(repository, None)
    assert [spec.name for spec in folders.specs] == ["good"]
    text = folders.failures["bad"]
    assert str(repository) not in text
    return text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"colour": "red"}, "colour: Extra inputs", id="unknown key"),
        pytest.param({"max_batch": 0}, "max_batch: Input should be greater", id="no batch"),
        pytest.param({"resize": "crop"}, "resize: Input should be", id="unknown resize rule"),
        pytest.param({"name": "good"}, "describes the model 'good'", id="name of another"),
        pytest.param({"size_hw": [8, 8]}, "does not fit the size 8x8", id="other size"),
    ],
)
def test_unusable_field_of_a_spec_is_named(repository, fields, text):
    changed(repository, **fields)
    assert text in reason(repository)


def test_unknown_tensor_of_a_spec_is_named(repository):
    depth = {"name": "depth", "dtype": "uint8", "shape": [-1, 24, 32]}
    image = {"name": "image", "dtype": "uint8", "shape": [-1, 24, 32, 3]}
    changed(repository, inputs=[image, depth])
    assert "the tensor depth uint8" in reason(repository)


def test_spec_that_is_not_json_is_a_failure(repository):
    (repository / "bad" / "spec.json").write_text("{")
    assert reason(repository).startswith("spec.json is invalid: Invalid JSON")


def test_folder_with_a_graph_and_no_spec_is_a_failure(repository):
    (repository / "bad" / "spec.json").unlink()
    assert reason(repository) == "spec.json is missing"


def test_model_named_auto_is_a_failure(tmp_path):
    write_tiny_model(tmp_path, tiny_spec("auto"))
    with pytest.raises(ValueError, match="cannot be named 'auto'"):
        read_spec(tmp_path, "auto")


def test_hidden_and_other_folders_are_no_models(repository):
    (repository / "bad").rename(repository / ".import-1")
    (repository / "notes").mkdir()
    assert find_models(repository) == ("good",)
