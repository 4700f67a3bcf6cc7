"""Tests of training runs: trained, interrupted, resumed, branched, exported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import ResizeRule, load_spec
from tests.support.made_data import write_data_pack
from tests.support.published import assert_published
from training.data.dataset import read_portraits
from training.evaluation import masks
from training.evaluation.onnx_model import Tensors, open_onnx
from training.export import __main__ as export
from training.models import build_model
from training.models.checkpoint import read_average, write_half
from training.models.deployed import DeployedSegmenter
from training.recipe import Recipe, read_recipe
from training.train import (
    ProcessRank,
    StartingPoint,
    TimeLimit,
    is_finished,
    restore_or_start,
    schedule_epoch,
    train,
)

ALONE = ProcessRank(rank=0, world=1, device=torch.device("cpu"))

RECIPE = """
name = "made"
model = "connectnet"
options = { stem = 8, skip = 8, stages = [[16, 2]], decoder = 8, logits_relu = false }
seed = 1
repeats = { discs = 16, moons = 16 }
average = 0.8
evaluate_every = 1
phases = [
    { size_hw = [32, 32], epochs = 1, batch = 8 },
    { size_hw = [32, 40], epochs = 1, batch = 4 },
]
optimiser = { kind = "muon", rate = 0.01, weight_decay = 0.01, warm_up = 0.2, cool_down = 1 }
loss = {}
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="module")
def data(workplace):
    return write_data_pack(workplace / "data")


@pytest.fixture(scope="module")
def recipe_file(workplace):
    file = workplace / "made.toml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def recipe(recipe_file) -> Recipe:
    return read_recipe(recipe_file)


@pytest.fixture(scope="module")
def run(recipe, data, workplace):
    """Returns the folder of an uninterrupted run of two epochs."""
    run = workplace / "runs" / "made"
    train(recipe, data, run, ALONE, start=StartingPoint())
    return run


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def checkpoint(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "last.pt", weights_only=True)
    return state


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


class TestRun:
    def test_run_reduces_the_loss(self, run, recipe, data):
        rows = history(run)
        untrained = masks.evaluate_masks(
            masks.segment_by_network(
                build_model(recipe.model, recipe.options), size_hw=(32, 32), resize=recipe.resize
            ),
            read_portraits(data, "val"),
        )
        assert untrained["all"]["miou_image_mean"] < 60
        assert rows[1]["cross_entropy"] < rows[0]["cross_entropy"] < np.log(2)
        assert min(rows[1]["val/all"], rows[1]["val/discs"], rows[1]["val/moons"]) > 75

    def test_history_has_a_row_per_epoch(self, run):
        rows = history(run)
        assert [row["epoch"] for row in rows] == [1, 2]
        assert [row["rate"] for row in rows] == [1, 0]
        assert all(np.isfinite(value) for row in rows for value in row.values())

    def test_curve_is_a_picture(self, run):
        assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")

    def test_run_leaves_no_temporary_file(self, run):
        assert {file.name for file in run.iterdir()} == {"last.pt", "history.jsonl", "curve.png"}

    def test_checkpoint_contains_the_final_state(self, run):
        state = checkpoint(run)
        assert (state["epoch"], state["step"]) == (2, 24 + 48)
        assert all(value.isfinite().all() for value in state["average"].values())
        assert not torch.equal(state["average"]["stem.0.weight"], state["model"]["stem.0.weight"])

    def test_finished_run_trains_no_further(self, run, recipe, data):
        before = (run / "last.pt").read_bytes()
        train(recipe, data, run, ALONE, start=StartingPoint())
        assert (run / "last.pt").read_bytes() == before
        assert len(history(run)) == 2


@pytest.fixture(scope="module")
def interrupted(recipe, data, workplace):
    """Returns the folder of a run that fails after it has saved its first epoch.

    The plot of its curve raises an error.
    """
    run = workplace / "runs" / "stopped"
    in_the_way = run / "curve.png"
    in_the_way.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train(recipe, data, run, ALONE, start=StartingPoint())
    in_the_way.rmdir()
    return run


class TestStoppedRun:
    def test_resumed_run_reaches_the_weights_of_an_uninterrupted_run(
        self, interrupted, run, recipe, data, workplace
    ):
        resumed = workplace / "runs" / "resumed"
        resumed.mkdir()
        for name in ("last.pt", "history.jsonl"):
            (resumed / name).write_bytes((interrupted / name).read_bytes())
        assert checkpoint(resumed)["epoch"] == 1
        train(recipe, data, resumed, ALONE, start=StartingPoint())
        whole, parts = checkpoint(run), checkpoint(resumed)
        assert_same(whole["model"], parts["model"])
        assert_same(whole["average"], parts["average"])
        assert parts["step"] == whole["step"]
        untimed = [
            [{key: value for key, value in row.items() if key != "seconds"} for row in history(of)]
            for of in (run, resumed)
        ]
        assert untimed[0] == untimed[1]

    def test_branch_starts_with_its_weights_and_ends_elsewhere(
        self, interrupted, run, recipe, data, workplace
    ):
        connected = recipe.model_copy(
            update={"loss": recipe.loss.model_copy(update={"semantic_connectivity": 1.0})}
        )
        branch, start = workplace / "runs" / "branch", StartingPoint(branch=interrupted / "last.pt")
        started_state = restore_or_start(connected, branch, ALONE, start)
        assert started_state.epoch == 1
        assert_same(started_state.model.state_dict(), checkpoint(interrupted)["model"])
        train(connected, data, branch, ALONE, start=start)
        (row,) = history(branch)
        assert row["epoch"] == 2
        assert np.isfinite(row["semantic_connectivity"])
        assert not torch.equal(
            checkpoint(branch)["model"]["stem.0.weight"],
            checkpoint(run)["model"]["stem.0.weight"],
        )

    def test_checkpoint_of_the_run_precedes_the_branch(self, run, interrupted, recipe, workplace):
        state = restore_or_start(recipe, run, ALONE, StartingPoint(branch=interrupted / "last.pt"))
        assert state.epoch == 2


@pytest.fixture(scope="module")
def repository(run, recipe_file, data, workplace):
    repository = workplace / "model_repository"
    (repository / "connectnet").mkdir(parents=True)
    (repository / "connectnet" / "NOTES.md").write_text("Kept by hand.\n")
    weights = workplace / "weights"
    export.main(run, recipe=recipe_file, data=data, repository=repository, weights=weights)
    return repository


class TestExport:
    def test_export_writes_a_model_of_the_repository(self, repository):
        assert_published(repository / "connectnet")
        files = {
            str(file.relative_to(repository / "connectnet"))
            for file in repository.rglob("*")
            if file.is_file()
        }
        assert files == {
            "1/model.onnx",
            "CARD.md",
            "NOTES.md",
            "config.pbtxt",
            "configs/cpu.pbtxt",
            "curve.png",
            "spec.json",
        }

    def test_exported_spec_states_training_and_measurements(self, repository, run):
        spec = load_spec(repository / "connectnet")
        assert (spec.name, spec.run, spec.size_hw) == ("connectnet", "made", (32, 40))
        assert spec.resize is ResizeRule.STRETCH
        assert set(spec.metrics) == {"all", "discs", "moons"}
        last = history(run)[-1]
        # torch while training, ONNX here: a pixel on the threshold may fall either way
        for source, row in spec.metrics.items():
            assert row["miou_image_mean"] == pytest.approx(last[f"val/{source}"], abs=0.1)

    def test_exported_card_contains_the_notes(self, repository):
        card = (repository / "connectnet" / "CARD.md").read_text()
        assert card.endswith("Kept by hand.\n")
        assert "| training run | `made` |" in card, "no file of the project has this recipe"

    def test_exported_spec_contains_the_finite_evaluation_of_its_file(
        self, repository, data, capsys
    ):
        spec = load_spec(repository / "connectnet")
        predict = open_onnx(spec.model_file(repository))
        segment = masks.segment_by_model(predict, size_hw=spec.size_hw, resize=spec.resize)
        summaries = masks.evaluate_masks(segment, read_portraits(data, "val"))
        for source, row in summaries.items():
            assert row == pytest.approx(spec.metrics[source], abs=1e-4)
        masks.main(repository / "connectnet", data=data)
        assert f"{summaries['all']['miou_image_mean']:.2f}" in capsys.readouterr().out

    def test_exported_weights_are_the_averaged_ones(self, run, recipe):
        model = export.read_weights(recipe, run / "last.pt")
        assert not model.training
        assert_same(model.state_dict(), checkpoint(run)["average"])

    def test_several_checkpoints_are_exported_as_their_mean(self, run, recipe, tmp_path):
        state = checkpoint(run)["average"]
        other = {
            name: value + 2.0 if value.is_floating_point() else value
            for name, value in state.items()
        }
        torch.save({"average": other}, tmp_path / "other.pt")
        mean = export.read_weights(recipe, run / "last.pt", tmp_path / "other.pt").state_dict()
        for name, value in state.items():
            expected = value + 1.0 if value.is_floating_point() else value
            torch.testing.assert_close(mean[name], expected, msg=name)

    def test_failed_export_replaces_no_file(self, repository, run, recipe_file, workplace):
        before = {file: file.read_bytes() for file in repository.rglob("*") if file.is_file()}
        with pytest.raises(FileNotFoundError):
            export.main(
                run,
                recipe=recipe_file,
                data=workplace / "none",
                repository=repository,
                weights=workplace / "unwritten",
            )
        assert not (workplace / "unwritten").exists()
        for file, content in before.items():
            assert file.read_bytes() == content

    @pytest.mark.parametrize(("text", "size_hw"), [("192x160", (192, 160)), ("32x40", (32, 40))])
    def test_export_size_is_parsed_as_height_by_width(self, text, size_hw):
        assert export.parse_size(text) == size_hw

    @pytest.mark.parametrize("text", ["192", "axb", "1x2x3"])
    def test_invalid_export_sizes_are_rejected(self, text):
        with pytest.raises(ValueError, match=r"unpack|invalid literal"):
            export.parse_size(text)


class Recorder(nn.Module):
    """Network that records its input and returns its first two channels as logits."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = image
        return image[:, :2] / 64


class TestDeployed:
    def test_deployed_network_maps_raw_pixels_to_probabilities(self):
        images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
        recorder = Recorder()
        alpha = DeployedSegmenter(recorder)(images)
        assert recorder.seen.dtype == torch.float32
        assert torch.equal(recorder.seen, images.permute(0, 3, 1, 2).float())
        green_over_red = (images[..., 1].float() - images[..., 0].float()) / 64
        assert alpha.dtype == torch.uint8
        assert torch.equal(alpha, (green_over_red.sigmoid() * 255).round().to(torch.uint8))

    def test_exported_graph_maps_bytes_to_bytes(self, repository):
        graph = onnx.load(load_spec(repository / "connectnet").model_file(repository)).graph
        (image,), (alpha,) = graph.input, graph.output
        assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert alpha.type.tensor_type.elem_type == onnx.TensorProto.UINT8

    def test_exported_graph_receives_unprocessed_pixels(self, data):
        portrait = read_portraits(data, "val")[0]
        rgb = portrait.rgb()
        given = []

        def predict(inputs: Tensors) -> np.ndarray:
            (images,) = inputs.values()
            given.append(images)
            return images[..., 0]

        segment = masks.segment_by_model(predict, size_hw=rgb.shape[:2], resize=ResizeRule.STRETCH)
        np.testing.assert_array_equal(segment(portrait), rgb[..., 0])
        np.testing.assert_array_equal(given[0], rgb[None])


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


def test_branches_start_equal_and_train_with_their_photos(data, workplace):
    torch.manual_seed(0)
    one_branch = build_model("trisenet", {})
    weights = workplace / "weights" / "trisenet.pt"
    export.save_weights(one_branch, weights)
    recipe_file = workplace / "domains.toml"
    recipe_file.write_text(DOMAINS)
    run = workplace / "runs" / "domains"
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


@pytest.mark.parametrize(
    ("device", "abilities", "expected"),
    [
        ("cpu", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ("cpu", {"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, True),
        ("cuda", {"avx512_bf16": False}, True),
    ],
)
def test_bfloat16_is_used_only_with_hardware_support(monkeypatch, device, abilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    assert ProcessRank(rank=0, world=1, device=torch.device(device)).bfloat16 is expected


class CountedLimit:
    """Time limit that expires after a number of reads, independent of the clock."""

    def __init__(self, reads: int) -> None:
        self.reads = self.left = reads

    def start(self) -> None:
        """Has no effect: the limit counts reads from its construction."""

    @property
    def elapsed_share(self) -> float:
        self.left = max(0, self.left - 1)
        return 1 - self.left / self.reads

    @property
    def expired(self) -> bool:
        return self.elapsed_share >= 1


class TestTimeLimit:
    @pytest.fixture
    def clock(self, monkeypatch):
        """Returns a clock in seconds that the test sets."""
        now = [100.0]
        monkeypatch.setattr("training.train.time.monotonic", lambda: now[0])
        return now

    def test_time_limit_starts_once_with_training(self, clock):
        limit = TimeLimit(60)
        clock[0] = 130
        assert limit.elapsed_share == 0
        limit.start()
        clock[0] = 145
        limit.start()
        assert limit.elapsed_share == 0.25

    def test_schedule_is_stretched_over_the_time_limit(self, clock, recipe):
        limit = TimeLimit(60, started=100)
        assert schedule_epoch(recipe, 1.25, limit) == 0
        clock[0] = 130
        assert schedule_epoch(recipe, 1.25, limit) == 1, "half of the recipe's two epochs"
        clock[0] = 500
        assert schedule_epoch(recipe, 1.25, limit) == 2

    def test_schedule_without_a_limit_follows_epochs(self, recipe):
        assert schedule_epoch(recipe, 1.25, None) == 1.25

    def test_run_is_finished_at_the_time_limit(self, clock, recipe, tmp_path):
        state = restore_or_start(recipe, tmp_path, ALONE, StartingPoint())
        limit = TimeLimit(60, started=100)
        state.epoch = 1000
        assert not is_finished(recipe, state, limit)
        assert is_finished(recipe, state, None)
        clock[0] = 160
        assert is_finished(recipe, state, limit)

    def test_limited_run_saves_weights_without_validation(self, recipe, data, tmp_path):
        train(recipe, data, tmp_path, ALONE, start=StartingPoint(), limit=CountedLimit(20))
        assert history(tmp_path)[-1]["rate"] == 0
        assert not any(name.startswith("val/") for row in history(tmp_path) for name in row)
        assert checkpoint(tmp_path)["average"]


def test_half_precision_weights_are_nearly_equal(run, recipe, tmp_path):
    write_half(run / "last.pt", tmp_path / "half.pt")
    halved, whole = read_average(tmp_path / "half.pt"), read_average(run / "last.pt")
    assert (tmp_path / "half.pt").stat().st_size < (run / "last.pt").stat().st_size / 2
    model = build_model(recipe.model, recipe.options)
    model.load_state_dict(halved)
    for name, value in model.state_dict().items():
        assert value.dtype == whole[name].dtype
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-4)
