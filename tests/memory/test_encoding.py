"""Memory of encoding one image as AVIF, in bytes for each of its pixels."""

import subprocess
import sys

import pytest

HEIGHT, WIDTH = 1_500, 2_000
SLACK_MIB = 4
MEASURE = """
import sys
import numpy as np
from silhouette_seg.vision.codec.encode import ImageFormat, encode
from tests.support.images import person

def status(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

def image(height, width):
    photo = person(height, width)
    return {"mask": photo[..., 0], "cut-out": np.dstack([photo, photo[..., 0]])}[sys.argv[1]]

large = np.ascontiguousarray(image(int(sys.argv[2]), int(sys.argv[3])))
encode(image(96, 128), ImageFormat.AVIF)
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
encode(large, ImageFormat.AVIF)
print(1024 * (status("VmHWM") - before))
"""


@pytest.mark.parametrize(("output", "bytes_per_pixel"), [("mask", 19), ("cut-out", 31)])
def test_encoding_avif_stays_within_bytes_per_pixel(output, bytes_per_pixel, record_measurement):
    command = [sys.executable, "-c", MEASURE, output, str(HEIGHT), str(WIDTH)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = int(run.stdout)
    record_measurement(f"{output}: {grown / (HEIGHT * WIDTH):.1f} bytes a pixel")
    assert grown < bytes_per_pixel * HEIGHT * WIDTH + SLACK_MIB * 2**20
