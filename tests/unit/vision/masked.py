"""Photos with masks, of any size, for what works along an outline."""

import cv2
import numpy as np
from hypothesis import strategies as st


@st.composite
def photos(draw):
    """uint8 [H,W,3] of noise and a smooth uint8 [H,W], from a pixel to longer than a tile."""
    hw = draw(st.tuples(st.integers(1, 40), st.integers(1, 700)))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    rgb = chance.integers(0, 256, (*hw, 3), np.uint8)
    alpha = cv2.resize(chance.integers(0, 256, (3, 5), np.uint8), hw[::-1]).reshape(hw)
    return (rgb, alpha) if draw(st.booleans()) else (rgb.transpose(1, 0, 2).copy(), alpha.T.copy())
