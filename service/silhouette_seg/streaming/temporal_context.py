"""State that one video stream carries from frame to frame, and the conditions of its reset."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.streaming.smoothing import PreviousFrame, damped_prior, is_scene_cut, smooth
from silhouette_seg.vision.geometry import Size

MAX_FRAME_GAP_S = 0.5
"""Longest pause between two frames, in seconds, after which the previous mask is still used.

It was measured with RCRNet on a labelled clip with a moving camera. The mask helps after 0.2 s, has
no effect after 0.5 s, and harms after 1 s.
"""


@dataclass(frozen=True, slots=True)
class _TimedImage:
    """A frame at the model's size, RGB uint8 [h,w,3], with its own size and its time in seconds."""

    image: NDArray[np.uint8]
    photo_hw: Size
    time_s: float


class StreamContext:
    """Previous frame and masks of one video stream, for `Segmenter.run` with one model.

    The state is reset if the size of the frames changes, after a pause of more than
    MAX_FRAME_GAP_S, at a scene cut, and by `reset`. A frame without a mask, because its
    segmentation failed, is left out.
    """

    def __init__(self, smoothing: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self.smoothing = smoothing
        """Strength of the temporal smoothing, 0..1. It may change while the stream runs."""
        self._clock = clock
        self._reset_requested = False
        self._current: _TimedImage | None = None
        self._last: _TimedImage | None = None
        """The last frame for which `update` received a mask."""
        self._previous: PreviousFrame | None = None
        """The same frame at the model's size with its masks; None after a reset."""

    def reset(self) -> None:
        """Forgets the previous frames before the next one. A frame in progress is not affected."""
        self._reset_requested = True

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """Returns the model input `prior` for the next frame: the damped previous mask.

        `image` is the frame at the model's size, RGB uint8 [h,w,3], and `photo_hw` its own size.
        The result is uint8 [h,w], and zero if the frame begins a scene.
        """
        self._current = _TimedImage(image, photo_hw, self._clock())
        reset, self._reset_requested = self._reset_requested, False
        if reset or not self._continues(self._current):
            self._previous = None
        if self._previous is None:
            return np.zeros(image.shape[:2], np.uint8)
        return damped_prior(self._previous.alpha)

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stores the model's mask of that frame, uint8 [h,w], and returns the smoothed mask.

        Raises ValueError if `prior` was not called before.
        """
        if self._current is None:
            raise ValueError("update() needs a prior() call for the same frame")
        image, smoothed = self._current.image, alpha
        if self._previous is not None:
            smoothed = smooth(alpha, image, self._previous, self.smoothing)
        self._previous, self._last = PreviousFrame(image, alpha, smoothed), self._current
        return smoothed

    def _continues(self, frame: _TimedImage) -> bool:
        """Returns True if `frame` continues the scene of the last frame.

        It has the same size, follows within `MAX_FRAME_GAP_S`, and there is no scene cut.
        """
        last = self._last
        return (
            last is not None
            and frame.photo_hw == last.photo_hw
            and frame.time_s - last.time_s <= MAX_FRAME_GAP_S
            and not is_scene_cut(frame.image, last.image)
        )
