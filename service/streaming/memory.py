"""What one stream remembers of its last frame, and when it had better forget."""

from collections.abc import Callable
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from service.streaming.temporal import Seen, is_cut, smooth
from service.vision.geometry import Size

GAP_S = 1.0
"""After a longer pause the last frame says nothing about the next."""


class StreamMemory:
    """The memory that `Segmenter.run` asks, of one stream and one model.

    Forgets when the size of the frames changes, after a gap, at a scene cut and when told to.
    """

    def __init__(self, smoothing: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self.smoothing = smoothing
        """The dial of `temporal.smooth`; may be turned while the stream runs."""
        self._clock = clock
        self._told_to_forget = False
        self._seen: Seen | None = None
        self._image: NDArray[np.uint8] | None = None
        self._photo_hw: Size | None = None
        self._at = 0.0

    def forget(self) -> None:
        """From the next frame on. May be called while a frame is in work."""
        self._told_to_forget = True

    def recall(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """See segmenter.Memory."""
        now = self._clock()
        told, self._told_to_forget = self._told_to_forget, False
        if self._seen and (
            told
            or photo_hw != self._photo_hw
            or now - self._at > GAP_S
            or is_cut(image, self._seen.image)
        ):
            self._seen = None
        self._image, self._photo_hw, self._at = image, photo_hw, now
        return self._seen.alpha if self._seen else np.zeros(image.shape[:2], np.uint8)

    def keep(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See segmenter.Memory."""
        if self._image is None:
            raise ValueError("a mask is kept of the frame that was recalled for")
        shown = smooth(alpha, self._image, self._seen, self.smoothing) if self._seen else alpha
        self._seen = Seen(self._image, alpha, shown)
        return shown
