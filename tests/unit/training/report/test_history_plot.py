"""The curve is drawn from an incomplete history."""

import json

import cv2
import pytest

from training.report.history_plot import plot_curve

FIRST = {"epoch": 1, "cross_entropy": 0.5}
VALIDATED = {"epoch": 2, "cross_entropy": 0.2, "val/all": 90.0, "val/eg1800": 95.0}
OTHER_LOSS = VALIDATED | {"epoch": 3, "semantic_connectivity": 0.1}


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([FIRST], id="before the first evaluation"),
        pytest.param([FIRST, VALIDATED], id="measured"),
        pytest.param([FIRST, VALIDATED, OTHER_LOSS], id="a branch with another loss"),
    ],
)
def test_curve_of_a_partial_history_is_drawn(tmp_path, rows):
    history, picture = tmp_path / "history.jsonl", tmp_path / "curve.png"
    history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plot_curve(history, picture)
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.min() < image.max()
