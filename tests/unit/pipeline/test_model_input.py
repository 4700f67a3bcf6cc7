"""The picture that a model sees where a photo is clear."""

import numpy as np
import pytest

from silhouette_seg.pipeline.model_input import fit_photo
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.codec.decode import Frame, decode, read_header
from silhouette_seg.vision.geometry import fit
from tests.support.images import cut_out_person, make_png, soft_disc

SIZE_HW = (48, 64)


def frame(rgba: np.ndarray) -> Frame:
    png = make_png(rgba)
    return decode(png, read_header(png))


@pytest.mark.parametrize("rule", ResizeRule)
def test_avatar_is_surrounded_by_its_own_colours(rule):
    green = np.full((96, 128, 3), (0, 150, 20), np.uint8)
    image, placement = fit_photo(frame(np.dstack([green, soft_disc(96, 128)])), SIZE_HW, rule)
    assert (placement.height, placement.width) == SIZE_HW
    assert np.abs(image.astype(int) - (0, 150, 20)).max() <= 2


@pytest.mark.parametrize("rule", ResizeRule)
def test_cut_out_is_seen_on_white(rule):
    photo = frame(cut_out_person())
    image, _ = fit_photo(photo, SIZE_HW, rule)
    assert (image == fit(photo.rgb, SIZE_HW, rule)[0]).all()
    assert (image[2, 2] == 255).all()


def test_letterbox_of_an_avatar_stays_grey():
    red = np.full((40, 40, 3), (200, 0, 0), np.uint8)
    image, placement = fit_photo(
        frame(np.dstack([red, soft_disc(40, 40)])), SIZE_HW, ResizeRule.LETTERBOX
    )
    assert (image[:, : placement.left] == 127).all()
    assert np.abs(image[2, placement.left + 2].astype(int) - (200, 0, 0)).max() <= 2


def test_model_input_leaves_the_photo_unchanged():
    photo = frame(np.dstack([np.zeros((*SIZE_HW, 3), np.uint8), soft_disc(*SIZE_HW)]))
    before = photo.rgb.copy()
    fit_photo(photo, SIZE_HW, ResizeRule.STRETCH)
    assert (photo.rgb == before).all()


def test_clear_photo_is_white():
    image, _ = fit_photo(frame(np.zeros((*SIZE_HW, 4), np.uint8)), SIZE_HW, ResizeRule.STRETCH)
    assert (image == 255).all()
