import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from silhouette_seg.errors import NotAcceptable
from silhouette_seg.vision.codec import encode as module
from silhouette_seg.vision.codec.decode import decode, read_header
from silhouette_seg.vision.codec.encode import ImageFormat, encode
from tests.support.images import person

GREY = person()[..., 0]
RGBA = np.dstack([person(), GREY])

pixels = npst.arrays(
    np.uint8,
    st.one_of(
        st.tuples(st.integers(1, 20), st.integers(1, 20)),
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([3, 4])),
    ),
)


@pytest.fixture(params=["isal", "cv2"])
def png_writer(request, monkeypatch):
    """Selects the PNG writer: isal, or cv2 on platforms without isal."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(module, "isal_zlib", None)


def by_cv2(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return image if image.ndim == 2 else cv2.cvtColor(image, swap[image.shape[2]])


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("reader", [by_cv2, by_pillow])
@pytest.mark.parametrize("image", [GREY, person(), RGBA], ids=["grey", "rgb", "rgba"])
@pytest.mark.usefixtures("png_writer")
def test_png_round_trip_is_exact(image, reader):
    np.testing.assert_array_equal(reader(encode(image, ImageFormat.PNG)), image)


@given(pixels)
def test_png_round_trip_of_any_pixels_is_exact(image):
    data = encode(image, ImageFormat.PNG)
    np.testing.assert_array_equal(by_cv2(data), image)
    np.testing.assert_array_equal(by_pillow(data), image)


@pytest.mark.usefixtures("png_writer")
def test_png_round_trip_of_several_strips_is_exact():
    image = np.random.default_rng(0).integers(0, 8, (701, 800, 4), np.uint8)
    np.testing.assert_array_equal(by_pillow(encode(image, ImageFormat.PNG)), image)


def test_png_of_noncontiguous_view_is_exact():
    view = np.asarray(person()[::2, 5:50])
    np.testing.assert_array_equal(by_pillow(encode(view, ImageFormat.PNG)), view)


@pytest.mark.parametrize("format", ImageFormat)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 1, 3), (3, 40, 3)])
def test_small_images_are_encoded_in_every_format(format, shape):
    data = encode(np.full(shape, 200, np.uint8), format)
    header = read_header(data)
    assert (header.format, header.upright_hw) == (format, shape[:2])
    assert np.abs(decode(data, header).rgb.astype(int) - 200).max() <= 2


@pytest.mark.parametrize("format", [ImageFormat.JPEG, ImageFormat.WEBP, ImageFormat.AVIF])
@pytest.mark.parametrize("image", [GREY, person()], ids=["grey", "rgb"])
def test_lossy_formats_keep_channel_order_and_colours(format, image):
    data = encode(image, format)
    rgb = decode(data, read_header(data)).rgb
    expected = np.dstack([image] * 3) if image.ndim == 2 else image
    assert np.abs(rgb.astype(int) - expected).mean() < 4


def test_jpeg_of_mask_is_grey():
    with Image.open(io.BytesIO(encode(GREY, ImageFormat.JPEG))) as image:
        assert image.mode == "L"


@pytest.mark.parametrize("format", [ImageFormat.WEBP, ImageFormat.AVIF])
def test_lossy_formats_of_mask_are_lossless(format):
    data = encode(GREY, format)
    np.testing.assert_array_equal(decode(data, read_header(data)).rgb[..., 0], GREY)


@pytest.mark.parametrize("format", [ImageFormat.WEBP, ImageFormat.AVIF])
def test_lossy_formats_of_cutout_have_exact_alpha(format):
    np.testing.assert_array_equal(by_pillow(encode(RGBA, format))[..., 3], GREY)


def test_jpeg_of_cutout_is_not_acceptable():
    with pytest.raises(NotAcceptable, match="transparency"):
        encode(RGBA, ImageFormat.JPEG)


def noisy(height, width):
    """Returns RGBA of steps and noise, which compresses badly."""
    noise = np.random.default_rng(0).integers(0, 64, (height, width, 4), np.uint8)
    return noise + 3 * np.resize(np.arange(64, dtype=np.uint8), (1, width, 1))


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_webp_of_any_mask_is_lossless(mask):
    np.testing.assert_array_equal(by_pillow(encode(mask, ImageFormat.WEBP))[..., 0], mask)
    np.testing.assert_array_equal(by_cv2(encode(mask, ImageFormat.WEBP))[..., 0], mask)


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_avif_of_any_mask_and_alpha_is_exact(mask):
    decoded = by_pillow(encode(mask, ImageFormat.AVIF))
    np.testing.assert_array_equal(decoded if decoded.ndim == 2 else decoded[..., 0], mask)
    cutout = by_pillow(encode(np.dstack([mask] * 4), ImageFormat.AVIF))
    alpha = cutout[..., 3] if cutout.shape[2] == 4 else np.full(mask.shape, 255)
    np.testing.assert_array_equal(alpha, mask)


@pytest.mark.parametrize("format", [ImageFormat.WEBP, ImageFormat.AVIF])
def test_lossy_formats_of_noise_have_exact_alpha(format):
    image = noisy(300, 200)
    np.testing.assert_array_equal(by_pillow(encode(image, format))[..., 3], image[..., 3])


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("format", [ImageFormat.JPEG, ImageFormat.WEBP, ImageFormat.AVIF])
def test_lossy_formats_have_quality_of_default_method(format):
    photo = np.asarray(Image.fromarray(person()).resize((960, 720)))
    ours = by_pillow(encode(photo, format))
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format.value, quality=90)
    assert psnr(ours, photo) > psnr(by_pillow(buffer.getvalue()), photo) - 0.5


@pytest.mark.parametrize("format", [ImageFormat.WEBP, ImageFormat.AVIF])
@pytest.mark.parametrize("image", [GREY, person(), RGBA], ids=["grey", "rgb", "rgba"])
def test_lossy_formats_of_noncontiguous_view_are_same(format, image):
    view = image[::2, 5:50]
    np.testing.assert_array_equal(
        by_pillow(encode(view, format)), by_pillow(encode(view.copy(), format))
    )


@pytest.mark.parametrize(
    ("format", "longest"), [(ImageFormat.WEBP, 16_383), (ImageFormat.AVIF, 32_768)]
)
def test_side_longer_than_format_allows_is_not_acceptable(format, longest):
    image = np.zeros((1, longest + 1), np.uint8)
    assert by_pillow(encode(image[:, :longest], format)).shape[1] == longest
    with pytest.raises(NotAcceptable) as refused:
        encode(image, format)
    assert (refused.value.limit, refused.value.actual) == (longest, longest + 1)
