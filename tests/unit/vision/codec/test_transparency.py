"""The opacity of decoded images."""

import io

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.vision.codec.decode import Frame, decode, read_header
from tests.support.images import make, make_jpeg, person


def decoded(data: bytes) -> Frame:
    return decode(data, read_header(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_opacity_has_the_orientation_of_the_pixels(orientation):
    rgba = np.zeros((30, 40, 4), np.uint8)
    rgba[:10, :10, 3] = 255
    frame = decoded(make("PNG", rgba, orientation=orientation))
    assert frame.opacity.shape == frame.rgb.shape[:2]
    assert ((frame.opacity == 255) == (frame.rgb[..., 0] == 0)).all()


def test_opaque_files_have_no_opacity():
    rgba = np.dstack([person(), np.full((240, 320), 255, np.uint8)])
    for file in (make_jpeg(), make("PNG", rgba), make("WEBP", rgba, lossless=True)):
        assert decoded(file).opacity is None


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_opacity_of_every_png_with_alpha_is_exact(mode):
    alpha = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    image = Image.new("RGBA", (16, 16), (90, 90, 90, 255))
    image.putalpha(Image.fromarray(alpha))
    file = make("PNG", image.quantize(256) if mode == "PA" else image.convert(mode))
    expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGBA"))[..., 3]
    assert (decoded(file).opacity == expected).all()


def test_resized_frame_resizes_pixels_and_opacity():
    rgba = np.zeros((30, 40, 4), np.uint8)
    rgba[:, :20, 3] = 255
    frame = decoded(make("PNG", rgba)).resized((15, 20))
    assert frame.rgb.shape == (15, 20, 3)
    assert frame.photo_hw == frame.opacity.shape == (15, 20)
    assert (frame.opacity[:, :9] == 255).all()
