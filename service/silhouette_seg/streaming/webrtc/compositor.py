"""Composes the result of a video frame in its I420 planes, without a conversion to RGB."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.options import (
    Background,
    BackgroundImage,
    Blur,
    BlurredFaces,
    Colour,
    Output,
)
from silhouette_seg.pipeline.rendering import apply_edits, occluded, person_mask
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.streaming.session import StreamOptions
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose import blend, yuv
from silhouette_seg.vision.compose.yuv import Planes
from silhouette_seg.vision.geometry import Size


class Compositor:
    """Composes mask or composite of the frames of one stream, one at a time, as I420 planes.

    A background that does not depend on the frame is cached.
    """

    def __init__(self) -> None:
        self._cache_key: tuple[Size, Background] | None = None
        self._image: Frame | None = None
        self._background: Planes | None = None

    def compose(self, options: StreamOptions, photo: Planes, matte: Matte) -> Planes:
        """Returns the result of one frame, as `options` say: its mask in grey, or the composite.

        `photo` has the planes of the frame, and `matte` its mask. The result has the size of
        `photo`. Raises ValueError for an output that video cannot hold.
        """
        soft = person_mask(matte)
        alpha, _ = apply_edits(soft, options.render)
        match options.render.output:
            case Output.MASK:
                return yuv.from_mask(alpha)
            case Output.COMPOSITE:
                covered = occluded(soft, alpha, options.render)
                return yuv.composite(photo, alpha, self._background_for(options, photo, covered))
            case Output.CUTOUT:
                raise ValueError("video has no transparency")
            case Output.TRIMAP:
                raise ValueError("video does not keep the levels of a trimap")

    def _background_for(
        self, options: StreamOptions, photo: Planes, covered: NDArray[np.uint8]
    ) -> Planes:
        """Returns the planes of the background: the blurred frame, a colour or an image.

        `covered`, uint8 [h,w], is the alpha of the person, which the blur leaves out.
        """
        match options.render.background:
            case Blur(radius_percent):
                return yuv.blurred(photo, radius_percent, covered)
            case Colour(rgb):
                return self._cached(photo.size_hw, options, lambda hw: yuv.solid(hw, rgb))
            case BlurredFaces():
                raise ValueError("faces of streams are not blurred")
            case BackgroundImage():
                image = options.background
                if image is None:
                    raise ValueError("a background image is selected but missing")
                return self._cached(photo.size_hw, options, lambda hw: _cover(image, hw))

    def _cached(
        self, size_hw: Size, options: StreamOptions, make: Callable[[Size], Planes]
    ) -> Planes:
        """Returns the background that `make` builds for a frame size.

        It is built once, until the frame size or the background changes.
        """
        key = size_hw, options.render.background
        if (
            self._background is None
            or key != self._cache_key
            or options.background is not self._image
        ):
            self._cache_key, self._image = key, options.background
            self._background = make(size_hw)
        return self._background


def _cover(image: Frame, size_hw: Size) -> Planes:
    return yuv.from_rgb(blend.resize_to_cover(image.rgb, size_hw))
