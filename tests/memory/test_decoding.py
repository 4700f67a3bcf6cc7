"""Memory of decoding one photo of each format, in bytes for each of its pixels."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.heif import heif_file, heif_layout, hevc_item, make_avif, make_heic, with_alpha
from tests.support.images import make, person

HEIGHT, WIDTH = 1_500, 2_000
MAX_BYTES = {"opaque": 11, "deep or transparent": 17.5}
"""Most bytes a pixel; a PNG with transparency needs 16."""
SLACK_MIB = 4
MEASURE = """
import sys
from silhouette_seg.vision.codec.decode import decode, read_header

def status(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

small, large = (open(path, "rb").read() for path in sys.argv[1:])
decode(small, read_header(small))
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
header = read_header(large)
decode(large, header)
print(1024 * (status("VmHWM") - before))
"""


def with_transparency(pixels):
    return np.dstack([pixels, pixels[..., 0]])


def heic_with_transparency(pixels):
    alpha = np.ascontiguousarray(pixels[..., 0])
    return heif_file(with_alpha(heif_layout(hevc_item(pixels), b"heic"), alpha))


MAKERS = {
    "png": ("opaque", lambda pixels: make("PNG", pixels, compress_level=1)),
    "png with alpha": (
        "deep or transparent",
        lambda pixels: make("PNG", with_transparency(pixels), compress_level=1),
    ),
    "heic": ("opaque", lambda pixels: make_heic(pixels, format="yuvj420p")),
    "heic of 10 bits": ("opaque", lambda pixels: make_heic(pixels, format="yuv420p10le")),
    "heic of 10 bits in full": (
        "deep or transparent",
        lambda pixels: make_heic(pixels, format="yuv444p10le"),
    ),
    "heic with alpha": ("deep or transparent", heic_with_transparency),
    "avif": ("opaque", lambda pixels: make("AVIF", pixels, quality=60, speed=10)),
    "avif in full": ("deep or transparent", make_avif),
    "avif with alpha": (
        "deep or transparent",
        lambda pixels: make("AVIF", with_transparency(pixels), quality=60, speed=10),
    ),
    "tiff": ("opaque", lambda pixels: make("TIFF", pixels, compression="tiff_lzw")),
    "bmp": ("opaque", lambda pixels: make("BMP", pixels)),
    "gif": ("opaque", lambda pixels: make("GIF", pixels, mode="P")),
}


@pytest.mark.parametrize("name", MAKERS)
def test_decoding_stays_within_bytes_per_pixel(name, tmp_path, record_measurement):
    kind, make_file = MAKERS[name]
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(make_file(person(96, 128)))
    large.write_bytes(make_file(person(HEIGHT, WIDTH)))
    command = [sys.executable, "-c", MEASURE, str(small), str(large)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = int(run.stdout)
    record_measurement(f"{name}: {grown / (HEIGHT * WIDTH):.1f} bytes a pixel")
    assert grown < MAX_BYTES[kind] * HEIGHT * WIDTH + SLACK_MIB * 2**20
