#!/usr/bin/env bash
# libswscale raises the alpha of half of all values by one between formats of the same depth.
#
# PyAV 18.1.0 with its own libav:
# - From rgba to yuva420p the alpha values 128..254 come out one higher, and 0..127 unchanged. Both
#   formats hold alpha in 8 bits of full range. From rgba to bgra every value is kept.
# - From rgba to yuva444p10le, 31 becomes 124, which is both four times 31 and the nearest value. 32
#   becomes 129, which is neither.
#
# Guess before the run: alpha is copied if the depth is the same, and shifted or rounded otherwise.
# An encoder that is lossless then still returns another matte than it was given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import av
import numpy as np

before = np.arange(256)
image = np.zeros((2, 256, 4), np.uint8)
image[..., 3] = before


def alpha_after(pixel_format: str, dtype: type) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(image, "rgba").reformat(format=pixel_format)
    plane = frame.planes[3]
    return np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[0, :256].astype(int)


print("PyAV", av.__version__)
kept = av.VideoFrame.from_ndarray(image, "rgba").reformat(format="bgra").to_ndarray()[0, :, 3]
assert (kept == before).all(), "bgra"
eight = alpha_after("yuva420p", np.uint8)
raised = before[eight != before]
print("yuva420p: expected 0..255 unchanged; one higher are", raised.min(), "to", raised.max())
assert raised.tolist() == list(range(128, 255)), "this version keeps other values"
assert (eight[raised] == raised + 1).all()
ten = alpha_after("yuva444p10le", np.uint16)
print("yuva444p10le: 31 and 32 become", ten[31], "and", ten[32])
print("  shifted 124 128, nearest", round(31 * 1023 / 255), round(32 * 1023 / 255))
assert (ten[31], ten[32]) == (124, 129), "this version has other values"
PYTHON
