#!/usr/bin/env bash
# OpenCV premultiplies the colours of an 8-bit TIFF with alpha, and turns a TIFF against its flag.
#
# opencv-python-headless 5.0.0.93, TIFF files of tifffile 2026.3.3 and Pillow 12.0.0:
# - An 8-bit RGB TIFF with unassociated alpha keeps straight colours in the file. cv2.imdecode with
#   IMREAD_UNCHANGED returns them multiplied by alpha. The same picture with 16 bits comes back
#   straight. The caller cannot tell which of both it has.
# - IMREAD_IGNORE_ORIENTATION and IMREAD_UNCHANGED keep a JPEG as it is stored. A TIFF with the same
#   orientation tag is turned with either flag.
#
# Guess before the run: IMREAD_UNCHANGED returns the stored samples of any depth, and the flag
# means the same for every format. A service that applies the orientation by itself turns such a
# TIFF twice, and composites of an 8-bit TIFF get dark edges.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 tifffile==2026.3.3 Pillow==12.0.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import io

import cv2
import numpy as np
import tifffile
from PIL import Image

ORIENTATION, TURNED = 274, 6


def decode(file: bytes, flags: int) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(file, np.uint8), flags)


def tiff(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", extrasamples=["unassalpha"])
    return file.getvalue()


print("opencv", cv2.__version__)
eight = np.full((4, 4, 4), 200, np.uint8)
eight[..., 3] = 100
sixteen = eight.astype(np.uint16) * 257
seen_8 = decode(tiff(eight), cv2.IMREAD_UNCHANGED)[0, 0]
seen_16 = decode(tiff(sixteen), cv2.IMREAD_UNCHANGED)[0, 0] // 257
print("stored 200 200 200 100; 8 bits:", *seen_8, "- 16 bits:", *seen_16)
assert seen_8.tolist() == [78, 78, 78, 100], "this version no longer premultiplies 8 bits"
assert seen_16.tolist() == [200, 200, 200, 100]

picture = Image.new("RGB", (6, 4), "teal")
exif = Image.Exif()
exif[ORIENTATION] = TURNED
flags = {
    "colour, orientation ignored": cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    "unchanged": cv2.IMREAD_UNCHANGED,
}
expected = {"JPEG": [(4, 6), (4, 6)], "TIFF": [(6, 4), (6, 4)]}
for kind, sizes in expected.items():
    file = io.BytesIO()
    picture.save(file, kind, exif=exif)
    seen = [decode(file.getvalue(), flag).shape[:2] for flag in flags.values()]
    print(f"{kind} of 4 rows x 6 columns:", dict(zip(flags, seen)))
    assert seen == sizes, f"this version gives {seen} instead of {sizes}"
PYTHON
