"""Resizes photos to model inputs, and masks back to photos, for training, export and serving."""

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
    """Rectangle of a model input that the resized photo covers, in pixels.

    `size_hw` is the (height, width) of the whole input. `unfit` uses the rectangle to cut the
    photo's part out of a mask.
    """

    size_hw: Size
    top: int
    left: int
    height: int
    width: int


def place(photo_hw: Size, size_hw: Size, rule: ResizeRule) -> Placement:
    """Returns the rectangle that a resized photo covers in a model input.

    `photo_hw` and `size_hw` are the (height, width) of photo and input. With `ResizeRule.STRETCH`
    the photo fills the input. With `LETTERBOX` it keeps its aspect ratio and is centred.
    """
    if rule is ResizeRule.STRETCH:
        return Placement(size_hw, 0, 0, *size_hw)
    scale = min(size_hw[0] / photo_hw[0], size_hw[1] / photo_hw[1])
    height, width = (max(1, round(side * scale)) for side in photo_hw)
    return Placement(size_hw, (size_hw[0] - height) // 2, (size_hw[1] - width) // 2, height, width)


def fit(
    rgb: NDArray[np.uint8], size_hw: Size, rule: ResizeRule
) -> tuple[NDArray[np.uint8], Placement]:
    """Resizes a photo, uint8 [H,W,3], to a model input, uint8 [*size_hw,3], by `rule`.

    Returns the input and the rectangle of it that the photo covers. The rest of a letterboxed input
    is grey.
    """
    placement = place(rgb.shape[:2], size_hw, rule)
    photo = resize(rgb, (placement.height, placement.width))
    if photo.shape[:2] == size_hw:
        return photo, placement
    canvas = np.full((*size_hw, 3), LETTERBOX_GREY, np.uint8)
    canvas[inside(placement)] = photo
    return canvas, placement


def unfit(alpha: NDArray[np.uint8], placement: Placement, photo_hw: Size) -> NDArray[np.uint8]:
    """Resizes a model's mask, uint8 [*placement.size_hw], to its photo. Inverse of `fit`.

    Only the part that `placement` says the photo covers is used. Returns uint8 [*photo_hw].
    """
    return resize_bilinear(np.ascontiguousarray(alpha[inside(placement)]), photo_hw)


def inside(placement: Placement) -> tuple[slice, slice]:
    """Returns the slices of rows and columns of a model input that the photo covers."""
    return (
        slice(placement.top, placement.top + placement.height),
        slice(placement.left, placement.left + placement.width),
    )


def resize(image: NDArray[Level], size_hw: Size) -> NDArray[Level]:
    """Resizes an image, uint8 or uint16 [H,W] or [H,W,C], to `size_hw` without aliasing.

    Returns the same dtype, and the image itself if it has that (height, width) already. A side is
    halved while it is at least twice as long as requested; the rest is bilinear. Bilinear at a
    factor of two is the 2x2 average, so nothing aliases. This is several times faster than cv2's
    INTER_AREA. The values differ from it by a few levels of 255.
    """
    while image.shape[0] >= 2 * size_hw[0] or image.shape[1] >= 2 * size_hw[1]:
        height, width = image.shape[:2]
        half = (
            height // 2 if height >= 2 * size_hw[0] else height,
            width // 2 if width >= 2 * size_hw[1] else width,
        )
        image = resize_bilinear(image, half)
    return resize_bilinear(image, size_hw)


def resize_bilinear(image: NDArray[Level], size_hw: Size) -> NDArray[Level]:
    """Resizes an image, [H,W] or [H,W,C], to (height, width) `size_hw` in one bilinear step.

    Returns the same dtype, and the image itself if it has that size already. Reducing a side to
    less than half aliases: see `resize`.
    """
    if image.shape[:2] == size_hw:
        return image
    resized = cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, image.dtype)
