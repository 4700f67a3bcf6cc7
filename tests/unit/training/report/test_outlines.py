"""Checks the cost of moved outlines with shapes of known areas."""

from dataclasses import dataclass

import numpy as np
import pytest

from training.report.outlines import OFFSETS_PX, measure_outlines, outlines_text
from training.report.scores import ALL_PHOTOS, Group


@dataclass(frozen=True)
class Square:
    """A photo of 100x100 with a square person in its middle."""

    side: int
    shape: tuple[int, int] = (100, 100)

    def truth(self) -> np.ndarray:
        mask = np.zeros(self.shape, np.uint8)
        margins = [(length - self.side) // 2 for length in self.shape]
        top, left = margins
        mask[top : top + self.side, left : left + self.side] = 255
        return mask


def outline_figures(*squares: Square):
    all_photos = Group(*ALL_PHOTOS, tuple(range(len(squares))))
    return measure_outlines(squares, [all_photos, Group("domain", "far", (0,))])


@pytest.mark.parametrize(("column", "pixels"), list(enumerate(OFFSETS_PX)))
def test_moved_outline_of_a_square_has_known_iou(column, pixels):
    (figures,) = outline_figures(Square(60))
    grown = 60**2 + 4 * 60 * pixels  # and less than a disk in the corners
    shrunk = (60 - 2 * pixels) ** 2
    rounded = 4 * pixels**2
    person = (60**2 / (grown + rounded / 2) + shrunk / 60**2) / 2
    background = ((100**2 - grown - rounded / 2) / 6400 + 6400 / (100**2 - shrunk)) / 2
    expected = 50 * (person + background)
    assert figures.scores[column].value == pytest.approx(expected, abs=0.15)


def test_outline_cost_grows_with_offset_and_smallness():
    (large,), (small,) = outline_figures(Square(80)), outline_figures(Square(20))
    for figures in (large, small):
        values = [score.value for score in figures.scores]
        assert values == sorted(values, reverse=True)
        assert values[0] < 100
    assert all(a.value > b.value for a, b in zip(large.scores, small.scores, strict=True))


def test_outline_cost_without_an_outline_is_zero():
    (figures,) = outline_figures(Square(0), Square(100))
    assert [score.value for score in figures.scores] == [100] * len(OFFSETS_PX)


def test_outlines_text_has_no_row_for_domains():
    text = outlines_text(outline_figures(Square(40), Square(60, (120, 90)), Square(40)))
    assert "| all | 3 | 100x100 |" in text
    assert "far" not in text


def test_outlines_text_without_photos_is_empty():
    assert outlines_text([]) == ""
