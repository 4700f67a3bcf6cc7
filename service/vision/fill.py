"""What may be behind the person: the colours around them, spread smoothly inwards."""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from service.vision.geometry import Size

_FILL_SIDE = 256
"""Pixels of the longer side that the fill is made at; smooth as it is, more would show nothing."""

_CERTAIN = 8
"""What is hidden by an eighth or more counts as wholly hidden: its colours are mixed."""

_RIM_SHARE = 0.003
"""Of the shorter side: as far from what is hidden may a camera have mixed its colours in."""


def without(image: NDArray[np.uint8], hidden: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Uint8 [H,W] or [H,W,3] with what uint8 [H,W] hides (255 = wholly) filled from around it.

    A little more than the hidden part is filled, so that none of its colours stay at its rim; as
    it was further away, and everywhere when everything is hidden. Takes the memory of four copies.
    """
    hidden = _widened(hidden)
    known = np.asarray(cv2.bitwise_not(hidden), np.uint8)
    if not known.any():
        return image.copy()
    filled = _filled(image, known)
    return np.asarray(cv2.add(_scaled(image, known), _scaled(filled, hidden)), np.uint8)


def _widened(hidden: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = 2 * max(1, round(_RIM_SHARE * min(hidden.shape))) + 1
    certain = cv2.convertScaleAbs(hidden, alpha=_CERTAIN)
    return np.asarray(cv2.dilate(certain, np.ones((side, side), np.uint8)), np.uint8)


def _scaled(image: NDArray[np.uint8], share: NDArray[np.uint8]) -> MatLike:
    """Each pixel times its share [H,W] of 255; exact for 0 and 255."""
    return cv2.multiply(image, _like(image, share), scale=1 / 255)


def _like(image: NDArray[np.uint8], share: NDArray[np.uint8]) -> MatLike:
    return share if image.ndim == 2 else cv2.merge([share] * image.shape[2])


def _filled(image: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A smooth picture as large as the image, from as much of it as is known (255 = wholly)."""
    height, width = known.shape
    scale = min(1.0, _FILL_SIDE / max(height, width))
    small_hw = max(1, round(height * scale)), max(1, round(width * scale))
    # Averaged with their weights, in 16 bits so that little weight is enough to tell a colour.
    colours = cv2.multiply(image, _like(image, known), dtype=cv2.CV_16U)
    weights = known.astype(np.uint16) * 255
    layered = np.concatenate([_smaller(part, small_hw) for part in (colours, weights)], axis=2)
    layered /= 255**2
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
    half = _smaller(layered, ((height + 1) // 2, (width + 1) // 2))
    # One known pixel of four makes their average known.
    half /= np.maximum(half[..., -1:], 0.25)
    behind = cv2.resize(_spread(half), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(colours + (1 - weight) * behind.reshape(colours.shape), np.float32)


def _smaller(layers: MatLike, size_hw: Size) -> NDArray[np.float32]:
    """[h,w,c] of `size_hw`, which is no larger, from [H,W] or [H,W,c]."""
    averaged = cv2.resize(layers, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(averaged, np.float32).reshape(*size_hw, -1)
