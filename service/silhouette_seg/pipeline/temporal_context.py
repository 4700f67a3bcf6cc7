"""State that the frames of a stream share: an interface of the segmenter, and its empty form."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size


class TemporalContext(Protocol):
    """State carried between the frames of one stream.

    For each frame `prior` is called before the model runs and `update` after. Both run in a worker
    thread.
    """

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """Returns the mask of the previous frame, uint8 [h,w], as an input for the current one.

        `image` is the resized current frame, uint8 [h,w,3]; `photo_hw` is the frame's own (height,
        width). The mask is zeros if the frame has no predecessor.
        """
        ...

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Records the model's mask, uint8 [h,w], of the frame that was last passed to `prior`.

        Returns the mask to show, uint8 [h,w].
        """
        ...


class NoContext:
    """Context of an image without a previous frame: that frame's mask is zeros.

    Predicted masks are shown as they are.
    """

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """Returns zeros, uint8 [h,w], as the mask of the previous frame for an image [h,w,3]."""
        return np.zeros(image.shape[:2], np.uint8)

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the mask, uint8 [h,w], unchanged; without a stream there is no state."""
        return alpha
