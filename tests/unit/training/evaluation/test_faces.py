"""Checks the metrics of a face detector against values counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from silhouette_seg.pipeline.faces import Domain, Face
from silhouette_seg.spec import ResizeRule
from tests.support.made_data import write_data_pack
from training.data.dataset import FaceBox, read_backgrounds, read_portraits
from training.evaluation.faces import (
    BACKGROUND,
    OVERALL,
    Detection,
    balanced_accuracy,
    box_iou,
    detector_from_model,
    measure_faces,
    summarise_detections,
)

CLOSE_BOX = FaceBox(x=0.2, y=0.1, w=0.4, h=0.5)
"""Ratio 0.2: a close shot."""


def face(box: FaceBox, score: float = 0.9, *, grow: float = 1.0) -> Face:
    return Face(box.y, box.x, box.h * grow, box.w, score)


def detection(
    reference: FaceBox | None, *faces: Face, source: str = "people", seconds: float = 0.01
) -> Detection:
    return Detection(source, reference, faces, seconds)


class TestIou:
    def test_box_iou_has_golden_values(self):
        assert box_iou(face(CLOSE_BOX), CLOSE_BOX) == pytest.approx(1)
        assert box_iou(face(CLOSE_BOX, grow=0.5), CLOSE_BOX) == pytest.approx(0.5)
        assert box_iou(Face(0.7, 0.7, 0.2, 0.2, 1.0), CLOSE_BOX) == 0


class TestSummariseDetections:
    def test_summary_counts_every_kind_of_photo(self):
        small = FaceBox(0.5, 0.5, 0.05, 0.05)
        report = summarise_detections(
            [
                detection(CLOSE_BOX, face(CLOSE_BOX)),  # found
                detection(CLOSE_BOX, face(CLOSE_BOX, grow=0.4)),  # at the wrong size: half body
                detection(small),  # missed
                detection(None, face(small)),  # an alarm
                detection(None),
                detection(None, face(CLOSE_BOX), source=BACKGROUND),  # another
                detection(None, source=BACKGROUND),
                detection(None, source=BACKGROUND),
            ]
        )
        assert (report.photos, report.backgrounds) == (5, 3)
        assert report.recall == {"far_shot": 0.0, "close_shot": 0.5, OVERALL: pytest.approx(1 / 3)}
        assert report.box_iou == pytest.approx((1 + 0.4 + 0) / 3)
        assert report.found_iou == pytest.approx(1)
        assert report.precision == pytest.approx(1 / 4)
        assert report.false_alarms == pytest.approx(1 / 3)
        assert report.no_face_alarms == pytest.approx(1 / 2)
        assert report.agreement == pytest.approx(2 / 5)
        assert report.neighbours == pytest.approx(1 / 5)
        expected = np.zeros((6, 6), int)
        expected[Domain.CLOSE_SHOT, Domain.CLOSE_SHOT] = 1
        expected[Domain.CLOSE_SHOT, Domain.HALF_BODY] = 1
        expected[Domain.FAR_SHOT, Domain.NO_FACE] = 1
        expected[Domain.NO_FACE, Domain.FAR_SHOT] = 1
        expected[Domain.NO_FACE, Domain.NO_FACE] = 1
        assert report.confusion == tuple(map(tuple, expected.tolist()))

    def test_summary_no_face_has_no_neighbour_domain(self):
        head = FaceBox(0.1, 0.1, 0.7, 0.7)
        assert summarise_detections([detection(head), detection(None, face(head))]).neighbours == 0

    def test_summary_ignores_faces_below_the_threshold(self):
        larger = Face(0.0, 0.0, 1.0, 1.0, 0.3)
        detections = [detection(CLOSE_BOX, face(CLOSE_BOX, 0.6), larger)]
        assert summarise_detections(detections, 0.3).agreement == 0
        assert summarise_detections(detections, 0.31).agreement == 1
        assert summarise_detections(detections, 0.7).recall[OVERALL] == 0

    def test_balanced_accuracy_weights_domains_equally(self):
        rare = FaceBox(0.5, 0.5, 0.05, 0.05)
        found = [detection(CLOSE_BOX, face(CLOSE_BOX))] * 9
        missed = [detection(rare), detection(None, source=BACKGROUND)]
        # Close shots all right, far shots all wrong, backgrounds all right.
        assert balanced_accuracy(summarise_detections(found + missed)) == pytest.approx(2 / 3)

    def test_summary_time_is_the_median(self):
        report = summarise_detections(
            [detection(None, seconds=seconds) for seconds in (0.001, 0.002, 9.0)]
        )
        assert report.milliseconds == pytest.approx(2)


class TestMeasureFaces:
    @pytest.fixture
    def pack(self, tmp_path):
        return write_data_pack(tmp_path, val=8)

    def measure(self, pack: Path, detect_faces):
        return measure_faces(
            detect_faces, read_portraits(pack, "val"), read_backgrounds(pack, "train")
        )

    def test_measure_of_a_detector_without_faces_is_zero(self, pack):
        report = self.measure(pack, lambda rgb: [])
        assert (report.photos, report.backgrounds) == (8, 3)
        assert (report.box_iou, report.precision, report.false_alarms) == (0, 0, 0)
        assert report.agreement == pytest.approx(2 / 8), "two of eight have no face"

    def test_measure_uses_the_face_routing_of_the_service(self, pack):
        shapes = []

        def predict(inputs):
            shapes.append(inputs["image"].shape)
            output = np.zeros((1, 4, 5), np.float32)
            output[0, 2] = (0.9, 0.1, 0.1, 0.2**0.5, 0.2**0.5)
            return output

        detect_faces = detector_from_model(predict, size_hw=(32, 32), resize=ResizeRule.LETTERBOX)
        report = self.measure(pack, detect_faces)
        assert set(shapes) == {(1, 32, 32, 3)}
        assert report.recall["close_shot"] == 1
        assert report.confusion[Domain.CLOSE_SHOT][Domain.CLOSE_SHOT] == 2
        assert report.false_alarms == 1

    def test_spec_metrics_are_by_domain_without_times(self, pack):
        figures = self.measure(pack, lambda rgb: []).spec_metrics()
        assert figures["head_shot"] == {"recall": 0}
        assert figures["all"].items() >= {"recall": 0, "photos": 8, "backgrounds": 3}.items()
        assert not [name for row in figures.values() for name in row if "second" in name]

    def test_history_metrics_have_the_validation_prefix(self, pack):
        curves = self.measure(pack, lambda rgb: []).history_metrics()
        assert all(name.startswith("val/") for name in curves)
        assert curves["val/alarms"] == 0
