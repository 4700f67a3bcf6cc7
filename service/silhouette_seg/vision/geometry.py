"""Photo to model input and back: the only resize that training, export and serving use."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.spec import ResizeRule

Size = tuple[int, int]
"""(height, width) in pixels."""

LETTERBOX_GREY = 127

Level = TypeVar("Level", np.uint8, np.uint16)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the photo lies inside the model input, in pixels; what `unfit` needs."""

    size_hw: Size
    top: int
    left: int
    height: int
    width: int


def place(photo_hw: Size, size_hw: Size, rule: ResizeRule) -> Placement:
    """Where a photo of `photo_hw` goes inside an input of `size_hw`."""
    if rule is ResizeRule.STRETCH:
        return Placement(size_hw, 0, 0, *size_hw)
    scale = min(size_hw[0] / photo_hw[0], size_hw[1] / photo_hw[1])
    height, width = (max(1, round(side * scale)) for side in photo_hw)
    return Placement(size_hw, (size_hw[0] - height) // 2, (size_hw[1] - width) // 2, height, width)


def fit(
    rgb: NDArray[np.uint8], size_hw: Size, rule: ResizeRule
) -> tuple[NDArray[np.uint8], Placement]:
    """Resizes uint8 [H,W,3] to uint8 [*size_hw,3] by `rule`."""
    placement = place(rgb.shape[:2], size_hw, rule)
    photo = shrink(rgb, (placement.height, placement.width))
    if photo.shape[:2] == size_hw:
        return photo, placement
    canvas = np.full((*size_hw, 3), LETTERBOX_GREY, np.uint8)
    canvas[inside(placement)] = photo
    return canvas, placement


def unfit(alpha: NDArray[np.uint8], placement: Placement, photo_hw: Size) -> NDArray[np.uint8]:
    """Resizes the photo's part of a uint8 mask [*placement.size_hw] to `photo_hw`."""
    return _linear(np.ascontiguousarray(alpha[inside(placement)]), photo_hw)


def inside(placement: Placement) -> tuple[slice, slice]:
    """The rows and columns of the model input that the photo covers."""
    return (
        slice(placement.top, placement.top + placement.height),
        slice(placement.left, placement.left + placement.width),
    )


def shrink(image: NDArray[Level], size_hw: Size) -> NDArray[Level]:
    """8 or 16 bits: halves each side while it stays at least as long as asked, then bilinearly.

    Bilinear at a factor of two is the 2x2 average, so nothing aliases; several times faster than
    cv2's INTER_AREA and within a few levels of it.
    """
    while image.shape[0] >= 2 * size_hw[0] or image.shape[1] >= 2 * size_hw[1]:
        height, width = image.shape[:2]
        half = (
            height // 2 if height >= 2 * size_hw[0] else height,
            width // 2 if width >= 2 * size_hw[1] else width,
        )
        image = _linear(image, half)
    return _linear(image, size_hw)


def _linear(image: NDArray[Level], size_hw: Size) -> NDArray[Level]:
    if image.shape[:2] == size_hw:
        return image
    resized = cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, image.dtype)
