"""Tests of recipes: validation, the folder of recipes and its names, and the schedule."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from silhouette_seg.spec import load_spec
from tests.support.documents import ROOT, code_spans, table_rows
from training.export.model_card import card_text
from training.models import build_model
from training.recipe import (
    RECIPES_FOLDER,
    Recipe,
    UnknownRecipe,
    check_recipe,
    find_recipe,
    read_recipe,
    recipe_files,
)

RECIPES = sorted(RECIPES_FOLDER.rglob("*.toml"))
MODELS = sorted(spec.parent for spec in (ROOT / "model_repository").glob("*/spec.json"))
CHAINS = sorted({file.parent for file in RECIPES_FOLDER.glob("*/[0-9]*.toml")})
"""Folders of numbered recipes."""

FORMER_FILES = """
connectnet connectnet_ce connectnet_empty connectnet_everyday connectnet_iou connectnet_lent
connectnet_longer connectnet_mild connectnet_open connectnet_own connectnet_sc connectnet_taught
face_detector md_trisenet md_trisenet_fine md_trisenet_mild rcrnet rcrnet_crowd rcrnet_domains
rcrnet_everyday rcrnet_finer rcrnet_frozen rcrnet_labels rcrnet_lent rcrnet_longer rcrnet_mild
rcrnet_taught rcrnet_views rcrnet_wide rcrnet_wider trisenet trisenet_crowd trisenet_more
trisenet_wide unet_everyday unet_lent
"""
"""Stems of the files that were directly in training/recipes."""
FORMER_NAMES = FORMER_FILES.split()

TEXT = """
name = "made"
model = "connectnet"
seed = 1
phases = [
    { size_hw = [32, 48], epochs = 3, batch = 4 },
    { size_hw = [64, 64], epochs = 5, batch = 2 },
]
optimiser = { kind = "sgd", rate = 0.1, weight_decay = 0.0, warm_up = 2, cool_down = 4 }
loss = {}
augmentation = { flip = 0.25 }
"""


def recipe(**optimiser: Any) -> Recipe:
    values = tomllib.loads(TEXT)
    values["optimiser"] |= optimiser
    return Recipe.model_validate(values)


def path_of(file: Path) -> str:
    return file.relative_to(RECIPES_FOLDER).as_posix()


@pytest.mark.parametrize("file", RECIPES, ids=path_of)
def test_recipe_files_are_valid_and_build_their_model(file):
    numbers = read_recipe(file)
    build_model(numbers.model, numbers.options)
    assert numbers.rate(numbers.epochs) == (0 if numbers.optimiser.cool_down else 1)


@pytest.mark.parametrize("file", RECIPES, ids=path_of)
def test_recipe_comment_names_paths_that_exist(file):
    comment = "".join(re.findall(r"^#.*\n", file.read_text(), re.MULTILINE))
    assert f"training.train training/recipes/{path_of(file)} " in comment
    for named in re.findall(r"[\w/]+\.toml", comment):
        folders = (ROOT, RECIPES_FOLDER, file.parent)
        assert any((folder / named).is_file() for folder in folders), named


def test_every_recipe_has_its_own_name():
    assert sorted(recipe_files().values()) == RECIPES


@pytest.mark.parametrize("folder", CHAINS, ids=path_of)
def test_numbers_of_a_chain_have_no_gaps(folder):
    numbers = [int(file.name[:2]) for file in sorted(folder.glob("[0-9]*.toml"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_published_run_has_a_recipe_of_its_model(model):
    file = find_recipe(Path(load_spec(model).run))
    assert file.parent == RECIPES_FOLDER / model.name
    assert read_recipe(file).model == model.name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_document_lists_the_chain_of_a_published_model(model):
    published = find_recipe(Path(load_spec(model).run)).name
    chain = sorted((RECIPES_FOLDER / model.name).glob("[0-9]*.toml"))
    runs = [(path_of(file), read_recipe(file).name) for file in chain if file.name <= published]
    rows = table_rows(ROOT / "docs/retrain.md", "recipe")
    cells = [(code_spans(file)[0], code_spans(run)[0]) for file, run, _ in rows]
    assert [row for row in cells if row[0].startswith(f"{model.name}/")] == runs


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_card_names_the_recipe_of_the_published_run(model):
    spec = load_spec(model)
    [line] = re.findall(r"^\| training run .*$", card_text(spec), re.MULTILINE)
    assert line in (model / "CARD.md").read_text().splitlines()
    [path] = re.findall(r"training/recipes/[\w/]+\.toml", line)
    assert read_recipe(ROOT / path).name == spec.run


def test_script_for_a_gpu_names_recipes_and_their_runs():
    script = (ROOT / "training/lent.sh").read_text()
    assert "training/recipes/gpu/$1.toml" in script
    models = re.findall(r"^train (\w+)", script, re.MULTILINE)
    assert models == ["unet", "connectnet", "rcrnet"]
    for model in models:
        assert read_recipe(RECIPES_FOLDER / f"gpu/{model}.toml").name == f"{model}_lent"


class TestFindRecipe:
    def test_former_names_are_names_of_recipes(self):
        assert set(FORMER_NAMES) <= set(recipe_files())

    @pytest.mark.parametrize("name", FORMER_NAMES)
    def test_former_path_finds_the_recipe_of_that_name(self, name, monkeypatch):
        monkeypatch.chdir(ROOT)
        assert read_recipe(Path(f"training/recipes/{name}.toml")).name == name

    @pytest.mark.parametrize("text", ["rcrnet_mild", "rcrnet_mild.toml"])
    def test_bare_name_finds_the_recipe_in_any_folder(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert find_recipe(Path(text)) == RECIPES_FOLDER / "rcrnet/09_milder_views.toml"

    def test_existing_file_precedes_the_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("rcrnet.toml").write_text(TEXT)
        assert read_recipe(Path("rcrnet.toml")).name == "made"

    def test_folder_of_the_same_name_is_no_recipe(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("rcrnet").mkdir()
        assert read_recipe(Path("rcrnet")).name == "rcrnet"

    def test_missing_file_of_another_folder_is_unknown(self, tmp_path):
        with pytest.raises(UnknownRecipe, match=r"rcrnet\.toml; similar names: rcrnet"):
            find_recipe(tmp_path / "rcrnet.toml")

    @pytest.mark.parametrize("text", ["connectnet_longr", "longer", "connectnet_longer_2.toml"])
    def test_unknown_name_lists_similar_names(self, text):
        with pytest.raises(UnknownRecipe, match=f"no recipe {text}; .*connectnet_longer"):
            find_recipe(Path(text))

    def test_name_without_similar_ones_refers_to_the_folder(self):
        with pytest.raises(UnknownRecipe, match="no recipe 42; see training/recipes"):
            find_recipe(Path("42"))

    def test_unknown_recipe_is_an_error_of_the_command_line(self):
        with pytest.raises(typer.BadParameter, match="similar names: rcrnet_mild"):
            check_recipe(Path("rcrnet_mlid"))


def test_recipe_keeps_file_values_and_defaults(tmp_path):
    file = tmp_path / "made.toml"
    file.write_text(TEXT)
    numbers = read_recipe(file)
    assert numbers.augmentation.flip == 0.25
    assert numbers.augmentation.scale == (0.7, 1.6)
    assert numbers.epochs == 8
    assert numbers.resize == "stretch"


@pytest.mark.parametrize(
    "where", ["", "optimiser", "loss", "augmentation"], ids=lambda where: where or "top"
)
def test_recipe_with_unknown_keys_is_rejected(where):
    values = tomllib.loads(TEXT)
    (values[where] if where else values)["momentun"] = 1
    with pytest.raises(ValidationError, match="momentun"):
        Recipe.model_validate(values)


def test_phase_with_unknown_keys_is_rejected():
    values = tomllib.loads(TEXT)
    values["phases"][0]["epoch"] = 3
    with pytest.raises(ValidationError, match=r"phases\.0\.epoch"):
        Recipe.model_validate(values)


@pytest.mark.parametrize(
    "values", [{"kind": "adagrad"}, {"rate": "fast"}, {"cool_down": -1}, {"warm_up": -1}]
)
def test_recipe_with_invalid_values_is_rejected(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        recipe(**values)


@pytest.mark.parametrize(
    ("epoch", "size_hw"),
    [(0, (32, 48)), (2, (32, 48)), (3, (64, 64)), (7, (64, 64))],
)
def test_phase_of_an_epoch_is_found(epoch, size_hw):
    assert recipe().phase(epoch).size_hw == size_hw


def test_phase_after_the_last_raises_index_error():
    with pytest.raises(IndexError, match="8 epochs"):
        recipe().phase(8)


@pytest.mark.parametrize(
    ("epoch", "share"), [(0, 0), (1, 0.5), (2, 1), (3.5, 1), (4, 1), (6, 0.5), (7.5, 0.125), (8, 0)]
)
def test_rate_warms_up_stays_and_cools_down(epoch, share):
    assert recipe().rate(epoch) == pytest.approx(share)


def test_rate_without_warm_up_starts_at_full():
    assert recipe(warm_up=0).rate(0) == 1


def test_rate_without_cool_down_stays_full():
    assert recipe(cool_down=0).rate(8) == 1


@given(warm_up=st.floats(0, 20), cool_down=st.floats(0.1, 20), epoch=st.floats(-1, 20))
def test_rate_of_overlapping_schedules_is_a_share(warm_up, cool_down, epoch):
    assert 0 <= recipe(warm_up=warm_up, cool_down=cool_down).rate(epoch) <= 1
