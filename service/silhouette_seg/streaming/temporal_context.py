"""What one stream remembers of its last frame, and when it had better forget."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.streaming.smoothing import Seen, hint, is_cut, smooth
from silhouette_seg.vision.geometry import Size

GAP_S = 0.5
"""After a longer pause the last frame says nothing about the next. On a labelled clip with a moving
camera its mask still helps RCRNet after 0.2 s, does nothing after 0.5 s and harm after 1 s."""


@dataclass(frozen=True, slots=True)
class _Frame:
    image: NDArray[np.uint8]
    photo_hw: Size
    at: float


class StreamMemory:
    """The memory that `Segmenter.run` asks, of one stream and one model.

    Forgets when the size of the frames changes, after a gap, at a scene cut and when told to. A
    frame that came to no mask is no frame before the next.
    """

    def __init__(self, smoothing: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self.smoothing = smoothing
        """The dial of `temporal.smooth`; may be turned while the stream runs."""
        self._clock = clock
        self._told_to_forget = False
        self._now: _Frame | None = None
        self._before: _Frame | None = None
        self._seen: Seen | None = None
        """The frame before, with its masks."""

    def forget(self) -> None:
        """From the next frame on. May be called while a frame is in work."""
        self._told_to_forget = True

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """See segmenter.TemporalContext."""
        self._now = _Frame(image, photo_hw, self._clock())
        told, self._told_to_forget = self._told_to_forget, False
        if told or not self._follows(self._now):
            self._seen = None
        return hint(self._seen.alpha) if self._seen else np.zeros(image.shape[:2], np.uint8)

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See segmenter.TemporalContext."""
        if self._now is None:
            raise ValueError("a mask is kept of the frame that was recalled for")
        image = self._now.image
        shown = smooth(alpha, image, self._seen, self.smoothing) if self._seen else alpha
        self._seen, self._before = Seen(image, alpha, shown), self._now
        return shown

    def _follows(self, frame: _Frame) -> bool:
        before = self._before
        return (
            before is not None
            and frame.photo_hw == before.photo_hw
            and frame.at - before.at <= GAP_S
            and not is_cut(frame.image, before.image)
        )
