"""Pixels of remove.bg's parameters.

The photo is green, 80 x 100, and its person is a red block of 20 x 10 at row 30 and column 40.
"""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from silhouette_seg.api.removebg.parameters import (
    WHOLE_IMAGE,
    Encoding,
    Length,
    Parameters,
    parse_fields,
)
from silhouette_seg.api.removebg.rendering import (
    RemovalResult,
    downscaled,
    encode_result,
    render_result,
    result_size,
)
from silhouette_seg.api.removebg.routes import RemovalJob, accepts_json_only, decode_photo
from silhouette_seg.errors import BadParameter, ForegroundMissing, TooManyPixels
from silhouette_seg.pipeline.options import Output, RenderOptions
from silhouette_seg.pipeline.photo import ImageFile
from silhouette_seg.pipeline.segmenter import Matte, Timings
from silhouette_seg.vision.codec.decode import Frame, read_header
from silhouette_seg.vision.mask.quality import measure_quality
from tests.support.images import make_jpeg, make_png

PHOTO_HW = (80, 100)
BLOCK = slice(30, 50), slice(40, 50)
IN_BLOCK, OUTSIDE = (35, 45), (0, 0)
CUTOUT = RenderOptions(output=Output.CUTOUT)
RED, CLEAR = [255, 0, 0, 255], [0, 0, 0, 0]


def matte_of(alpha: np.ndarray) -> Matte:
    return Matte(alpha, measure_quality(alpha), None, Timings(0, 0, 0, 0, 0))


def rendered(
    parameters: Parameters,
    background: Frame | None = None,
    alpha_value: int = 255,
    max_pixels: int = 50_000_000,
) -> RemovalResult:
    rgb = np.zeros((*PHOTO_HW, 3), np.uint8)
    rgb[..., 1] = 255
    alpha = np.zeros(PHOTO_HW, np.uint8)
    rgb[BLOCK] = (255, 0, 0)
    alpha[BLOCK] = alpha_value
    photo, matte = Frame(rgb, PHOTO_HW), matte_of(alpha)
    image, box = render_result(parameters, CUTOUT, photo, background, matte, PHOTO_HW, max_pixels)
    return encode_result(image, box, parameters.encoding)


def pixels(result: RemovalResult) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(result.body)))
    assert image.shape[:2] == result.size_hw
    return image


def block_of(rgba: np.ndarray) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of the visible pixels."""
    rows, columns = np.nonzero(rgba[..., 3] > 127)
    top, left = int(rows.min()), int(columns.min())
    return top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([250_000, 1_500_000, None]))
def test_result_size_keeps_shape_within_pixel_limit(height, width, max_pixels):
    small = result_size((height, width), max_pixels)
    if max_pixels is None or height * width <= max_pixels:
        assert small == (height, width)
        return
    assert small[0] * small[1] <= max_pixels or 1 in small
    assert small[0] <= height
    assert small[1] <= width
    assert abs(small[0] / height - small[1] / width) <= 2 / min(height, width)


def test_default_result_is_png_cutout_of_photo_size():
    result = rendered(Parameters())
    assert result.media_type == "image/png"
    assert block_of(pixels(result)) == (30, 40, 20, 10)
    assert pixels(result)[IN_BLOCK].tolist() == RED
    assert pixels(result)[OUTSIDE].tolist() == CLEAR
    assert (result.box.top, result.box.left) == (30, 40)
    assert (result.box.height, result.box.width) == (20, 10)


def test_crop_leaves_the_person_alone():
    image = pixels(rendered(Parameters(crop=True)))
    assert image.shape == (20, 10, 4)
    assert (image == RED).all()


@pytest.mark.parametrize(
    ("margins", "size_hw", "corner"),
    [
        ((Length(1), Length(50, percent=True), Length(10, percent=True), Length(4)),
         (1 + 20 + 2, 4 + 10 + 5), (1, 4)),
        ((Length(100),) * 4, (220, 210), (100, 100)),  # larger than the photo
    ],
)  # fmt: skip
def test_crop_margins_surround_the_person(margins, size_hw, corner):
    rgba = pixels(rendered(Parameters(crop=True, crop_margin=margins)))
    assert rgba.shape == (*size_hw, 4)
    assert block_of(rgba) == (*corner, 20, 10)


@pytest.mark.parametrize(
    ("scale", "margin", "size_hw"),
    [(0.5, Length(0), (40, 20)), (1.0, Length(0), (80, 40)), (0.5, Length(5), (50, 30)),
     (0.5, Length(50, percent=True), (80, 40)), (0.1, Length(0), (8, 4))],
)  # fmt: skip
def test_crop_of_scaled_person_has_the_scaled_size(scale, margin, size_hw):
    result = rendered(Parameters(crop=True, scale=scale, crop_margin=(margin,) * 4))
    rgba = pixels(result)
    assert rgba.shape == (*size_hw, 4)
    height, width = round(80 * scale), round(40 * scale)
    corner = (size_hw[0] - height) // 2, (size_hw[1] - width) // 2
    assert block_of(rgba) == pytest.approx((*corner, height, width), abs=1)
    assert (result.box.height, result.box.width) == (20, 10)


def test_crop_margins_beyond_pixel_limit_are_rejected():
    parameters = Parameters(crop=True, crop_margin=(Length(50, percent=True),) * 4)
    assert pixels(rendered(parameters, max_pixels=800)).shape == (40, 20, 4)
    with pytest.raises(TooManyPixels) as rejected:
        rendered(parameters, max_pixels=799)
    assert (rejected.value.limit, rejected.value.actual) == (799, 800)


@pytest.mark.parametrize(
    ("parameters", "block"),
    [
        (Parameters(position=(0.0, 0.0)), (0, 0, 20, 10)),
        (Parameters(position=(1.0, 1.0)), (60, 90, 20, 10)),
        (Parameters(position=(0.5, 0.5)), (30, 45, 20, 10)),
        (Parameters(scale=0.5, position=(0.0, 0.0)), (0, 0, 40, 20)),
        (Parameters(scale=1.0, position=(0.5, 0.5)), (0, 30, 80, 40)),
        (Parameters(scale=0.5), (20, 35, 40, 20)),
    ],
)
def test_scale_and_position_place_the_person(parameters, block):
    rgba = pixels(rendered(parameters))
    assert rgba.shape == (*PHOTO_HW, 4)
    assert block_of(rgba) == pytest.approx(block, abs=1)


def test_region_of_interest_clears_the_mask_outside():
    upper = (Length(0), Length(0), Length(100, percent=True), Length(40))
    assert block_of(pixels(rendered(Parameters(roi=upper)))) == (30, 40, 10, 10)
    assert pixels(rendered(Parameters(roi=WHOLE_IMAGE))).shape == (*PHOTO_HW, 4)


def test_region_of_interest_without_person_finds_nothing():
    with pytest.raises(ForegroundMissing):
        rendered(Parameters(roi=(Length(60), Length(0), Length(100), Length(80))))


def test_empty_region_of_interest_is_rejected():
    with pytest.raises(BadParameter, match="empty"):
        rendered(Parameters(roi=(Length(5), Length(5), Length(5), Length(9))))


def test_opaque_background_makes_an_exact_rgb_picture():
    blue = (0, 0, 255, 255)
    assert rendered(Parameters(bg_color=blue)).media_type == "image/jpeg"
    image = pixels(rendered(Parameters(bg_color=blue, encoding=Encoding.PNG)))
    assert image[OUTSIDE].tolist() == [0, 0, 255]
    assert image[IN_BLOCK].tolist() == [255, 0, 0]


def test_transparent_background_makes_a_png():
    assert rendered(Parameters(bg_color=(0, 0, 0, 0))).media_type == "image/png"


def test_background_picture_covers_the_photo():
    background = Frame(np.full((10, 10, 3), (0, 0, 250), np.uint8), (10, 10))
    image = pixels(rendered(Parameters(encoding=Encoding.PNG), background))
    assert image[OUTSIDE].tolist() == [0, 0, 250]
    assert image.shape == (*PHOTO_HW, 3)


def test_translucent_background_blends_with_straight_alpha():
    rgba = pixels(rendered(Parameters(bg_color=(0, 0, 255, 102)), alpha_value=204))
    assert rgba[OUTSIDE].tolist() == [0, 0, 255, 102]
    # 80 % of red, and 40 % of blue for the 20 % that are left: 88 % in all.
    assert rgba[IN_BLOCK].tolist() == pytest.approx([232, 0, 23, 224], abs=1)


def test_encoding_chooses_media_type_and_fills_jpeg_with_white():
    assert rendered(Parameters(encoding=Encoding.WEBP)).media_type == "image/webp"
    jpeg = rendered(Parameters(encoding=Encoding.JPG))
    assert jpeg.media_type == "image/jpeg"
    assert pixels(jpeg)[OUTSIDE].tolist() == [255, 255, 255]


def test_alpha_channel_is_a_grey_picture():
    mask = rendered(Parameters(alpha_only=True))
    assert mask.media_type == "image/png"
    assert pixels(mask).shape == PHOTO_HW
    assert pixels(mask)[IN_BLOCK] == 255
    assert pixels(rendered(Parameters(alpha_only=True, encoding=Encoding.JPG))).shape == PHOTO_HW


@pytest.mark.parametrize("alpha_only", [False, True])
def test_zip_holds_colours_and_alpha(alpha_only):
    result = rendered(Parameters(encoding=Encoding.ZIP, alpha_only=alpha_only))
    assert result.media_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(result.body)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        alpha = np.asarray(Image.open(io.BytesIO(archive.read("alpha.png"))))
        colours = np.asarray(Image.open(io.BytesIO(archive.read("color.jpg"))))
    assert alpha.shape == PHOTO_HW
    assert colours.shape == (*PHOTO_HW, 3)
    assert (alpha[IN_BLOCK], alpha[OUTSIDE]) == (255, 0)


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(),
        Parameters(crop=True),
        Parameters(position=(0.5, 0.5)),
        Parameters(position=(0.5, 0.5), bg_color=(0, 0, 255, 255)),
    ],
)
def test_rendering_releases_finished_pictures(parameters):
    """Bytes per pixel: cut-out, person and canvas have four each."""
    size_hw = (1000, 1000)
    alpha = np.full(size_hw, 255, np.uint8)
    photo, matte = Frame(np.zeros((*size_hw, 3), np.uint8), size_hw), matte_of(alpha)
    tracemalloc.start()
    try:
        render_result(parameters, CUTOUT, photo, None, matte, size_hw, alpha.size)
        assert tracemalloc.get_traced_memory()[1] < 10 * alpha.size
    finally:
        tracemalloc.stop()


def job_of(photo: bytes, parameters: Parameters, max_pixels: int = 50_000_000) -> RemovalJob:
    return RemovalJob(ImageFile(photo, read_header(photo)), None, parameters, CUTOUT, max_pixels)


@pytest.mark.parametrize(
    ("fields", "max_pixels", "expected"),
    [
        ({"size": "full"}, 10**6, 10_000),
        ({"size": "full", "crop": "true"}, 10**6, 10_000),
        ({"size": "full", "crop_margin": "50%"}, 10**6, 10_000),  # nothing is cropped
        ({"size": "full", "crop": "true", "crop_margin": "50%"}, 10**6, 40_000),
        ({"size": "full", "crop": "true", "crop_margin": "50% 0 0 0"}, 10**6, 15_000),
        ({"size": "full", "crop": "true", "crop_margin": "100px"}, 10**6, 90_000),
        ({"size": "full", "crop": "true", "crop_margin": "500px"}, 50_000, 50_000),
    ],
)
def test_job_pixels_include_crop_margins(fields, max_pixels, expected):
    photo = make_png(np.zeros((100, 100, 3), np.uint8))
    assert job_of(photo, parse_fields(fields), max_pixels).pixels == expected


@pytest.mark.parametrize(
    ("size", "min_size", "decoded_hw", "size_hw"),
    [
        ("preview", (384, 384), (800, 800), (500, 500)),
        ("preview", (1152, 1152), (1600, 1600), (500, 500)),
        ("preview", (700, 300), (800, 800), (500, 500)),
        ("medium", (384, 384), (1600, 1600), (1224, 1224)),
        ("full", (384, 384), (1600, 1600), (1600, 1600)),
    ],
)
def test_photo_is_decoded_with_the_pixels_segmentation_needs(size, min_size, decoded_hw, size_hw):
    """A small result needs many pixels too: the model zooms in on a small person."""
    photo = make_jpeg(np.zeros((1600, 1600, 3), np.uint8))
    frame = decode_photo(job_of(photo, parse_fields({"size": size})), min_size)
    assert frame.rgb.shape == (*decoded_hw, 3)
    assert frame.photo_hw == size_hw
    assert downscaled(frame).rgb.shape == (*size_hw, 3)


@pytest.mark.parametrize(
    ("accept", "json_only"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", True),
        ("Application/JSON; q=1", True),
        ("application/json, text/plain, */*", False),
        ("image/png, application/json", False),
    ],
)
def test_json_is_sent_if_accept_names_nothing_else(accept, json_only):
    assert accepts_json_only(accept) is json_only
