"""A drawn portrait, with which every model is tried before it serves."""

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.codec.decode import Frame, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.header import ImageFormat
from silhouette_seg.vision.geometry import Size


def warm_up_frame() -> Frame:
    """Returns a drawing of head and shoulders, encoded as JPEG and decoded again like a request."""
    jpeg = encode(drawn_portrait((480, 360)), ImageFormat.JPEG)
    return decode(jpeg, read_header(jpeg))


def drawn_portrait(hw: Size) -> NDArray[np.uint8]:
    """Draws head and shoulders in plain colours and returns uint8 [*hw,3]."""
    y, x = np.mgrid[-1 : 1 : hw[0] * 1j, -1 : 1 : hw[1] * 1j]
    rgb = np.stack([60 + 40 * y, 90 + 30 * x, 140 - 40 * y], axis=-1)
    rgb[x**2 / 0.6 + (y - 1.1) ** 2 < 0.7] = 40, 50, 110
    rgb[x**2 / 0.5 + (y + 0.2) ** 2 < 0.16] = 205, 160, 135
    return rgb.astype(np.uint8)
