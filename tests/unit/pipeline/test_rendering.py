"""What becomes of a photo and its matte, seen from outside: sizes, who is kept, what shows."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Domain, DomainDecision, Face
from silhouette_seg.pipeline.options import (
    BackgroundImage,
    Blur,
    Colour,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte, Timings
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose.layout import read_layout
from silhouette_seg.vision.mask.quality import Box, measure_quality

RED, BLUE, GREEN = (200, 30, 30), (20, 40, 220), (0, 255, 0)
HW = (120, 200)


def photo(*people: Box, hw=HW) -> tuple[Frame, NDArray[np.uint8]]:
    """Red people before blue, and their mask."""
    rgb = np.empty((*hw, 3), np.uint8)
    rgb[:] = BLUE
    alpha = np.zeros(hw, np.uint8)
    for box in people:
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        rgb[rows, columns], alpha[rows, columns] = RED, 255
    return Frame(rgb, hw), alpha


def matte(alpha, face: Face | None = None) -> Matte:
    routed = DomainDecision(Domain.HALF_BODY, face, detector_ran=True)
    return Matte(alpha, measure_quality(alpha), routed, Timings(0, 0, 0, 0, 0))


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
        RenderOptions(layout=read_layout("x:0.2,scale:0.5;flip:true"), light_wrap=50),
    ],
)
@pytest.mark.parametrize("people", [(), (LEFT,), (LEFT, RIGHT)])
def test_every_result_is_of_the_photos_size(options, output, people):
    frame, alpha = photo(*people)
    channels = {Output.MASK: (), Output.CUTOUT: (4,), Output.COMPOSITE: (3,)}[output]
    drawn = render_image(replace(options, output=output), frame, None, matte(alpha))
    assert drawn.image.shape == (*HW, *channels)
    assert drawn.image.dtype == np.uint8


def test_a_plain_mask_is_what_the_model_gave():
    frame, alpha = photo(LEFT, RIGHT)
    drawn = render_image(RenderOptions(), frame, None, matte(alpha))
    assert (drawn.image == alpha).all()
    assert drawn.box == Box(20, 10, 90, 160)
    assert drawn.pieces == ()


def test_one_person_is_kept_and_the_other_told_of():
    frame, alpha = photo(LEFT, RIGHT)
    drawn = render_image(RenderOptions(person=PersonSelection.DOMINANT), frame, None, matte(alpha))
    _, expected = photo(LEFT)
    assert (drawn.image == expected).all()
    assert drawn.box == LEFT
    assert [piece.kept for piece in drawn.pieces] == [True, False]


def test_the_dominant_face_decides_who():
    frame, alpha = photo(LEFT, RIGHT)
    face = Face(top=50 / 120, left=145 / 200, height=20 / 120, width=20 / 200, score=1)
    drawn = render_image(
        RenderOptions(person=PersonSelection.DOMINANT), frame, None, matte(alpha, face)
    )
    assert drawn.box == RIGHT


def test_the_one_who_is_not_kept_belongs_to_the_background():
    frame, alpha = photo(LEFT, RIGHT)
    options = RenderOptions(
        output=Output.COMPOSITE, background=Blur(1), person=PersonSelection.DOMINANT
    )
    drawn = render_image(options, frame, None, matte(alpha))
    assert np.abs(drawn.image[80, 155].astype(int) - RED).max() < 30


def test_a_blurred_background_shows_nothing_of_the_person():
    frame, alpha = photo(LEFT)
    drawn = render_image(
        RenderOptions(output=Output.COMPOSITE, background=Blur(5)), frame, None, matte(alpha)
    )
    beside = drawn.image[40:100, 75:90].reshape(-1, 3).astype(int)
    assert np.abs(beside - BLUE).max() <= 3


def test_a_hard_mask_leaves_no_glow_of_its_rim():
    frame, alpha = photo(LEFT)
    frame.rgb[20:110, 70:74], alpha[20:110, 70:74] = RED, 200
    options = RenderOptions(output=Output.COMPOSITE, background=Blur(5), threshold=0.9)
    drawn = render_image(options, frame, None, matte(alpha))
    assert np.abs(drawn.image[60, 76:90].astype(int) - BLUE).max() <= 3


def test_refining_takes_the_edge_from_the_photo():
    """The mask is as soft as that of a model that saw the photo at an eighth of its size."""
    frame, truth = photo(Box(160, 160, 720, 480), hw=(960, 1600))
    soft = cv2.resize(cv2.resize(truth, (200, 120), interpolation=cv2.INTER_AREA), (1600, 960))
    soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), 8), np.uint8)

    def error(options):
        image = render_image(options, frame, None, matte(soft)).image
        return np.abs(image.astype(int) - truth)[300:700, 400:].mean()

    assert error(RenderOptions(refine=Refinement.GUIDED)) < 0.5 * error(RenderOptions())


def test_a_mask_is_refined_by_a_smaller_photo_as_well():
    frame, alpha = photo(LEFT)
    small = Frame(np.ascontiguousarray(frame.rgb[::2, ::2]), HW)
    drawn = render_image(RenderOptions(refine=Refinement.GUIDED), small, None, matte(alpha))
    assert drawn.image.shape == HW
    assert drawn.image[60, 40] == 255
    assert drawn.image[60, 120] == 0


@pytest.mark.parametrize("clean", [False, True])
def test_decontamination_takes_the_old_background_out(clean):
    frame, alpha = photo(LEFT)
    mixed = (np.array(RED) + np.array(BLUE)) // 2
    frame.rgb[20:110, 70] = mixed
    alpha[20:110, 70] = 128
    options = RenderOptions(output=Output.CUTOUT, decontaminate=clean)
    rim = render_image(options, frame, None, matte(alpha)).image[60, 70]
    assert rim[3] == 128
    assert (np.abs(rim[:3].astype(int) - RED).max() < 30) == clean


def test_a_grown_cut_out_shows_more_of_the_photo():
    frame, alpha = photo(Box(300, 300, 400, 400), hw=(1000, 1000))
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 4), np.uint8)
    options = RenderOptions(output=Output.CUTOUT, grow=60, decontaminate=True)
    image = render_image(options, frame, None, matte(soft)).image
    ring = (image[..., 3] == 255) & (soft == 0)
    assert ring.sum() > 50_000
    assert (image[ring][:, :3] == BLUE).all()


def test_the_person_goes_where_the_layout_says():
    frame, alpha = photo(LEFT)
    options = RenderOptions(
        output=Output.COMPOSITE, background=Colour(GREEN), layout=read_layout("x:0.75")
    )
    image = render_image(options, frame, None, matte(alpha)).image
    assert tuple(image[60, 150]) == RED
    assert tuple(image[60, 40]) == GREEN
    mask = render_image(replace(options, output=Output.MASK), frame, None, matte(alpha)).image
    assert mask[60, 150] == 255
    assert mask[60, 40] == 0


def test_light_of_the_background_comes_round_the_rim():
    frame, alpha = photo(LEFT)
    options = RenderOptions(output=Output.COMPOSITE, background=Colour((255, 255, 255)))
    plain = render_image(options, frame, None, matte(alpha)).image
    lit = render_image(replace(options, light_wrap=80), frame, None, matte(alpha)).image
    assert lit[60, 69].sum() > plain[60, 69].sum() + 60
    assert np.abs(lit[65, 40].astype(int) - plain[65, 40]).max() <= 2


def test_a_picture_goes_behind_the_person():
    frame, alpha = photo(LEFT)
    picture = Frame(np.full((50, 50, 3), 77, np.uint8), (50, 50))
    options = RenderOptions(output=Output.COMPOSITE, background=BackgroundImage())
    image = render_image(options, frame, picture, matte(alpha)).image
    assert tuple(image[60, 40]) == RED
    assert tuple(image[60, 150]) == (77, 77, 77)
    with pytest.raises(ValueError, match="comes with the picture"):
        render_image(options, frame, None, matte(alpha))


def test_a_crop_is_the_persons_box_and_its_margin():
    frame, alpha = photo(RIGHT)
    options = RenderOptions(output=Output.CUTOUT, crop=True, crop_margin=50, decontaminate=True)
    image = render_image(options, frame, None, matte(alpha)).image
    assert image.shape == (100, 60, 4)  # cut off at the lower edge
    assert tuple(image[40, 30]) == (*RED, 255)
