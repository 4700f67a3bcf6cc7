"""Light and cameras as everyday photos have them: little light, backlight, few pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rng = np.random.Generator

EXPOSURE = (0.12, 0.5)
"""Factor of all values of a dark photo."""
SENSOR_NOISE = (2.0, 10.0)
"""Standard deviation, in levels of 255, of the noise of a dark photo."""
SHADE = (0.2, 0.6)
"""Factor of the person's values before a bright background."""
GLARE = (1.2, 2.0)
"""Factor of the background's values behind a dark person."""
REDUCTION = (1.5, 4.0)
"""Factor between the sides of a photo and of its low-resolution copy."""
PHONE_QUALITY = (20, 70)
"""JPEG qualities of messengers and web pages, which also halve the resolution of colours."""


def darken(rgb: Image, rng: Rng) -> Image:
    """A photo in little light: short exposure, a tint, noise of the sensor."""
    tint = rng.uniform(0.8, 1.2, 3) * rng.uniform(*EXPOSURE)
    noise = rng.normal(0, rng.uniform(*SENSOR_NOISE), rgb.shape)
    return np.clip(rgb * tint + noise, 0, 255).astype(np.uint8)


def backlight(rgb: Image, mask: Image, rng: Rng) -> Image:
    """A dark person before a bright background; mask is uint8 [H,W], 255 = person.

    The light spills over the outline by a blur of up to 2 % of the longer side.
    """
    spread = max(0.5, rng.uniform(0, 0.02) * max(mask.shape))
    person = cv2.GaussianBlur(mask, (0, 0), spread).astype(np.float32)[..., None] / 255
    light = person * rng.uniform(*SHADE) + (1 - person) * rng.uniform(*GLARE)
    return np.clip(rgb * light, 0, 255).astype(np.uint8)


def enlarge_again(rgb: Image, rng: Rng) -> Image:
    """A photo enlarged from a smaller copy of it, which half of the time was a phone's JPEG."""
    height, width = rgb.shape[:2]
    factor = rng.uniform(*REDUCTION)
    small = cv2.resize(
        rgb,
        (max(8, round(width / factor)), max(8, round(height / factor))),
        interpolation=cv2.INTER_AREA,
    )
    if rng.random() < 0.5:
        quality = int(rng.integers(*PHONE_QUALITY))
        _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        small = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    how = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, (width, height), interpolation=how), np.uint8)
