"""Augmentation of training photos: geometry in one warp, colours, and a new background.

The list follows the paper (scale, crop, flip, colour distortion, rotation, blur). The strengths are
those of the released configuration, see the recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size, resize
from training.data.framing import random_window
from training.data.photometric import backlight, darken, lower_resolution

Image = NDArray[np.uint8]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges and probabilities; the defaults are those of the published recipe."""

    scale: tuple[float, float] = (0.7, 1.6)
    aspect: float = 0.15
    """Largest change of the aspect ratio, as a fraction."""
    rotation: float = 15.0
    """Largest rotation in degrees, in either direction."""
    flip: float = 0.5
    colour: float = 0.4
    """Brightness, contrast and saturation jitter, each applied half of the time."""
    gamma: float = 0.5
    """Largest change of the logarithm of the exponent; applied to 30 % of the photos."""
    hue: float = 9.0
    """Largest shift in either direction, in OpenCV's 180 hue steps; applied half of the time."""
    grey: float = 0.03
    sharpness: float = 0.0
    """Strength of sharpening or softening, applied half of the time; part of the RCRNet list."""
    blur: float = 0.1
    noise: float = 0.1
    jpeg: float = 0.2
    composite: float = 0.2
    """Chance of a new background behind the person."""
    empty: float = 0.02
    """Chance of a background without a person."""
    scene: float = 0.0
    """Chance of a scene of several people, see training.data.scenes."""
    framing: float = 0.0
    """Chance of a wide or tall crop of the photo."""
    close_up: float = 0.0
    """Chance of a crop around a point of the person; the crop cuts the body."""
    dark: float = 0.0
    """Chance of a simulated photo in low light."""
    backlight: float = 0.0
    """Chance of a dark person before a bright background."""
    low_resolution: float = 0.0
    """Chance of a photo enlarged from a smaller copy, as on phones and web pages."""


def warp(
    layers: Sequence[Image], size_hw: Size, augmentation: Augmentation, rng: Rng
) -> list[Image]:
    """Applies crop, scale, aspect, rotation and flip to photo and masks in one warp.

    The first layer is uint8 [H,W,3], the second the mask uint8 [H,W]. All layers are mirrored
    outside the photo.
    """
    window = random_window(layers[1], augmentation, rng)
    matrix = random_affine(window.size_hw, size_hw, augmentation, rng)
    matrix[:, 2] -= matrix[:, :2] @ np.array([window.left, window.top])
    return [apply_affine(layer, matrix, size_hw) for layer in layers]


def apply_affine(layer: Image, matrix: NDArray[np.float64], size_hw: Size) -> Image:
    """Warps uint8 [H,W] or [H,W,3] to `size_hw`: bilinear, mirrored outside."""
    dsize = (size_hw[1], size_hw[0])
    warped = cv2.warpAffine(
        layer, matrix, dsize, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)


def random_affine(
    photo_hw: tuple[float, float], size_hw: Size, augmentation: Augmentation, rng: Rng
) -> NDArray[np.float64]:
    """Returns the matrix [2,3] from photo pixels to input pixels.

    The photo is stretched to the input, then jittered about the centre of the input.
    """
    scale = np.exp(rng.uniform(*np.log(augmentation.scale)))
    aspect = np.exp(rng.uniform(-1, 1) * np.log1p(augmentation.aspect) / 2)
    angle = np.deg2rad(augmentation.rotation) * rng.uniform(-1, 1) * (rng.random() < 0.5)
    mirror = -1.0 if rng.random() < augmentation.flip else 1.0
    # A larger picture may be cropped anywhere; a smaller one may be anywhere in the input.
    shift = rng.uniform(-0.5, 0.5, 2) * abs(scale - 1) * size_hw[::-1]
    cos, sin = np.cos(angle), np.sin(angle)
    rotate = np.array([[cos, -sin], [sin, cos]])
    # Rotation needs square pixels: stretch to the input first, then rotate.
    jitter = rotate @ np.diag([mirror * scale * aspect, scale / aspect])
    stretch = np.diag([size_hw[1] / photo_hw[1], size_hw[0] / photo_hw[0]])
    linear = jitter @ stretch
    photo_centre = np.array([photo_hw[1] - 1, photo_hw[0] - 1]) / 2
    input_centre = np.array([size_hw[1] - 1, size_hw[0] - 1]) / 2
    offset = input_centre + shift - linear @ photo_centre
    return np.column_stack([linear, offset])


def compose(rgb: Image, mask: Image, background: Image) -> tuple[Image, Image]:
    """Pastes the person onto `background` uint8 [H,W,3] and returns photo and mask.

    The rim of the mask is tightened, so that no halo of the old background is pasted.
    """
    alpha = np.clip((mask.astype(np.float32) - 96) / (255 - 96), 0, 1)
    weight = alpha[..., None]
    pasted = rgb * weight + background * (1 - weight)
    return pasted.astype(np.uint8), (alpha * 255).astype(np.uint8)


def random_crop(background: Image, size_hw: Size, rng: Rng) -> Image:
    """Returns a crop of at least half of each side, mirrored half of the time, at `size_hw`."""
    height, width = background.shape[:2]
    crop_height, crop_width = (max(1, int(side * rng.uniform(0.5, 1))) for side in (height, width))
    top, left = rng.integers(0, height - crop_height + 1), rng.integers(0, width - crop_width + 1)
    crop = background[top : top + crop_height, left : left + crop_width]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return resize(np.ascontiguousarray(crop), size_hw)


def distort(
    rgb: Image, augmentation: Augmentation, rng: Rng, *, mask: Image | None = None
) -> Image:
    """Changes light and colours, then simulates lens, sensor and codec.

    `mask` is uint8 [H,W] of the person; without a mask no backlight is applied.
    """
    if mask is not None and augmentation.backlight and rng.random() < augmentation.backlight:
        rgb = backlight(rgb, mask, rng)
    if augmentation.dark and rng.random() < augmentation.dark:
        rgb = darken(rgb, rng)
    rgb = _tones(rgb, augmentation, rng)
    rgb = _colours(rgb, augmentation, rng)
    if augmentation.sharpness and rng.random() < 0.5:
        factor = _factor(augmentation.sharpness, rng)
        blurred = cv2.GaussianBlur(rgb, (3, 3), 0)
        rgb = np.asarray(cv2.addWeighted(rgb, factor, blurred, 1 - factor, 0), np.uint8)
    if rng.random() < augmentation.blur:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.5)), np.uint8)
    if augmentation.low_resolution and rng.random() < augmentation.low_resolution:
        rgb = lower_resolution(rgb, rng)
    if rng.random() < augmentation.noise:
        noise = rng.normal(0, rng.uniform(2, 12), rgb.shape).astype(np.float32)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if rng.random() < augmentation.jpeg:
        quality = int(rng.integers(25, 90))
        _, encoded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        rgb = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return rgb


def _tones(rgb: Image, augmentation: Augmentation, rng: Rng) -> Image:
    """Changes brightness, contrast and gamma with one lookup table."""
    levels = np.arange(256, dtype=np.float32)
    if rng.random() < 0.5:
        levels = levels * _factor(augmentation.colour, rng)
    if rng.random() < 0.5:
        levels = (levels - 127.5) * _factor(augmentation.colour, rng) + 127.5
    if rng.random() < 0.3:
        levels = 255 * (np.clip(levels, 0, 255) / 255) ** np.exp(
            rng.uniform(-augmentation.gamma, augmentation.gamma)
        )
    return np.asarray(cv2.LUT(rgb, np.clip(levels, 0, 255).astype(np.uint8)), np.uint8)


def _colours(rgb: Image, augmentation: Augmentation, rng: Rng) -> Image:
    """Changes saturation and hue, or removes all colour."""
    if rng.random() < augmentation.grey:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() < 0.5:
        grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        factor = _factor(augmentation.colour, rng)
        rgb = np.asarray(cv2.addWeighted(rgb, factor, grey, 1 - factor, 0), np.uint8)
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
        shift = round(rng.uniform(-1, 1) * augmentation.hue)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + shift) % 180
        rgb = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    return rgb


def _factor(strength: float, rng: Rng) -> float:
    return float(1 + rng.uniform(-strength, strength))
