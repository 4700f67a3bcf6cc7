"""What may be behind the person: the colours around them, spread smoothly inwards."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import shrink

_FILL_SIDE = 128
"""Pixels of the longer side that the fill has at most; smooth as it is, more would show nothing."""

_STRIP_ROWS = 64

_RIM_SHARE = 0.003
"""Of the shorter side: as far from what is hidden may a camera have mixed its colours in."""

_CERTAIN = np.minimum(np.arange(256) * 8, 255).astype(np.uint8)
"""How far what is hidden by that much is replaced: an eighth is wholly, its colours are mixed."""
_CERTAIN[_CERTAIN > 192] = 255  # less than a quarter of 8 bits tells no colour


def without(image: NDArray[np.uint8], hidden: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Uint8 [H,W] or [H,W,3] with what uint8 [H,W] hides (255 = wholly) filled from around it.

    A little more than the hidden part is filled, so that none of its colours stay at its rim; as
    it was further away, and everywhere when everything is hidden. Takes the memory of three
    copies and four masks.
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
    """Each pixel times its share [H,W] of 255; exact for 0 and 255."""
    scaled = cv2.multiply(image, _of_each(image, share), scale=1 / 255)
    return np.asarray(scaled, np.uint8).reshape(image.shape)


def _of_each(image: NDArray[np.uint8], share: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The share [H,W] of each of the channels of the image."""
    shares = share if image.ndim == 2 else cv2.merge([share] * image.shape[2])
    return np.asarray(shares, np.uint8)


def _filled(image: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A smooth picture as large as `image`, of the colours that are known of it."""
    height, width = known.shape
    # In 16 bits: to divide by a small weight what was rounded to 8 changes the colour.
    seen = np.empty(image.shape, np.uint16)
    for rows in _strips(image):
        shares = _of_each(image, known[rows])
        product = cv2.multiply(image[rows], shares, dtype=cv2.CV_16U)
        seen[rows] = product.reshape(shares.shape)
    weight = known.astype(np.uint16) * 255
    scale = min(0.5, _FILL_SIDE / max(height, width))
    small_hw = max(1, round(height * scale)), max(1, round(width * scale))
    colours = shrink(seen, small_hw).reshape(*small_hw, -1)
    layered = np.dstack([colours, shrink(weight, small_hw)]).astype(np.float32)
    layered /= 255 * 255
    spread = cv2.convertScaleAbs(_spread(layered), alpha=255)
    filled = cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(filled, np.uint8).reshape(image.shape)


def _spread(layered: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opaque colours [h,w,c] from [h,w,c+1]: colours times weight, and the weight, 0..1.

    What is missing is looked up in the same picture at half the size, where less is missing; the
    way down and up again is the pull-push of Gortler et al., The Lumigraph, 1996.
    """
    height, width = layered.shape[:2]
    colours, weight = layered[..., :-1], layered[..., -1:]
    if height == width == 1:
        return np.asarray(colours / np.maximum(weight, 1e-6), np.float32)
    half_wh = (width + 1) // 2, (height + 1) // 2
    half = np.asarray(cv2.resize(layered, half_wh, interpolation=cv2.INTER_AREA), np.float32)
    # One known pixel of four makes their average known.
    half /= np.maximum(half[..., -1:], 0.25)
    behind = cv2.resize(_spread(half), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(colours + (1 - weight) * behind.reshape(colours.shape), np.float32)
