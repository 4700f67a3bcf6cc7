"""Random photos with masks, for tests of operations along the outline."""

import cv2
import numpy as np
from hypothesis import strategies as st


@st.composite
def photos(draw):
    """Generates noise uint8 [H,W,3] with a smooth mask uint8 [H,W], from a pixel to over a tile."""
    hw = draw(st.tuples(st.integers(1, 40), st.integers(1, 700)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rgb = generator.integers(0, 256, (*hw, 3), np.uint8)
    alpha = cv2.resize(generator.integers(0, 256, (3, 5), np.uint8), hw[::-1]).reshape(hw)
    return (rgb, alpha) if draw(st.booleans()) else (rgb.transpose(1, 0, 2).copy(), alpha.T.copy())
