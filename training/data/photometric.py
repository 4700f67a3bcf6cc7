"""Simulated light and cameras of everyday photos: low light, backlight, low resolution."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rng = np.random.Generator

EXPOSURE = (0.12, 0.5)
"""Range of the factor of all values of a dark photo."""
SENSOR_NOISE = (2.0, 10.0)
"""Range of the noise's standard deviation in a dark photo, in levels of 255."""
SHADE = (0.2, 0.6)
"""Range of the factor of the person's values in front of a bright background."""
GLARE = (1.2, 2.0)
"""Range of the factor of the background's values behind a dark person."""
REDUCTION = (1.5, 4.0)
"""Range of the quotient of a photo's side and that of its low-resolution copy."""
PHONE_QUALITY = (20, 70)
"""JPEG qualities of messengers and web pages, which also halve the resolution of colours."""


def darken(rgb: Image, rng: Rng) -> Image:
    """Simulates a photo in low light: short exposure, a tint, sensor noise."""
    tint = rng.uniform(0.8, 1.2, 3) * rng.uniform(*EXPOSURE)
    noise = rng.normal(0, rng.uniform(*SENSOR_NOISE), rgb.shape)
    return np.clip(rgb * tint + noise, 0, 255).astype(np.uint8)


def backlight(rgb: Image, mask: Image, rng: Rng) -> Image:
    """Darkens the person and brightens the background; mask is uint8 [H,W], 255 = person.

    The light spills over the outline: the mask is blurred by up to 2 % of the longer side.
    """
    spread = max(0.5, rng.uniform(0, 0.02) * max(mask.shape))
    person = cv2.GaussianBlur(mask, (0, 0), spread).astype(np.float32)[..., None] / 255
    light = person * rng.uniform(*SHADE) + (1 - person) * rng.uniform(*GLARE)
    return np.clip(rgb * light, 0, 255).astype(np.uint8)


def lower_resolution(rgb: Image, rng: Rng) -> Image:
    """Reduces a photo and enlarges it again; half of the copies are compressed as JPEG."""
    height, width = rgb.shape[:2]
    factor = rng.uniform(*REDUCTION)
    reduced = cv2.resize(
        rgb,
        (max(8, round(width / factor)), max(8, round(height / factor))),
        interpolation=cv2.INTER_AREA,
    )
    if rng.random() < 0.5:
        quality = int(rng.integers(*PHONE_QUALITY))
        _, encoded = cv2.imencode(".jpg", reduced, [cv2.IMWRITE_JPEG_QUALITY, quality])
        reduced = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    interpolation = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=interpolation), np.uint8)
