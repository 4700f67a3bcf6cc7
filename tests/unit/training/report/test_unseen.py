"""Checks the groups and the tables of seen and unseen data sources with drawn masks."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.made_report import write_report_pack
from tests.support.tiny_model import tiny_spec
from training.data.dataset import Portrait, read_portraits
from training.evaluation.metrics import score_mask
from training.report.inputs import QUICK_RUN, ReportInputs
from training.report.results import Results
from training.report.scores import ModelScores
from training.report.unseen import (
    REFERENCE_PEER,
    count_pieces,
    difficulty_groups,
    measure_unseen,
    unseen_text,
)


@dataclass(frozen=True)
class Photo:
    """A photo of 100x100 with upright bars of person, each 10 pixels wide."""

    source: str
    bars: int
    height: int = 100

    def truth(self) -> np.ndarray:
        mask = np.zeros((100, 100), np.uint8)
        for bar in range(self.bars):
            mask[: self.height, 20 * bar : 20 * bar + 10] = 255
        return mask


def test_photos_are_grouped_by_source_pieces_and_size():
    photos = [
        Photo("coco128", 1, height=10),
        Photo("coco128", 2),
        Photo("eg1800", 4, height=50),
        Photo("eg1800", 5),
    ]
    groups = {group.name: group.rows for group in difficulty_groups(photos)}
    assert groups == {
        "unseen sources": (0, 1),
        "unseen: coco128": (0, 1),
        "seen sources": (2, 3),
        "one piece of person": (0,),
        "two or three pieces": (1,),
        "four or more pieces": (2, 3),
        "person under 2 %": (0,),
        "person 10 to 40 %": (1, 2),
        "person from 40 %": (3,),
    }


def test_specks_are_not_counted_as_pieces():
    mask = np.zeros((100, 100), bool)
    mask[:40, :40] = True
    mask[60:63, 60:63] = True  # 9 of 10,000 pixels
    assert count_pieces(mask) == 1
    mask[63, 60] = True
    assert count_pieces(mask) == 2


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_report_pack(tmp_path_factory.mktemp("data"))


def results_of(data: Path, portraits: list[Portrait]) -> Results:
    """Returns results of a model that finds all of the person in each photo."""
    truths = [portrait.truth() > 127 for portrait in portraits]
    scores = tuple(score_mask(truth, truth) for truth in truths)
    inputs = ReportInputs(
        quick=False,
        size=QUICK_RUN,
        data=data,
        repository=data,
        models=[],
        predictors={},
        detect_faces=None,
        portraits=portraits,
        backgrounds=[],
        groups=[],
    )
    return Results(inputs, {}, [ModelScores(tiny_spec(), "", scores)], [], {})


def write_peers(data: Path, portraits: list[Portrait], iou: float) -> None:
    rows = [f"{portrait.id},{portrait.source},{REFERENCE_PEER},{iou}" for portrait in portraits]
    (data / "peers.csv").write_text("\n".join(["id,source,peer,iou_person", *rows]))


def test_unseen_section_compares_models_with_published_networks(data):
    portraits = read_portraits(data, "val")[:12]
    portraits = [replace(portrait, source="coco128") for portrait in portraits]
    write_peers(data, portraits, iou=0.75)
    text = unseen_text(measure_unseen(results_of(data, portraits)))
    assert f"|  | photos | connectnet | {REFERENCE_PEER} |" in text
    assert "| unseen sources | 12 | 100.00 (100.00 to 100.00) | 75.00 (75.00 to 75.00) |" in text
    assert "| unseen sources | 12 | **+25.00 (+25.00 to +25.00)** |" in text


def test_network_without_a_score_for_each_photo_is_left_out(data):
    portraits = read_portraits(data, "val")[:4]
    write_peers(data, portraits[1:], iou=0.75)
    groups = measure_unseen(results_of(data, portraits))
    assert all(list(group.iou) == ["connectnet"] for group in groups)
    assert "Difference" not in unseen_text(groups)
