"""Combines the mask of a photo with the transparency that the photo already has.

The mask is turned into a *share*: the part of each visible pixel that is person. Edits apply to the
share. The alpha of the result is the share times the photo's opacity, so it is never above it.
`pipeline.model_input` has the colours that a model sees where a photo is clear.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import resize
from silhouette_seg.vision.mask.quality import person_pixels

MAX_REJECTED_SHARE = 1 / 3
"""Largest part of a cut-out's opacity that a model may reject without effect.

Models lose clothes on a plain background. Of 77 validation photos that md_trisenet cut out, it
rejects over 1 % in 35, over 20 % in 3 and over a third in 1.
"""
MIN_CONCAVITY = 0.02
"""Smallest missing part of the convex hull of a cut-out, 0..1.

Circles, the usual shape of avatars, lack less than 0.014. Of 77 people cut out of validation
photos 72 lack more than 0.03.
"""


@dataclass(frozen=True, slots=True)
class VisibleMask:
    """The part of a model's mask that is visible in its photo, at the model's size.

    `opacity` is that of the photo at its own size, uint8 [H,W], or None if all of it is opaque.
    """

    mask: NDArray[np.uint8]
    """Mask of the visible pixels, uint8 [h,w], for measures; 0 where the photo is clear."""
    opacity: NDArray[np.uint8] | None = None
    cut_out: bool = False
    """True if the opacity of the photo is already the mask of its people."""

    @classmethod
    def of(cls, mask: NDArray[np.uint8], opacity: NDArray[np.uint8] | None) -> Self:
        """Returns the visible part of a model's mask, uint8 [h,w], for a photo on white."""
        if opacity is None:
            return cls(mask)
        reduced = resize(opacity, (mask.shape[0], mask.shape[1]))
        if is_cut_out(mask, reduced):
            return cls(reduced, opacity, cut_out=True)
        return cls(visible_share(mask, reduced), opacity)

    def enlarged(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns a mask of the photo, uint8 [h,w], which is 0 where the photo is clear.

        `alpha` is the model's mask at that size. In a cut-out all that is visible is person.
        """
        if self.opacity is None:
            return alpha
        shown = np.full_like(alpha, 255) if self.cut_out else alpha
        visible = resize(self.opacity, (alpha.shape[0], alpha.shape[1]))
        return np.asarray(cv2.copyTo(shown, visible), np.uint8)


def visible_share(alpha: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the person's share of each visible pixel, uint8 [h,w]; 0 where the photo is clear.

    `alpha` is the mask of the photo on white and `opacity` that of the photo, both uint8 [h,w].
    """
    # cv2 defines division by 0 as 0.
    return np.asarray(cv2.divide(cv2.min(alpha, opacity), opacity, scale=255), np.uint8)


def limit_to_opacity(share: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the alpha of a result, uint8 [h,w]: the share of `visible_share` times the opacity.

    It is exact where one of both is 0 or 255, and nowhere above the opacity.
    """
    return np.asarray(cv2.multiply(share, opacity, scale=1 / 255), np.uint8)


def is_cut_out(alpha: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> bool:
    """Returns True if the opacity of a photo is already the mask of its people.

    `alpha` is the model's mask of the photo on white and `opacity` that of the photo, both uint8
    [h,w]. Nearly all that is visible must be person, and its outline must not be that of an avatar:
    convex, as circles and rounded squares are.
    """
    visible = int(opacity.sum(dtype=np.int64))
    person = int(cv2.min(alpha, opacity).sum(dtype=np.int64))
    return person > 0 and person >= (1 - MAX_REJECTED_SHARE) * visible and is_concave(opacity)


def is_concave(opacity: NDArray[np.uint8]) -> bool:
    """Returns True if the visible parts of a photo fill clearly less than their convex hulls.

    Half a pixel along the outline is the error of drawing a shape in pixels, and does not count.
    """
    contours, _ = cv2.findContours(person_pixels(opacity), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hulls = [cv2.convexHull(contour) for contour in contours]
    whole = sum(map(cv2.contourArea, hulls))
    missing = whole - sum(map(cv2.contourArea, contours))
    error = sum(cv2.arcLength(hull, closed=True) for hull in hulls) / 2
    return missing > MIN_CONCAVITY * whole + error
