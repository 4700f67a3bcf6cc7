"""Fills hidden pixels of an image with the surrounding colours, spread smoothly inwards."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import resize

_FILL_SIDE = 128
"""Longest side, in pixels, of the reduced image in which the fill is computed.

The fill is so smooth that a larger image would add no detail.
"""

_STRIP_ROWS = 64

_RIM_SHARE = 0.003
"""Width of the rim around the hidden part that is filled too, relative to the shorter side.

A camera may mix hidden colours into pixels that are this far away.
"""

_CERTAIN = np.minimum(np.arange(256) * 8, 255).astype(np.uint8)
"""Lookup table, uint8 [256], from the opacity of the hidden part to the weight of the fill, 0..255.

A pixel of which an eighth is hidden is replaced whole, because its colours are mixed.
"""
_CERTAIN[_CERTAIN > 192] = 255  # less than a quarter of 8 bits tells no colour


def fill_hidden(image: NDArray[np.uint8], hidden: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replaces the hidden pixels of an image, uint8 [H,W] or [H,W,3], by surrounding colours.

    `hidden` is uint8 [H,W]: 0 = visible, 255 = fully hidden. Returns a new array of the image's
    shape. A thin rim around the hidden part is filled too, so that none of its colours stay there.
    All other pixels are unchanged. An image that is hidden everywhere is returned as a copy. The
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
    """Multiplies an image, uint8 [h,w] or [h,w,c], by `share` / 255 in each pixel.

    `share` is uint8 [h,w]. Returns uint8 of the image's shape; it is exact where the share is 0 or
    255.
    """
    scaled = cv2.multiply(image, _of_each(image, share), scale=1 / 255)
    return np.asarray(scaled, np.uint8).reshape(image.shape)


def _of_each(image: NDArray[np.uint8], share: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeats `share`, uint8 [h,w], for each channel of an image.

    Returns the shape of the image.
    """
    shares = share if image.ndim == 2 else cv2.merge([share] * image.shape[2])
    return np.asarray(shares, np.uint8)


def _filled(image: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a smooth uint8 image of the shape of `image`, made of its visible colours alone.

    `known` is uint8 [H,W], the visible part of each pixel: 255 = fully visible.
    """
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
    """Fills the missing colours of an image by the pull-push algorithm; float32, all values 0..1.

    `layered` is [h,w,c+1]: c colour channels times the weight, then the weight, where 0 = missing.
    Returns the colours [h,w,c] with a weight of 1 everywhere. Missing colours are taken from the
    same image at half the size, where less is missing. Source: Gortler et al., The Lumigraph, 1996.
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
