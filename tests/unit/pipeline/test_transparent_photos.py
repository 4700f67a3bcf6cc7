"""Rendered images of transparent photos: alpha is nowhere above the photo's, colours stay."""

from dataclasses import replace

import numpy as np
import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.pipeline.options import (
    PHOTO_DEFAULTS,
    Blur,
    Colour,
    Output,
    PersonSelection,
    RenderOptions,
)
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.vision.codec.decode import Frame, decode, read_header
from silhouette_seg.vision.compose.layout import parse_layout
from tests.support.images import avatar, cut_out_person, make_png, soft_disc
from tests.support.tiny_model import tiny_spec

CUTOUT = replace(PHOTO_DEFAULTS, output=Output.CUTOUT)
EDITS = [
    RenderOptions(),
    PHOTO_DEFAULTS,
    RenderOptions(threshold=0.3),
    RenderOptions(grow=9),
    RenderOptions(feather=7),
    RenderOptions(invert=True),
    RenderOptions(person=PersonSelection.DOMINANT, grow=3, feather=2, invert=True),
]


def frame(rgba: np.ndarray) -> Frame:
    png = make_png(rgba)
    return decode(png, read_header(png))


async def rendered(workers, rgba, options: RenderOptions):
    segmenter = Segmenter(FakeEngine(tiny_spec(size_hw=(48, 64))), workers)
    matte = await segmenter.segment(frame(rgba))
    return render_image(options, frame(rgba), None, matte)


@pytest.mark.parametrize("output", [Output.MASK, Output.CUTOUT])
@pytest.mark.parametrize("edits", EDITS)
@pytest.mark.parametrize("make", [avatar, cut_out_person])
async def test_result_alpha_is_never_above_the_photos(workers, make, edits, output):
    rgba = make()
    image = (await rendered(workers, rgba, replace(edits, output=output))).image
    alpha = image if output is Output.MASK else image[..., 3]
    assert (alpha <= rgba[..., 3]).all()
    has_background = make is avatar
    assert alpha.any() == (has_background or not edits.invert)


async def test_mask_of_avatar_is_its_person(workers):
    mask = (await rendered(workers, avatar(), RenderOptions())).image
    assert np.abs(mask[:, :48].astype(int) - avatar()[:, :48, 3]).max() <= 3
    assert mask[:, 80:].max() <= 3


async def test_inverted_avatar_is_the_rest_of_what_is_visible(workers):
    mask = (await rendered(workers, avatar(), RenderOptions(invert=True))).image
    assert mask[:, :48].max() <= 3
    assert np.abs(mask[:, 80:].astype(int) - avatar()[:, 80:, 3]).max() <= 3


async def test_cut_out_sent_again_is_unchanged(workers):
    first = (await rendered(workers, cut_out_person(), CUTOUT)).image
    again = (await rendered(workers, first, CUTOUT)).image
    assert (first[..., 3] == cut_out_person()[..., 3]).all()
    assert (again == first).all()


async def test_soft_edge_of_cut_out_keeps_its_colour(workers):
    image = (await rendered(workers, cut_out_person(), CUTOUT)).image
    edge = image[47, 30]
    assert edge.tolist() == pytest.approx([255, 0, 0, 128], abs=1)


async def test_measures_of_cut_out_describe_what_is_visible(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec(size_hw=(48, 64))), workers)
    quality = (await segmenter.segment(frame(cut_out_person()))).quality
    visible = (cut_out_person()[..., 3] > 127).mean()
    assert quality.foreground
    assert quality.coverage == pytest.approx(visible, abs=0.03)


async def test_measures_of_avatar_leave_out_what_is_clear(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec(size_hw=(48, 64))), workers)
    quality = (await segmenter.segment(frame(avatar()))).quality
    assert quality.coverage == pytest.approx(0.5 * (avatar()[..., 3] > 127).mean(), abs=0.03)


async def test_clear_photo_has_no_person(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec()), workers)
    matte = await segmenter.segment(frame(np.zeros((40, 60, 4), np.uint8)))
    assert not matte.quality.foreground
    assert not matte.alpha.any()


async def test_translucent_person_is_found_with_the_photos_alpha(workers):
    rgba = np.zeros((96, 128, 4), np.uint8)
    rgba[:, :64, 0], rgba[..., 3] = 255, 100
    composition = await rendered(workers, rgba, RenderOptions(crop=True))
    assert composition.box is not None
    assert (composition.image[:, :50] == 100).all()


@pytest.mark.parametrize("background", [Colour((0, 0, 200)), Blur(3)])
async def test_composite_of_avatar_shows_the_background_where_it_is_clear(workers, background):
    options = RenderOptions(Output.COMPOSITE, background=background)
    image = (await rendered(workers, avatar(), options)).image
    behind = (0, 0, 200) if isinstance(background, Colour) else (255, 255, 255)
    assert image[2, 2].tolist() == pytest.approx(behind, abs=2)
    assert image[48, 40].tolist() == [255, 0, 0]


async def test_composite_blends_the_soft_edge_of_cut_out(workers):
    options = replace(PHOTO_DEFAULTS, output=Output.COMPOSITE, background=Colour((0, 0, 200)))
    image = (await rendered(workers, cut_out_person(), options)).image
    assert image[47, 30].tolist() == pytest.approx([128, 0, 100], abs=2)
    assert image[47, 5].tolist() == [0, 0, 200]


async def test_layout_places_what_is_visible(workers):
    options = replace(PHOTO_DEFAULTS, layout=parse_layout("scale:1"))
    mask = (await rendered(workers, cut_out_person(), options)).image
    assert (mask == cut_out_person()[..., 3]).all()


async def test_person_far_from_the_edge_of_avatar_keeps_its_pixels(workers):
    rgba = np.dstack([np.zeros((200, 200, 3), np.uint8), soft_disc(200, 200)])
    rgba[80:120, 80:120, 0] = 255
    opaque = rgba.copy()
    opaque[..., 3] = 255
    limited, whole = [
        (await rendered(workers, pixels, RenderOptions())).image for pixels in (rgba, opaque)
    ]
    assert (limited == whole).all()
