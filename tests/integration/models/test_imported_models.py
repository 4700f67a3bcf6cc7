"""Imported models: the commands that import and check them, and a service with one."""

import asyncio
import contextlib
from hashlib import sha256

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from silhouette_seg.model_import import folder_check
from silhouette_seg.runtime import extras
from silhouette_seg.spec import load_spec
from tests.integration.conftest import in_process, until
from tests.integration.pictures import picture
from tests.support.config_lint import config_errors
from tests.support.foreign_graphs import PUBLISHED, Graph
from tests.support.images import make_png, quadrants
from tests.support.published import assert_tensors
from tests.support.tiny_model import write_tiny_model

SELFIE = PUBLISHED["mediapipe_selfie"]
"""Graph with the mean of the colours as its mask."""


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def silhouette(models, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


@pytest.fixture
def import_selfie(silhouette, models, tmp_path):
    def run(*options, name="selfie", graph=SELFIE):
        file = graph.write(tmp_path / "downloads", f"{name}.onnx")
        words = ("--licence", "Apache-2.0", "--model-repository", models, "--name", name)
        return silhouette("models", "import", file, *words, *options)

    return run


PRESET = ("--preset", "mediapipe_selfie")


def test_import_command_prints_the_largest_difference(import_selfie, silhouette, models):
    result = import_selfie(*PRESET)
    assert result.exit_code == 0, result.stderr
    assert "largest difference from the original: 0 of 255 levels" in result.stdout
    assert "has not been tested with published weights" in result.stderr
    checked = silhouette("models", "check", models / "selfie")
    assert checked.exit_code == 0, checked.stderr
    assert checked.stdout == "selfie: ok\n"


def test_imported_folder_has_spec_card_and_configurations(import_selfie, models):
    assert import_selfie(*PRESET).exit_code == 0
    folder = models / "selfie"
    spec = load_spec(folder)
    assert (spec.licence, spec.max_batch) == ("Apache-2.0", 1)
    assert spec.run == "import of selfie.onnx, preset mediapipe_selfie"
    for name in ("config.pbtxt", "configs/cpu.pbtxt"):
        assert config_errors(folder, (folder / name).read_text()) == []
    graph = onnx.load(spec.model_file(models)).graph
    assert_tensors(spec.inputs, list(graph.input))
    assert_tensors((spec.output,), list(graph.output))
    card = (folder / "CARD.md").read_text()
    for part in ("Apache-2.0", spec.sha256, "google-ai-edge/mediapipe", "has not been tested"):
        assert part in card


def test_import_without_preset_needs_its_numbers(import_selfie):
    result = import_selfie("--mean", "0")
    assert result.exit_code == 1
    assert "without --preset, --std and --activation must be given" in result.stderr


def test_import_by_options_equals_import_by_preset(import_selfie, models):
    options = ("--mean", "0,0,0", "--std", "1", "--activation", "none", "--size", "256x256")
    assert import_selfie(*options, name="options").exit_code == 0
    assert import_selfie(*PRESET, name="preset").exit_code == 0
    weights = [(models / name / "1" / "model.onnx").read_bytes() for name in ("options", "preset")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--preset", "u3net"), "there is no preset u3net; available: isnet"),
        ((*PRESET, "--size", "256"), "--size is HEIGHTxWIDTH"),
        ((*PRESET, "--mean", "0.5,0.5"), "--mean is one number or three"),
        ((*PRESET, "--std", "0"), "--std is one number or three"),
        ((*PRESET, "--size", "64x64"), "is 256x256 in the layout nhwc, not 64x64"),
        ((*PRESET, "--activation", "sigmoid"), "has values from"),
    ],
)
def test_unusable_option_is_an_error_and_writes_nothing(import_selfie, models, options, sentence):
    result = import_selfie(*options)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert not models.exists()


def test_second_import_needs_overwrite(import_selfie):
    assert import_selfie(*PRESET).exit_code == 0
    refused = import_selfie(*PRESET)
    assert refused.exit_code == 1
    assert "--overwrite replaces it" in refused.stderr
    assert import_selfie(*PRESET, "--overwrite").exit_code == 0


def test_import_without_onnx_names_the_extra(import_selfie, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "onnx")
    result = import_selfie(*PRESET)
    assert result.exit_code == 1
    assert "pip install 'silhouette-seg[import]'" in result.stderr


def test_check_without_onnx_runs_models_and_says_so(silhouette, models, monkeypatch):
    models.mkdir()
    write_tiny_model(models)
    for module in (extras, folder_check):
        monkeypatch.setattr(module, "is_installed", lambda name: name != "onnx")
    result = silhouette("models", "check", models / "connectnet")
    assert (result.exit_code, result.stdout) == (0, "connectnet: ok\n")
    assert "pip install 'silhouette-seg[import]'" in result.stderr
    refused = silhouette("models", "check", "file.onnx")
    assert refused.exit_code == 1
    assert "pip install 'silhouette-seg[import]'" in refused.stderr


def test_check_explains_each_broken_model(silhouette, models, monkeypatch):
    models.mkdir()
    spec = write_tiny_model(models)
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(models))
    assert silhouette("models", "check").stdout == "connectnet: ok\n"
    spec.model_file(models).write_bytes(b"no graph")
    for words in ((), ("connectnet",), (models / "connectnet",)):
        result = silhouette("models", "check", *words)
        assert result.exit_code == 1
        assert "connectnet: model.onnx is not an ONNX file" in result.stderr
    (models / "connectnet" / "spec.json").write_text("{}")
    assert "spec.json is invalid: name: Field required" in silhouette("models", "check").stderr
    listed = silhouette("models")
    assert listed.exit_code == 1
    assert "connectnet: not available: spec.json is invalid" in listed.stderr


def test_check_finds_nan_behind_a_mask_of_bytes(import_selfie, silhouette, models):
    assert import_selfie(*PRESET).exit_code == 0
    folder = models / "selfie"
    spec = load_spec(folder)
    file = spec.model_file(models)
    model = onnx.load(file)
    pixels = next(node for node in model.graph.node if node.op_type == "Mul")
    # The logarithm of its negative square is NaN.
    nodes = [
        onnx.helper.make_node("Mul", [pixels.output[0], pixels.output[0]], ["square"]),
        onnx.helper.make_node("Neg", ["square"], ["negative"]),
        onnx.helper.make_node("Log", ["negative"], ["nan"]),
    ]
    position = list(model.graph.node).index(pixels) + 1
    rest = list(model.graph.node)[position:]
    rest[0].input[0] = "nan"
    first = list(model.graph.node)[:position]
    del model.graph.node[:]
    model.graph.node.extend([*first, *nodes, *rest])
    onnx.save(model, file)
    edited = spec.model_copy(update={"sha256": sha256(file.read_bytes()).hexdigest()})
    (folder / "spec.json").write_text(edited.model_dump_json())
    result = silhouette("models", "check", folder)
    assert result.exit_code == 1
    assert "contains NaN or infinity in a drawn portrait" in result.stderr


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("none.onnx", ()),
        ("network.onnx", ("--licence", " ")),
        ("network.onnx", ("--size", "64x64")),
        ("network.onnx", ("--output", "none")),
        ("network.onnx", ("--model-repository", "network.onnx")),
    ],
)
def test_failed_check_of_an_import_precedes_its_progress(silhouette, tmp_path, file, options):
    SELFIE.write(tmp_path)
    with contextlib.chdir(tmp_path):
        words = ("--licence", "MIT", "--model-repository", "models", *PRESET)
        result = silhouette("models", "import", file, *words, *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


def test_models_commands_take_a_repository(silhouette, models):
    write_tiny_model(models)
    option = ("--model-repository", models)
    assert "connectnet" in silhouette("models", *option).stdout
    assert silhouette("models", "check", *option).stdout == "connectnet: ok\n"
    assert silhouette("models", "check", "connectnet", *option).stdout == "connectnet: ok\n"
    misplaced = silhouette("models", *option, "check")
    assert misplaced.stderr == "error: --model-repository goes behind the command check\n"


def test_check_of_an_unknown_name_lists_the_known_ones(silhouette, models):
    write_tiny_model(models)
    result = silhouette("models", "check", "nix", "--model-repository", models)
    assert result.exit_code == 1
    assert result.stderr == f"error: {models} has no model nix; available: connectnet\n"


def test_check_tells_files_that_can_be_imported(silhouette, tmp_path, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", "none")  # a file needs no repository
    file = SELFIE.write(tmp_path)
    assert silhouette("models", "check", file).stdout == "network.onnx: can be imported\n"
    flat = Graph(input=(1, 3), output=(1, 3)).write(tmp_path, "flat.onnx")
    result = silhouette("models", "check", file, flat)
    assert result.exit_code == 1
    assert "flat.onnx: the input input is float [1, 3]" in result.stderr


def test_check_finds_a_batch_that_the_graph_does_not_take(import_selfie, silhouette, models):
    assert import_selfie(*PRESET).exit_code == 0
    spec_file = models / "selfie" / "spec.json"
    spec_file.write_text(spec_file.read_text().replace('"max_batch": 1', '"max_batch": 4'))
    result = silhouette("models", "check", models / "selfie")
    assert result.exit_code == 1
    assert "config.pbtxt does not fit spec.json" in result.stderr


async def test_imported_model_serves_photos_one_at_a_time(import_selfie, settings_with, models):
    assert import_selfie(*PRESET).exit_code == 0
    grey = np.full((256, 256, 3), 180, np.uint8)
    photo = make_png(grey)
    settings = settings_with(model_repository=models, max_batch=8, workers=1)
    async with in_process(settings) as service:
        answers = await asyncio.gather(
            *(service.segment(photo, "?refine=none", content_type="image/png") for _ in range(6))
        )
        for answer in answers:
            np.testing.assert_array_equal(picture(answer), grey[..., 0])
        batches = service.gateway.statistics["selfie"].batches
        (card,) = (await service.client.get("/v1/models")).json()["models"]
    assert set(batches) == {1}
    assert (card["name"], card["licence"], card["max_batch"]) == ("selfie", "Apache-2.0", 1)


async def test_imported_model_joins_photos_if_its_batch_is_open(
    import_selfie, settings_with, models
):
    opened = Graph(input=("n", 256, 256, 3), output=("n", 256, 256, 1), ending="Identity")
    assert import_selfie(*PRESET, graph=opened).exit_code == 0
    settings = settings_with(model_repository=models, max_batch=8, workers=1)
    photo = make_png(quadrants())
    async with in_process(settings) as service:
        await until(lambda: not service.gateway.registry.cold)
        (model,) = service.gateway.registry.models
        image = np.zeros((5, 256, 256, 3), np.uint8)
        result = await model.infer({"image": image})
        assert result.output.shape == (5, 256, 256)
        picture(await service.segment(photo, content_type="image/png"))
