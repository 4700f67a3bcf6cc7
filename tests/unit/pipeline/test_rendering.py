"""Tests of rendered images: their sizes, the people they keep, and their pixels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Domain, DomainDecision, Face
from silhouette_seg.pipeline.options import (
    BackgroundImage,
    Blur,
    BlurredFaces,
    Colour,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.rendering import NO_FACES, render_image
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.pipeline.timings import Timings
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose.layout import parse_layout
from silhouette_seg.vision.mask.quality import Box, measure_quality

RED, BLUE, GREEN = (200, 30, 30), (20, 40, 220), (0, 255, 0)
HW = (120, 200)


def photo(*people: Box, hw=HW) -> tuple[Frame, NDArray[np.uint8]]:
    """Returns a photo of red people on blue, and its mask."""
    rgb = np.empty((*hw, 3), np.uint8)
    rgb[:] = BLUE
    alpha = np.zeros(hw, np.uint8)
    for box in people:
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        rgb[rows, columns], alpha[rows, columns] = RED, 255
    return Frame(rgb, hw), alpha


def matte(alpha, face: Face | None = None) -> Matte:
    faces = () if face is None else (face,)
    decision = DomainDecision(Domain.HALF_BODY, faces, detector_ran=True)
    return Matte(alpha, measure_quality(alpha), decision, Timings(0, 0, 0, 0, 0))


LEFT, RIGHT = Box(20, 10, 90, 60), Box(50, 140, 60, 30)


@pytest.mark.parametrize("output", Output)
@pytest.mark.parametrize(
    "options",
    [
        RenderOptions(),
        RenderOptions(
            person=PersonSelection.DOMINANT, refine=Refinement.GUIDED, decontaminate=True
        ),
        RenderOptions(threshold=0.5, grow=2, feather=3, invert=True),
        RenderOptions(layout=parse_layout("x:0.2,scale:0.5;flip:true"), light_wrap=50),
    ],
)
@pytest.mark.parametrize("people", [(), (LEFT,), (LEFT, RIGHT)])
def test_image_has_the_photos_size_for_any_options(options, output, people):
    frame, alpha = photo(*people)
    channels = {Output.CUTOUT: (4,), Output.COMPOSITE: (3,)}.get(output, ())
    composition = render_image(replace(options, output=output), frame, None, matte(alpha))
    assert composition.image.shape == (*HW, *channels)
    assert composition.image.dtype == np.uint8


def test_mask_with_default_options_is_the_alpha():
    frame, alpha = photo(LEFT, RIGHT)
    composition = render_image(RenderOptions(), frame, None, matte(alpha))
    assert (composition.image == alpha).all()
    assert composition.box == Box(20, 10, 90, 160)
    assert composition.pieces == ()


def test_dominant_person_is_kept_and_the_other_reported():
    frame, alpha = photo(LEFT, RIGHT)
    without_detector = replace(matte(alpha), decision=None)
    options = RenderOptions(person=PersonSelection.DOMINANT)
    composition = render_image(options, frame, None, without_detector)
    _, expected = photo(LEFT)
    assert (composition.image == expected).all()
    assert composition.box == LEFT
    assert [piece.kept for piece in composition.pieces] == [True, False]
    assert composition.warning == NO_FACES


def test_dominant_face_selects_its_person():
    frame, alpha = photo(LEFT, RIGHT)
    face = Face(top=50 / 120, left=145 / 200, height=20 / 120, width=20 / 200, score=1)
    composition = render_image(
        RenderOptions(person=PersonSelection.DOMINANT), frame, None, matte(alpha, face)
    )
    assert (composition.box, composition.warning) == (RIGHT, None)


def test_rejected_person_is_part_of_the_blurred_background():
    frame, alpha = photo(LEFT, RIGHT)
    options = RenderOptions(
        output=Output.COMPOSITE, background=Blur(1), person=PersonSelection.DOMINANT
    )
    composition = render_image(options, frame, None, matte(alpha))
    assert np.abs(composition.image[80, 155].astype(int) - RED).max() < 30


def test_blurred_background_excludes_the_person():
    frame, alpha = photo(LEFT)
    composition = render_image(
        RenderOptions(output=Output.COMPOSITE, background=Blur(5)), frame, None, matte(alpha)
    )
    beside = composition.image[40:100, 75:90].reshape(-1, 3).astype(int)
    assert np.abs(beside - BLUE).max() <= 3


def test_blurred_background_excludes_the_soft_edge():
    frame, alpha = photo(LEFT)
    frame.rgb[20:110, 70:74], alpha[20:110, 70:74] = RED, 200
    options = RenderOptions(output=Output.COMPOSITE, background=Blur(5), threshold=0.9)
    composition = render_image(options, frame, None, matte(alpha))
    assert np.abs(composition.image[60, 76:90].astype(int) - BLUE).max() <= 3


def test_guided_refinement_follows_the_photos_edge():
    """The mask is as soft as a prediction at an eighth of the photo's size."""
    frame, truth = photo(Box(160, 160, 720, 480), hw=(960, 1600))
    predicted = cv2.resize(truth, (200, 120), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(predicted, (1600, 960))
    soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), 8), np.uint8)
    soft_matte = replace(matte(soft), quality=measure_quality(predicted))

    def error(options):
        image = render_image(options, frame, None, soft_matte).image
        return np.abs(image.astype(int) - truth)[300:700, 400:].mean()

    assert error(RenderOptions(refine=Refinement.GUIDED)) < 0.5 * error(RenderOptions())


def test_guided_refinement_works_with_a_reduced_photo():
    frame, alpha = photo(LEFT)
    small = Frame(np.ascontiguousarray(frame.rgb[::2, ::2]), HW)
    composition = render_image(RenderOptions(refine=Refinement.GUIDED), small, None, matte(alpha))
    assert composition.image.shape == HW
    assert composition.image[60, 40] == 255
    assert composition.image[60, 120] == 0


@pytest.mark.parametrize("clean", [False, True])
def test_decontamination_removes_the_old_background_from_edges(clean):
    frame, alpha = photo(LEFT)
    mixed = (np.array(RED) + np.array(BLUE)) // 2
    frame.rgb[20:110, 70] = mixed
    alpha[20:110, 70] = 128
    options = RenderOptions(output=Output.CUTOUT, decontaminate=clean)
    rim = render_image(options, frame, None, matte(alpha)).image[60, 70]
    assert rim[3] == 128
    assert (np.abs(rim[:3].astype(int) - RED).max() < 30) == clean


def test_grown_cutout_shows_the_photo_around_the_person():
    frame, alpha = photo(Box(300, 300, 400, 400), hw=(1000, 1000))
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 4), np.uint8)
    options = RenderOptions(output=Output.CUTOUT, grow=60, decontaminate=True)
    image = render_image(options, frame, None, matte(soft)).image
    ring = (image[..., 3] == 255) & (soft == 0)
    assert ring.sum() > 50_000
    assert (image[ring][:, :3] == BLUE).all()


def test_layout_moves_the_person():
    frame, alpha = photo(LEFT)
    options = RenderOptions(
        output=Output.COMPOSITE, background=Colour(GREEN), layout=parse_layout("x:0.75")
    )
    image = render_image(options, frame, None, matte(alpha)).image
    assert tuple(image[60, 150]) == RED
    assert tuple(image[60, 40]) == GREEN
    mask = render_image(replace(options, output=Output.MASK), frame, None, matte(alpha)).image
    assert mask[60, 150] == 255
    assert mask[60, 40] == 0


def test_light_wrap_brightens_the_edge_only():
    frame, alpha = photo(LEFT)
    options = RenderOptions(output=Output.COMPOSITE, background=Colour((255, 255, 255)))
    plain = render_image(options, frame, None, matte(alpha)).image
    lit = render_image(replace(options, light_wrap=80), frame, None, matte(alpha)).image
    assert lit[60, 69].sum() > plain[60, 69].sum() + 60
    assert np.abs(lit[65, 40].astype(int) - plain[65, 40]).max() <= 2


def test_background_image_is_shown_behind_the_person():
    frame, alpha = photo(LEFT)
    background = Frame(np.full((50, 50, 3), 77, np.uint8), (50, 50))
    options = RenderOptions(output=Output.COMPOSITE, background=BackgroundImage())
    image = render_image(options, frame, background, matte(alpha)).image
    assert tuple(image[60, 40]) == RED
    assert tuple(image[60, 150]) == (77, 77, 77)
    with pytest.raises(ValueError, match="background image"):
        render_image(options, frame, None, matte(alpha))


def test_crop_is_the_persons_box_with_margin():
    frame, alpha = photo(RIGHT)
    options = RenderOptions(output=Output.CUTOUT, crop=True, crop_margin=50, decontaminate=True)
    image = render_image(options, frame, None, matte(alpha)).image
    assert image.shape == (100, 60, 4)  # clipped at the lower edge
    assert tuple(image[40, 30]) == (*RED, 255)


@pytest.mark.parametrize("invert", [False, True])
def test_trimap_has_a_band_around_the_outline(invert):
    frame, alpha = photo(LEFT)
    options = RenderOptions(output=Output.TRIMAP, trimap_band=2.5, invert=invert)
    composition = render_image(options, frame, None, matte(alpha))
    row = composition.image[60]
    assert row[[40, 150]].tolist() == ([0, 255] if invert else [255, 0])
    assert (row[67:73] == 128).all()
    assert row[[66, 73]].tolist() == ([0, 255] if invert else [255, 0])
    assert composition.box == LEFT


def test_cropped_trimap_is_a_part_of_the_whole_one():
    frame, alpha = photo(LEFT)
    options = RenderOptions(output=Output.TRIMAP, trimap_band=5)
    whole = render_image(options, frame, None, matte(alpha)).image
    part = render_image(replace(options, crop=True), frame, None, matte(alpha)).image
    assert (part == whole[20:110, 10:70]).all()


def test_clear_pixels_are_background_in_a_trimap():
    frame, alpha = photo(LEFT)
    opacity = np.full(HW, 255, np.uint8)
    opacity[:, 70:] = 0
    frame = replace(frame, opacity=opacity)
    image = render_image(
        RenderOptions(output=Output.TRIMAP, trimap_band=5), frame, None, matte(alpha)
    ).image
    assert (image[:, 70:] == 0).all()
    assert (image[60, 64:70] == 128).all()


def test_empty_mask_has_a_trimap_of_background():
    frame, alpha = photo()
    composition = render_image(RenderOptions(output=Output.TRIMAP), frame, None, matte(alpha))
    assert not composition.image.any()


FACES = RenderOptions(output=Output.COMPOSITE, background=BlurredFaces())


def test_blurred_faces_leave_the_rest_of_the_photo():
    frame, alpha = photo(LEFT)
    stripes = np.arange(200) % 4 < 2
    frame.rgb[:, stripes] = 255
    before = frame.rgb.copy()
    face = Face(top=30 / 120, left=20 / 200, height=20 / 120, width=20 / 200, score=1)
    composition = render_image(FACES, frame, None, matte(alpha, face))
    assert composition.blurred_faces == 1
    assert composition.image[30:50, 20:40].std() < before[30:50, 20:40].std() / 2
    changed = (composition.image != before).any(axis=2)
    assert not changed[:, 50:].any()
    assert not changed[60:].any()


@pytest.mark.parametrize("crop", [False, True])
def test_photo_without_a_face_is_shown_and_counts_zero(crop):
    frame, alpha = photo(LEFT)
    before = frame.rgb.copy()
    composition = render_image(replace(FACES, crop=crop), frame, None, matte(alpha))
    assert composition.blurred_faces == 0
    assert (composition.image == (before[20:110, 10:70] if crop else before)).all()


def test_faces_are_not_blurred_without_a_detector():
    frame, alpha = photo(LEFT)
    with pytest.raises(ValueError, match="no face detector"):
        render_image(FACES, frame, None, replace(matte(alpha), decision=None))


def test_mask_has_no_count_of_faces():
    frame, alpha = photo(LEFT)
    assert render_image(RenderOptions(), frame, None, matte(alpha)).blurred_faces is None
