"""Tests of recipes: complete validation, and the schedule as a function of the epoch."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import training
from training.models import build_model
from training.recipe import Recipe, read_recipe

RECIPES = sorted((Path(training.__file__).parent / "recipes").glob("*.toml"))

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


@pytest.mark.parametrize("file", RECIPES, ids=[file.stem for file in RECIPES])
def test_recipe_files_are_valid_and_build_their_model(file):
    numbers = read_recipe(file)
    assert numbers.name == file.stem, "the card names the file by the run"
    build_model(numbers.model, numbers.options)
    assert numbers.rate(numbers.epochs) == (0 if numbers.optimiser.cool_down else 1)


def test_recipe_folder_is_not_empty():
    assert RECIPES


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
