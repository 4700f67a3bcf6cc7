"""Tests of whole training runs: interrupted, branched, resumed, and with domains."""

import numpy as np
import pytest
import torch

from silhouette_seg.pipeline.faces import Domain
from tests.support.made_runs import ALONE, assert_equal_tensors, read_checkpoint, read_history
from training.data.dataset import read_portraits
from training.evaluation import masks
from training.export import __main__ as export
from training.models import build_model
from training.models.checkpoint import read_average, write_half
from training.recipe import read_recipe
from training.train import (
    StartingPoint,
    restore_or_start,
    train,
)


class TestRun:
    def test_run_reduces_the_loss(self, run, recipe, data):
        rows = read_history(run)
        untrained = masks.evaluate_masks(
            masks.segmenter_from_network(
                build_model(recipe.model, recipe.options), size_hw=(32, 32), resize=recipe.resize
            ),
            read_portraits(data, "val"),
        )
        assert untrained["all"]["miou_image_mean"] < 60
        assert rows[1]["cross_entropy"] < rows[0]["cross_entropy"] < np.log(2)
        assert min(rows[1]["val/all"], rows[1]["val/discs"], rows[1]["val/moons"]) > 75

    def test_history_has_a_row_per_epoch(self, run):
        rows = read_history(run)
        assert [row["epoch"] for row in rows] == [1, 2]
        assert [row["rate"] for row in rows] == [1, 0]
        assert all(np.isfinite(value) for row in rows for value in row.values())

    def test_curve_is_a_picture(self, run):
        assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")

    def test_run_leaves_no_temporary_file(self, run):
        assert {file.name for file in run.iterdir()} == {"last.pt", "history.jsonl", "curve.png"}

    def test_checkpoint_contains_the_final_state(self, run):
        state = read_checkpoint(run)
        assert (state["epoch"], state["step"]) == (2, 24 + 48)
        assert all(value.isfinite().all() for value in state["average"].values())
        assert not torch.equal(state["average"]["stem.0.weight"], state["model"]["stem.0.weight"])

    def test_finished_run_trains_no_further(self, run, recipe, data):
        before = (run / "last.pt").read_bytes()
        train(recipe, data, run, ALONE, start=StartingPoint())
        assert (run / "last.pt").read_bytes() == before
        assert len(read_history(run)) == 2


@pytest.fixture(scope="module")
def interrupted_run(recipe, data, tmp_path_factory):
    """Returns the folder of a run that fails after it has saved its first epoch.

    The plot of its curve raises an error.
    """
    run = tmp_path_factory.mktemp("runs") / "stopped"
    obstacle = run / "curve.png"
    obstacle.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train(recipe, data, run, ALONE, start=StartingPoint())
    obstacle.rmdir()
    return run


class TestStoppedRun:
    def test_resumed_run_reaches_the_weights_of_an_uninterrupted_run(
        self, interrupted_run, run, recipe, data, tmp_path
    ):
        resumed_run = tmp_path / "resumed"
        resumed_run.mkdir()
        for name in ("last.pt", "history.jsonl"):
            (resumed_run / name).write_bytes((interrupted_run / name).read_bytes())
        assert read_checkpoint(resumed_run)["epoch"] == 1
        train(recipe, data, resumed_run, ALONE, start=StartingPoint())
        expected, state = read_checkpoint(run), read_checkpoint(resumed_run)
        assert_equal_tensors(expected["model"], state["model"])
        assert_equal_tensors(expected["average"], state["average"])
        assert state["step"] == expected["step"]
        histories = [
            [
                {key: value for key, value in row.items() if key != "seconds"}
                for row in read_history(folder)
            ]
            for folder in (run, resumed_run)
        ]
        assert histories[0] == histories[1]

    def test_branch_starts_with_its_weights_and_ends_elsewhere(
        self, interrupted_run, run, recipe, data, tmp_path
    ):
        branch_recipe = recipe.model_copy(
            update={"loss": recipe.loss.model_copy(update={"semantic_connectivity": 1.0})}
        )
        branch, start = tmp_path / "branch", StartingPoint(branch=interrupted_run / "last.pt")
        initial_state = restore_or_start(branch_recipe, branch, ALONE, start)
        assert initial_state.epoch == 1
        assert_equal_tensors(
            initial_state.model.state_dict(), read_checkpoint(interrupted_run)["model"]
        )
        train(branch_recipe, data, branch, ALONE, start=start)
        (row,) = read_history(branch)
        assert row["epoch"] == 2
        assert np.isfinite(row["semantic_connectivity"])
        assert not torch.equal(
            read_checkpoint(branch)["model"]["stem.0.weight"],
            read_checkpoint(run)["model"]["stem.0.weight"],
        )

    def test_checkpoint_of_the_run_precedes_the_branch(self, run, interrupted_run, recipe):
        state = restore_or_start(
            recipe, run, ALONE, StartingPoint(branch=interrupted_run / "last.pt")
        )
        assert state.epoch == 2


DOMAINS = """
name = "made_domains"
model = "md_trisenet"
seed = 1
repeats = { discs = 2, moons = 2 }
freeze_statistics = true
phases = [{ size_hw = [32, 32], epochs = 1, batch = 4 }]
optimiser = { kind = "muon", rate = 0.01, weight_decay = 0.01, warm_up = 0 }
loss = { edge = 1.0 }
"""


def test_branches_start_equal_and_train_with_their_photos(data, tmp_path):
    torch.manual_seed(0)
    one_branch = build_model("trisenet", {})
    weights = tmp_path / "trisenet.pt"
    export.save_weights(one_branch, weights)
    recipe_file = tmp_path / "domains.toml"
    recipe_file.write_text(DOMAINS)
    run = tmp_path / "domains"
    train(read_recipe(recipe_file), data, run, ALONE, start=StartingPoint(weights=weights))
    trained = torch.load(run / "last.pt", weights_only=True)["model"]
    initial = one_branch.branches[0][2].weight.half().float()
    unchanged = [
        domain
        for domain in range(6)
        if torch.equal(trained[f"branches.{domain}.2.weight"], initial)
    ]
    assert unchanged == [Domain.FAR_SHOT, Domain.HALF_BODY], "no photo of these is in the data"
    statistics = "spatial.0.1.running_mean"
    assert torch.equal(trained[statistics], one_branch.state_dict()[statistics])


def test_half_precision_weights_are_nearly_equal(run, recipe, tmp_path):
    write_half(run / "last.pt", tmp_path / "half.pt")
    half, full = read_average(tmp_path / "half.pt"), read_average(run / "last.pt")
    assert (tmp_path / "half.pt").stat().st_size < (run / "last.pt").stat().st_size / 2
    model = build_model(recipe.model, recipe.options)
    model.load_state_dict(half)
    for name, value in model.state_dict().items():
        assert value.dtype == full[name].dtype
        torch.testing.assert_close(value, full[name], rtol=1e-3, atol=1e-4)
