"""Fills hidden pixels with the surrounding colours, spread smoothly inwards."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import resize

_FILL_SIDE = 128
"""Longest side at which the fill is computed, in pixels. The fill is too smooth to need more."""

_STRIP_ROWS = 64

_RIM_SHARE = 0.003
"""Width of the rim that is filled too, as a share of the shorter side.

A camera may mix hidden colours into pixels that are this far away.
"""

_CERTAIN = np.minimum(np.arange(256) * 8, 255).astype(np.uint8)
"""Share of replacement for each degree of hiding, both 0..255. An eighth hidden is replaced whole,
because its colours are mixed.
"""
_CERTAIN[_CERTAIN > 192] = 255  # less than a quarter of 8 bits tells no colour


def fill_hidden(image: NDArray[np.uint8], hidden: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fills the part of uint8 [H,W] or [H,W,3] that uint8 [H,W] hides (255 = entirely).

    A little more than the hidden part is filled, so that none of its colours stay at its rim.
    Pixels further away are unchanged, and so is the whole image if everything is hidden. The
    memory is that of three copies of the image and four masks.
    """
    hidden = _widened(hidden)
    known = np.asarray(cv2.bitwise_not(hidden), np.uint8)
    if not known.any():
        return image.copy()
    filled = _filled(image, known)
    for rows in _strips(image):
        seen = _scaled(image[rows], known[rows])
        filled[rows] = cv2.add(seen, _scaled(filled[rows], hidden[rows])).reshape(seen.shape)
    return filled


def _strips(image: NDArray[np.uint8]) -> Iterator[slice]:
    for start in range(0, image.shape[0], _STRIP_ROWS):
        yield slice(start, start + _STRIP_ROWS)


def _widened(hidden: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = 2 * max(1, round(_RIM_SHARE * min(hidden.shape))) + 1
    certain = cv2.LUT(hidden, _CERTAIN)
    return np.asarray(cv2.dilate(certain, np.ones((side, side), np.uint8)), np.uint8)


def _scaled(image: NDArray[np.uint8], share: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Multiplies each pixel by its share [H,W] of 255. Exact for 0 and 255."""
    scaled = cv2.multiply(image, _of_each(image, share), scale=1 / 255)
    return np.asarray(scaled, np.uint8).reshape(image.shape)


def _of_each(image: NDArray[np.uint8], share: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeats the share [H,W] for each channel of the image."""
    shares = share if image.ndim == 2 else cv2.merge([share] * image.shape[2])
    return np.asarray(shares, np.uint8)


def _filled(image: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a smooth image of the known colours, of the size of `image`."""
    height, width = known.shape
    # 16 bits, because dividing a value rounded to 8 bits by a small weight changes the colour.
    seen = np.empty(image.shape, np.uint16)
    for rows in _strips(image):
        shares = _of_each(image, known[rows])
        product = cv2.multiply(image[rows], shares, dtype=cv2.CV_16U)
        seen[rows] = product.reshape(shares.shape)
    weight = known.astype(np.uint16) * 255
    scale = min(0.5, _FILL_SIDE / max(height, width))
    small_hw = max(1, round(height * scale)), max(1, round(width * scale))
    colours = resize(seen, small_hw).reshape(*small_hw, -1)
    layered = np.dstack([colours, resize(weight, small_hw)]).astype(np.float32)
    layered /= 255 * 255
    spread = cv2.convertScaleAbs(_spread(layered), alpha=255)
    filled = cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(filled, np.uint8).reshape(image.shape)


def _spread(layered: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns opaque colours [h,w,c] of [h,w,c+1]: colours times weight, and the weight, 0..1.

    Missing colours are taken from the same image at half the size, where less is missing. This
    is the pull-push algorithm of Gortler et al., The Lumigraph, 1996.
    """
    height, width = layered.shape[:2]
    colours, weight = layered[..., :-1], layered[..., -1:]
    if height == width == 1:
        return np.asarray(colours / np.maximum(weight, 1e-6), np.float32)
    half_wh = (width + 1) // 2, (height + 1) // 2
    half = np.asarray(cv2.resize(layered, half_wh, interpolation=cv2.INTER_AREA), np.float32)
    # One known pixel of four makes their average known.
    half /= np.maximum(half[..., -1:], 0.25)
    surroundings = cv2.resize(_spread(half), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(colours + (1 - weight) * surroundings.reshape(colours.shape), np.float32)
