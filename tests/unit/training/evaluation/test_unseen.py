"""Compares networks on the same photos, by source, with paired differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset import read_backgrounds, read_portraits
from training.evaluation.unseen import (
    ALL,
    SCENES,
    UNSEEN,
    PhotoScore,
    Scores,
    bootstrap_difference,
    comparison_table,
    load_network,
    measure_network,
    person_ious,
    photos_by_group,
    read_peers,
    read_scores,
    write_scores,
)
from training.models import build_model

RECIPE = """
name = "made"
model = "connectnet"
seed = 1
phases = [{ size_hw = [32, 32], epochs = 1, batch = 2 }]
optimiser = { kind = "sgd", rate = 0.1, weight_decay = 0.0 }
loss = {}
"""


def scores(*rows: tuple[str, str, float | None, bool | None]) -> Scores:
    return {row[0]: PhotoScore(*row) for row in rows}


MIXED = scores(
    ("a", "eg1800", 0.9, True),
    ("b", "coco128", 0.5, True),
    ("c", "voc_tw7", 0.0, False),
    ("d", SCENES, None, True),
    ("e", SCENES, None, False),
)


def test_unseen_group_has_only_validation_sources():
    groups = photos_by_group(MIXED)
    assert groups[UNSEEN] == ["b", "c"]
    assert groups[ALL] == ["a", "b", "c"]
    assert list(groups) == ["coco128", "eg1800", "voc_tw7", UNSEEN, ALL]


def test_person_ious_are_percentages_in_photo_order():
    assert person_ious(MIXED, ["c", "a"]).tolist() == [0, 90]


def test_person_ious_without_a_score_raise():
    with pytest.raises(KeyError):
        person_ious(MIXED, ["absent"])


def test_scores_round_trip_through_a_file(tmp_path):
    file = tmp_path / "new" / "net.csv"
    write_scores(file, MIXED.values())
    assert read_scores(file) == MIXED


def test_constant_difference_has_no_spread():
    values = np.arange(20.0)
    found = bootstrap_difference(values + 3, values)
    assert (found.mean, found.low, found.high) == pytest.approx((3, 3, 3))


@given(st.lists(st.floats(-50, 50), min_size=10, max_size=60))
def test_interval_contains_the_mean_difference(values):
    one = np.array(values)
    found = bootstrap_difference(one, np.zeros_like(one))
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9


def test_table_counts_lost_people_and_false_people():
    table = comparison_table({"net": MIXED}, "")
    cells = dict(zip(table.columns[0].cells, table.columns[2].cells, strict=True))
    assert cells["eg1800"] == "90.00"
    assert cells[UNSEEN] == "25.00"
    assert cells["lost people"] == "1 of 3"
    assert cells["false people"] == "1 of 2"


def test_table_shows_the_interval_against_another_network():
    better = scores(*((f"p{n}", "eg1800", 0.8, True) for n in range(10)))
    worse = scores(*((f"p{n}", "eg1800", 0.7, None) for n in range(10)))
    worse |= scores(("q", "voc_tw7", 0.1, None))
    better |= scores(("q", "voc_tw7", 0.2, True))
    table = comparison_table({"net": better, "peer": worse}, "peer")
    cells = dict(zip(table.columns[0].cells, table.columns[2].cells, strict=True))
    assert cells["eg1800"] == "80.00 (+10.00: +10.00..+10.00)"
    assert cells["voc_tw7"] == "20.00", "one photo has no interval"


def test_table_against_an_unknown_network_raises():
    rows = scores(*((f"p{n}", "coco128", 0.8, True) for n in range(10)))
    with pytest.raises(KeyError, match="absent"):
        comparison_table({"net": rows}, "absent")


def test_peers_are_read_by_name(tmp_path):
    (tmp_path / "peers.csv").write_text(
        "id,source,peer,iou_person,miou,contour_accuracy\n"
        "a,eg1800,selfie,0.9,0.9,0.9\na,eg1800,lite,0.8,0.9,0.9\n"
    )
    peers = read_peers(tmp_path)
    assert {name: scores["a"].iou for name, scores in peers.items()} == {"selfie": 0.9, "lite": 0.8}


class TestMeasure:
    def test_measure_of_true_masks_finds_everyone(self, data):
        people = read_portraits(data, "val")
        found = measure_network(lambda portrait: portrait.truth(), people, [])
        assert [score.iou for score in found] == [1.0] * 4
        assert all(score.has_person for score in found)

    def test_measure_of_scenes_has_no_iou(self, data):
        scenes = read_backgrounds(data, "train")
        found = measure_network(lambda portrait: np.zeros((4, 4), np.uint8), [], scenes)
        assert [(score.source, score.iou, score.has_person) for score in found] == [
            (SCENES, None, False)
        ] * len(scenes)

    def test_network_is_loaded_from_recipe_and_checkpoint(self, data, tmp_path):
        recipe, checkpoint = tmp_path / "made.toml", tmp_path / "last.pt"
        recipe.write_text(RECIPE)
        torch.manual_seed(0)
        torch.save({"average": build_model("connectnet", {}).state_dict()}, checkpoint)
        name, segment = load_network(f"{recipe}={checkpoint}")
        assert name == "made"
        assert segment(read_portraits(data, "val")[0]).shape == (64, 64)
