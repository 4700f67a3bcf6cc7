"""remove.bg's parameters and errors, and what pixels they make."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from silhouette_seg.api.removebg.errors import translated
from silhouette_seg.api.removebg.parameters import (
    PARAMETERS,
    WHOLE,
    Encoding,
    Length,
    Wanted,
    parse,
)
from silhouette_seg.api.removebg.rendering import Removed, packed, paint, reduced, size_of
from silhouette_seg.api.removebg.routes import Removal, load_photo, wants_json
from silhouette_seg.errors import (
    BadParameter,
    BodyTooLarge,
    Draining,
    ForegroundMissing,
    MissingImage,
    Overloaded,
    TooManyPixels,
    Unauthorized,
    UndecodableImage,
    UnknownParameter,
)
from silhouette_seg.pipeline.options import Output, RenderOptions
from silhouette_seg.pipeline.photo import ImageFile
from silhouette_seg.pipeline.segmenter import Matte, Timings
from silhouette_seg.vision.codec.decode import Frame, read_header
from silhouette_seg.vision.mask.quality import measure_quality
from tests.support.images import make_jpeg, make_png

PERCENT = {"percent": True}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, Wanted(max_pixels=250_000)),
        ({"size": "regular"}, Wanted(max_pixels=250_000)),
        ({"size": "medium"}, Wanted(max_pixels=1_500_000)),
        ({"size": "hd"}, Wanted(max_pixels=4_000_000)),
        *[({"size": size}, Wanted(max_pixels=None)) for size in ("auto", "full", "4k", "50MP")],
        ({"type": "auto"}, Wanted()),
        ({"type": "person", "type_level": "none"}, Wanted(names_type=False)),
        ({"type_level": "latest"}, Wanted()),
        ({"format": "jpeg"}, Wanted(encoding=Encoding.JPG)),
        ({"format": "zip", "channels": "alpha"}, Wanted(encoding=Encoding.ZIP, only_alpha=True)),
        ({"roi": "0% 0% 100% 100%"}, Wanted()),
        ({"roi": "1 2px 50% 100%"}, Wanted(roi=(
            Length(1), Length(2), Length(50, **PERCENT), Length(100, **PERCENT),
        ))),
        ({"crop": "True", "crop_margin": "10%"}, Wanted(
            crop=True, crop_margin=(Length(10, **PERCENT),) * 4,
        )),
        ({"crop": "1", "crop_margin": "5px 10%"}, Wanted(
            crop=True,
            crop_margin=(Length(5), Length(10, **PERCENT), Length(5), Length(10, **PERCENT)),
        )),
        ({"crop": "true", "crop_margin": "1 2 3 4"}, Wanted(
            crop=True, crop_margin=(Length(1), Length(2), Length(3), Length(4)),
        )),
        ({"scale": "50%"}, Wanted(scale=0.5, position=(0.5, 0.5))),
        ({"scale": "50%", "position": "original"}, Wanted(scale=0.5)),
        ({"position": "25%"}, Wanted(position=(0.25, 0.25))),
        ({"position": "0% 100%"}, Wanted(position=(0, 1))),
        ({"position": "center"}, Wanted(position=(0.5, 0.5))),
        ({"scale": "original", "position": "original"}, Wanted()),
        ({"bg_color": "fff"}, Wanted(bg_color=(255, 255, 255, 255))),
        ({"bg_color": "#81d4fa77"}, Wanted(bg_color=(0x81, 0xD4, 0xFA, 0x77))),
        ({"bg_color": "f008"}, Wanted(bg_color=(255, 0, 0, 0x88))),
        ({"bg_color": "Green"}, Wanted(bg_color=(0, 128, 0, 255))),
        ({"bg_color": "transparent"}, Wanted(bg_color=(0, 0, 0, 0))),
        ({"image_url": "", "bg_image_url": "", "bg_color": "", "size": ""}, Wanted()),
        ({"add_shadow": "false", "semitransparency": "true", "shadow_method": "latest"}, Wanted()),
        ({"shadow_type": "none", "shadow_opacity": "30"}, Wanted()),
    ],
)  # fmt: skip
def test_parameters_are_read(fields, wanted):
    assert parse(fields) == wanted


BAD = [
    ("size", "huge"), ("type", "martian"), ("type_level", "3"), ("format", "gif"),
    ("roi", "0 0 1"), ("roi", "0 0 x y"), ("roi", "-1 0 1 1"), ("crop", "maybe"),
    ("crop_margin", "51%"), ("crop_margin", "501px"), ("crop_margin", "1 2 3"),
    ("crop_margin", " "), ("crop_margin", "nan"), ("scale", "9%"), ("scale", "101%"),
    ("scale", "0.5"), ("position", "101%"), ("position", "left"), ("position", "1% 2% 3%"),
    ("channels", "rgb"), ("add_shadow", "true"), ("shadow_type", "drop"),
    ("shadow_opacity", "101"), ("semitransparency", "x"), ("bg_color", "ff"),
    ("bg_color", "fffff"), ("bg_color", "fffffff"), ("bg_color", "nocolor"),
    ("image_url", "http://127.0.0.1/a.jpg"), ("bg_image_url", "http://127.0.0.1/a.jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), BAD)
def test_bad_parameters_are_refused_by_their_name(name, text):
    with pytest.raises(BadParameter) as refused:
        parse({name: text})
    status, body = translated(refused.value)
    (error,) = json.loads(body)["errors"]
    assert (status, error["code"]) == (400, f"invalid_{name}")
    assert error["title"].startswith(f"{name}: ")


@given(st.sampled_from(sorted(PARAMETERS)), st.text(max_size=20))
def test_any_text_is_read_or_refused(name, text):
    try:
        parse({name: text})
    except (BadParameter, ForegroundMissing):
        return


def test_what_does_not_go_together():
    for fields, name in (
        ({"crop": "true", "scale": "50%"}, "scale"),
        ({"crop": "true", "position": "center"}, "position"),
        ({"crop": "true", "position": "center", "scale": "original"}, "position"),
    ):
        with pytest.raises(BadParameter) as idle:
            parse(fields)
        assert idle.value.detail == f"{name}: has no effect with crop=true"
    with pytest.raises(BadParameter, match="background"):
        parse({"channels": "alpha", "bg_color": "fff"})
    with pytest.raises(BadParameter) as both:
        parse({"bg_color": "fff"}, has_picture=True)
    assert json.loads(translated(both.value)[1])["errors"][0]["code"] == "multiple_bg_sources"
    with pytest.raises(UnknownParameter, match="nope"):
        parse({"nope": "1"})


@pytest.mark.parametrize("kind", ["car", "product", "animal", "graphic", "other"])
def test_other_types_find_nothing(kind):
    with pytest.raises(ForegroundMissing):
        parse({"type": kind})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MissingImage("No."), 400, "missing_source"),
        (BodyTooLarge("Too many.", limit=5, actual=6), 400, "file_too_large"),
        (UndecodableImage("No."), 400, "failed_to_read_image"),
        (TooManyPixels("Too many."), 400, "resolution_too_high"),
        (ForegroundMissing("Nobody."), 400, "unknown_foreground"),
        (Unauthorized("No key."), 403, "auth_failed"),
        (Overloaded("Full."), 429, "rate_limit_exceeded"),
        (Draining("Ending."), 503, "draining"),
        (BadParameter("has no name"), 400, "invalid_parameter"),
        (BadParameter("size: is odd"), 400, "invalid_size"),
        (BadParameter("size_of_it: is none of ours"), 400, "invalid_parameter"),
        (BadParameter("image_file_b64: is not base64"), 400, "failed_to_read_image"),
    ],
)
def test_our_errors_in_their_words(error, status, code):
    translated_status, body = translated(error)
    (said,) = json.loads(body)["errors"]
    assert (translated_status, said["code"]) == (status, code)
    assert said["title"]
    assert said["detail"].startswith(error.detail.rstrip("."))
    if error.limit:
        assert "limit 5, got 6" in said["detail"]


@pytest.mark.parametrize(
    ("accept", "json_alone"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", True),
        ("Application/JSON; q=1", True),
        ("application/json, text/plain, */*", False),
        ("image/png, application/json", False),
    ],
)
def test_json_is_for_who_accepts_nothing_else(accept, json_alone):
    assert wants_json(accept) is json_alone


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([250_000, 1_500_000, None]))
def test_sizes_keep_the_shape_within_the_pixels(height, width, most):
    small = size_of((height, width), most)
    if most is None or height * width <= most:
        assert small == (height, width)
        return
    assert small[0] * small[1] <= most or 1 in small
    assert small[0] <= height
    assert small[1] <= width
    assert abs(small[0] / height - small[1] / width) <= 2 / min(height, width)


# Pixels: the person is a red block of 20 x 10 at (30, 40) on green, 80 x 100.

PHOTO_HW = (80, 100)
BLOCK = slice(30, 50), slice(40, 50)
RED, GREEN, CLEAR = [255, 0, 0, 255], [0, 255, 0], [0, 0, 0, 0]


def painted(
    wanted: Wanted,
    picture: Frame | None = None,
    alpha_value: int = 255,
    max_pixels: int = 50_000_000,
) -> Removed:
    rgb = np.zeros((*PHOTO_HW, 3), np.uint8)
    rgb[..., 1] = 255
    alpha = np.zeros(PHOTO_HW, np.uint8)
    rgb[BLOCK] = (255, 0, 0)
    alpha[BLOCK] = alpha_value
    found = Matte(alpha, measure_quality(alpha), None, Timings(0, 0, 0, 0, 0))
    look = RenderOptions(output=Output.CUTOUT)
    photo = Frame(rgb, PHOTO_HW)
    drawn, box = paint(wanted, look, photo, picture, found, PHOTO_HW, max_pixels)
    return packed(drawn, box, wanted.encoding)


def image(removed: Removed) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(removed.body)))
    assert pixels.shape[:2] == removed.size_hw
    return pixels


def block_of(rgba: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of what can be seen."""
    rows, columns = np.nonzero(rgba[..., 3] > 127)
    top, left = int(rows.min()), int(columns.min())
    return top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left


def test_a_cutout_is_a_png_of_the_photos_size():
    removed = painted(Wanted())
    assert removed.media_type == "image/png"
    assert block_of(image(removed)) == (30, 40, 20, 10)
    assert image(removed)[35, 45].tolist() == RED
    assert image(removed)[0, 0].tolist() == CLEAR
    assert (removed.box.top, removed.box.left) == (30, 40)
    assert (removed.box.height, removed.box.width) == (20, 10)


def test_crop_and_its_margins():
    assert image(painted(Wanted(crop=True))).shape == (20, 10, 4)
    assert (image(painted(Wanted(crop=True))) == RED).all()
    lengths = (Length(1), Length(50, percent=True), Length(10, percent=True), Length(4))
    rgba = image(painted(Wanted(crop=True, crop_margin=lengths)))
    assert rgba.shape == (1 + 20 + 2, 4 + 10 + 5, 4)
    assert block_of(rgba) == (1, 4, 20, 10)


def test_a_margin_may_be_larger_than_the_photo():
    rgba = image(painted(Wanted(crop=True, crop_margin=(Length(100),) * 4)))
    assert block_of(rgba) == (100, 100, 20, 10)
    assert rgba.shape == (220, 210, 4)


def test_margins_make_no_picture_larger_than_a_photo_may_be():
    wanted = Wanted(crop=True, crop_margin=(Length(50, percent=True),) * 4)
    assert image(painted(wanted, max_pixels=800)).shape == (40, 20, 4)
    with pytest.raises(TooManyPixels) as refused:
        painted(wanted, max_pixels=799)
    assert (refused.value.limit, refused.value.actual) == (799, 800)
    status, body = translated(refused.value)
    (said,) = json.loads(body)["errors"]
    assert (status, said["code"]) == (400, "resolution_too_high")
    assert said["detail"].endswith("(limit 799, got 800).")


def removal(photo: bytes, wanted: Wanted, max_pixels: int = 50_000_000) -> Removal:
    source = ImageFile(photo, read_header(photo))
    return Removal(source, None, wanted, RenderOptions(output=Output.CUTOUT), max_pixels)


@pytest.mark.parametrize(
    ("fields", "max_pixels", "pixels"),
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
def test_margins_are_admitted_too(fields, max_pixels, pixels):
    photo = make_png(np.zeros((100, 100, 3), np.uint8))
    assert removal(photo, parse(fields), max_pixels).pixels == pixels


@pytest.mark.parametrize(
    ("size", "at_least", "seen", "size_hw"),
    [
        ("preview", (384, 384), (800, 800), (500, 500)),
        ("preview", (1152, 1152), (1600, 1600), (500, 500)),
        ("preview", (700, 300), (800, 800), (500, 500)),
        ("medium", (384, 384), (1600, 1600), (1224, 1224)),
        ("full", (384, 384), (1600, 1600), (1600, 1600)),
    ],
)
def test_a_photo_has_the_pixels_that_looking_at_it_takes(size, at_least, seen, size_hw):
    """Whatever is wanted of it: a person who is small in it is looked at again."""
    photo = make_jpeg(np.zeros((1600, 1600, 3), np.uint8))
    frame = load_photo(removal(photo, parse({"size": size})), at_least)
    assert frame.rgb.shape == (*seen, 3)
    assert frame.photo_hw == size_hw
    assert reduced(frame).rgb.shape == (*size_hw, 3)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(crop=True),
        Wanted(position=(0.5, 0.5)),
        Wanted(position=(0.5, 0.5), bg_color=(0, 0, 255, 255)),
    ],
)
def test_pictures_that_are_done_with_take_no_memory(wanted):
    """Bytes a pixel: four are of the cut-out, of the person and of the canvas each."""
    size_hw = (1000, 1000)
    alpha = np.full(size_hw, 255, np.uint8)
    found = Matte(alpha, measure_quality(alpha), None, Timings(0, 0, 0, 0, 0))
    photo = Frame(np.zeros((*size_hw, 3), np.uint8), size_hw)
    tracemalloc.start()
    try:
        paint(wanted, RenderOptions(output=Output.CUTOUT), photo, None, found, size_hw, alpha.size)
        assert tracemalloc.get_traced_memory()[1] < 10 * alpha.size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("wanted", "block"),
    [
        (Wanted(position=(0.0, 0.0)), (0, 0, 20, 10)),
        (Wanted(position=(1.0, 1.0)), (60, 90, 20, 10)),
        (Wanted(position=(0.5, 0.5)), (30, 45, 20, 10)),
        (Wanted(scale=0.5, position=(0.0, 0.0)), (0, 0, 40, 20)),
        (Wanted(scale=1.0, position=(0.5, 0.5)), (0, 30, 80, 40)),
        (Wanted(scale=0.5), (20, 35, 40, 20)),
    ],
)
def test_scale_and_position(wanted, block):
    rgba = image(painted(wanted))
    assert rgba.shape == (*PHOTO_HW, 4)
    assert block_of(rgba) == pytest.approx(block, abs=1)


def test_region_of_interest():
    half = (Length(0), Length(0), Length(100, percent=True), Length(40))
    assert block_of(image(painted(Wanted(roi=half)))) == (30, 40, 10, 10)
    with pytest.raises(ForegroundMissing):
        painted(Wanted(roi=(Length(60), Length(0), Length(100), Length(80))))
    with pytest.raises(BadParameter, match="empty"):
        painted(Wanted(roi=(Length(5), Length(5), Length(5), Length(9))))
    assert image(painted(Wanted(roi=WHOLE))).shape == (*PHOTO_HW, 4)


def test_backgrounds():
    blue = painted(Wanted(bg_color=(0, 0, 255, 255)))
    assert blue.media_type == "image/jpeg"  # nothing is transparent
    exact = image(painted(Wanted(bg_color=(0, 0, 255, 255), encoding=Encoding.PNG)))
    assert exact[0, 0].tolist() == [0, 0, 255]
    assert exact[35, 45].tolist() == [255, 0, 0]
    clear = painted(Wanted(bg_color=(0, 0, 0, 0)))
    assert clear.media_type == "image/png"
    picture = Frame(np.full((10, 10, 3), (0, 0, 250), np.uint8), (10, 10))
    covered = image(painted(Wanted(encoding=Encoding.PNG), picture))
    assert covered[0, 0].tolist() == [0, 0, 250]
    assert covered.shape == (*PHOTO_HW, 3)


def test_a_background_like_glass():
    rgba = image(painted(Wanted(bg_color=(0, 0, 255, 102)), alpha_value=204))
    assert rgba[0, 0].tolist() == [0, 0, 255, 102]
    # 80 % of red, and 40 % of blue for the 20 % that are left: 88 % in all.
    assert rgba[35, 45].tolist() == pytest.approx([232, 0, 23, 224], abs=1)


def test_formats():
    assert painted(Wanted(encoding=Encoding.WEBP)).media_type == "image/webp"
    white = painted(Wanted(encoding=Encoding.JPG))
    assert white.media_type == "image/jpeg"
    assert image(white)[0, 0].tolist() == [255, 255, 255]
    mask = painted(Wanted(only_alpha=True))
    assert image(mask)[35, 45] == 255
    assert mask.media_type == "image/png"
    assert image(painted(Wanted(only_alpha=True, encoding=Encoding.JPG))).shape == PHOTO_HW


@pytest.mark.parametrize("only_alpha", [False, True])
def test_a_zip_holds_colours_and_alpha(only_alpha):
    packed = painted(Wanted(encoding=Encoding.ZIP, only_alpha=only_alpha))
    assert packed.media_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(packed.body)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        alpha = np.asarray(Image.open(io.BytesIO(archive.read("alpha.png"))))
        colours = np.asarray(Image.open(io.BytesIO(archive.read("color.jpg"))))
    assert alpha.shape == PHOTO_HW
    assert colours.shape == (*PHOTO_HW, 3)
    assert (alpha[35, 45], alpha[0, 0]) == (255, 0)
