#!/usr/bin/env bash
# The VP8 encoder of aiortc sends an RTP timestamp that is one less than that of the frame.
#
# aiortc 1.16.0 with av 18.1.0. A frame has a pts of 3000 at a time base of 1/90000, which is the
# clock of RTP. The VP8 encoder returns the timestamp 2999, and the H.264 encoder 3000. A receiver
# that pairs frames by their timestamp finds no partner for most frames of VP8. A pts of 0 is kept.
#
# Guess before the run: both encoders keep the pts of a frame at the clock of RTP.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiortc==1.16.0 av==18.1.0
"$folder/venv/bin/python" - <<'PYTHON'
from fractions import Fraction
from importlib.metadata import version

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

TIMES = (0, 3000, 9001, 441_472_655)


def timestamp(encoder, pts):
    frame = av.VideoFrame(width=320, height=240, format="yuv420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts, frame.time_base = pts, Fraction(1, 90_000)
    return encoder.encode(frame, force_keyframe=True)[1]


print(*(f"{name} {version(name)}" for name in ("aiortc", "av")))
vp8 = [timestamp(Vp8Encoder(), pts) for pts in TIMES]
h264 = [timestamp(H264Encoder(), pts) for pts in TIMES]
print("pts:  ", *TIMES)
print("VP8:  ", *vp8)
print("H.264:", *h264)
assert h264 == list(TIMES)
assert vp8 == [0, 2999, 9000, 441_472_654]
PYTHON
