"""Random crops of a photo: wide and tall framing, and close-ups that cut the body."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size

Image = NDArray[np.uint8]
Rng = np.random.Generator

ASPECTS = (0.45, 2.4)
"""Width divided by height of the narrowest crop (phone portrait) and the widest (cinema)."""

FRAME_SHARES = (0.7, 1.0)
"""Size of a wide or tall crop as a share of the largest crop of that shape in the photo."""

CLOSE_UP_SHARES = (0.35, 0.7)
"""Sides of a close-up as shares of the photo's sides."""

MIN_SIDE_PX = 24
"""Shortest side of a crop in pixels; a smaller crop shows nothing recognisable."""


class Framing(Protocol):
    """Chances in 0..1 of the two kinds of crop."""

    @property
    def framing(self) -> float: ...

    @property
    def close_up(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a photo, in pixels."""

    top: float
    left: float
    height: float
    width: float

    @property
    def size_hw(self) -> tuple[float, float]:
        return self.height, self.width


def random_window(mask: Image, chances: Framing, rng: Rng) -> Window:
    """Returns the part of the photo that becomes the input; mask is uint8 [H,W] of the person.

    Without a random crop it is the whole photo. A photo without a person has no close-up.
    """
    photo_hw = mask.shape[0], mask.shape[1]
    if chances.close_up and rng.random() < chances.close_up and mask.any():
        return close_up(mask, rng)
    if chances.framing and rng.random() < chances.framing:
        return random_frame(photo_hw, rng)
    return Window(0, 0, *photo_hw)


def random_frame(photo_hw: Size, rng: Rng) -> Window:
    """Returns a crop at a random position with a random aspect ratio within ASPECTS."""
    aspect = np.exp(rng.uniform(*np.log(ASPECTS)))
    zoom = rng.uniform(*FRAME_SHARES)
    height = zoom * min(photo_hw[0], photo_hw[1] / aspect)
    return _window_inside(photo_hw, height, height * aspect, rng.random(2))


def close_up(mask: Image, rng: Rng) -> Window:
    """Returns a crop centred on a random person pixel, as far as the photo's borders allow."""
    photo_hw = mask.shape[0], mask.shape[1]
    height, width = (side * rng.uniform(*CLOSE_UP_SHARES) for side in photo_hw)
    person = np.flatnonzero(mask > 127) if (mask > 127).any() else np.flatnonzero(mask)
    row, column = np.unravel_index(person[rng.integers(len(person))], photo_hw)
    slack = np.array([photo_hw[0] - height, photo_hw[1] - width])
    top_left = np.array([row - height / 2, column - width / 2])
    return _window_inside(photo_hw, height, width, top_left / np.maximum(slack, 1))


def _window_inside(
    photo_hw: Size, height: float, width: float, position: NDArray[np.float64]
) -> Window:
    """Returns a window at `position` (row, column), in 0..1 of the possible range.

    The window is clipped to the photo.
    """
    height = float(np.clip(height, min(MIN_SIDE_PX, photo_hw[0]), photo_hw[0]))
    width = float(np.clip(width, min(MIN_SIDE_PX, photo_hw[1]), photo_hw[1]))
    row, column = np.clip(position, 0, 1)
    return Window(
        float(row) * (photo_hw[0] - height), float(column) * (photo_hw[1] - width), height, width
    )
