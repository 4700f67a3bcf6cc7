"""A photo and its matte become the picture that was asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.options import (
    Background,
    Blur,
    Colour,
    Look,
    Output,
    Person,
    Picture,
    Refine,
)
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose import blend, layout
from silhouette_seg.vision.compose.foreground import foreground
from silhouette_seg.vision.geometry import Size, shrink
from silhouette_seg.vision.mask import quality
from silhouette_seg.vision.mask.guided_filter import guided
from silhouette_seg.vision.mask.person_selection import Piece, dominant

Window = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Drawn:
    """`image` is uint8 [h,w] or [h,w,3|4]."""

    image: NDArray[np.uint8]
    box: quality.Box | None
    """Where the person is, in pixels of the photo."""
    pieces: tuple[Piece, ...]
    """Of the mask, kept and rejected, where one person was chosen."""


def draw(look: Look, photo: Frame, picture: Frame | None, found: Matte) -> Drawn:
    """The photo is whole unless only its mask is wanted, and is used up; `picture` comes with a
    Picture background.
    """
    alpha, pieces = _chosen(found, look)
    if look.refine is Refine.GUIDED:
        alpha = _refined(alpha, photo)
    shaped, box = shape(alpha, look)
    return Drawn(_paint(look, photo, picture, alpha, shaped, box), box, pieces)


def person_of(found: Matte) -> NDArray[np.uint8]:
    """The mask of a matte: an empty one where what was found is noise."""
    return quality.only_person(found.alpha, found.quality)


def shape(alpha: NDArray[np.uint8], look: Look) -> tuple[NDArray[np.uint8], quality.Box | None]:
    """The alpha to use, and the person's box in it; None without a person."""
    if look.threshold is not None:
        alpha = quality.harden(alpha, look.threshold)
    if look.grow:
        alpha = quality.grow(alpha, look.grow)
    if look.feather:
        alpha = quality.feather(alpha, look.feather)
    return _kept(alpha, look), quality.bounding_box(alpha)


def hidden(soft: NDArray[np.uint8], shown: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """What has no place in a background made of the photo: all that is shown, or that the photo
    mixes with it. `soft` is the mask before `shape`, `shown` what that gave.
    """
    return np.maximum(_kept(soft, look), shown)


def _chosen(found: Matte, look: Look) -> tuple[NDArray[np.uint8], tuple[Piece, ...]]:
    alpha = person_of(found)
    if look.person is Person.ALL:
        return alpha, ()
    face = found.routed.face if found.routed else None
    return dominant(alpha, _box_of(face, alpha.shape) if face else None)


def _box_of(face: Face, photo_hw: tuple[int, ...]) -> quality.Box:
    height, width = photo_hw
    return quality.Box(
        top=round(face.top * height),
        left=round(face.left * width),
        height=round(face.height * height),
        width=round(face.width * width),
    )


def _refined(alpha: NDArray[np.uint8], photo: Frame) -> NDArray[np.uint8]:
    """At the resolution that the photo was decoded at, which a mask alone may have reduced."""
    seen_hw = photo.rgb.shape[0], photo.rgb.shape[1]
    return shrink(guided(photo.rgb, shrink(alpha, seen_hw)), (alpha.shape[0], alpha.shape[1]))


def _kept(alpha: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_not(alpha), np.uint8) if look.invert else alpha


def _paint(
    look: Look,
    photo: Frame,
    picture: Frame | None,
    soft: NDArray[np.uint8],
    shaped: NDArray[np.uint8],
    box: quality.Box | None,
) -> NDArray[np.uint8]:
    """`soft` is how the photo mixes person and background, `shaped` what is shown of it."""
    window = _window(box, photo.photo_hw, look)
    if look.output is Output.MASK:
        if look.layout is not None:
            return layout.place_mask(shaped, box, look.layout, photo.photo_hw)
        return np.ascontiguousarray(shaped[window])
    rgb, alpha = (np.ascontiguousarray(part[window]) for part in (photo.rgb, shaped))
    soft = np.ascontiguousarray(soft[window])
    scene = None
    if look.output is Output.COMPOSITE:
        scene = _background(rgb, hidden(soft, alpha, look), picture, look.background)
    # Last, and in place: a copy would be the dearest of all that a large photo holds.
    colours = foreground(rgb, _kept(soft, look), in_place=True) if look.decontaminate else rgb
    shown = layout.Layer(colours, alpha)
    if look.layout is not None:
        shown = layout.place(colours, alpha, box, look.layout, photo.photo_hw)
    if scene is None:
        return blend.cutout(*shown)
    lit = blend.light_wrap(*shown, scene, look.light_wrap)
    return blend.composite(lit, shown.alpha, scene, in_place=True)


def _window(box: quality.Box | None, photo_hw: Size, look: Look) -> Window:
    """The rows and columns of the photo that the result shows; all without a person."""
    if not look.crop or box is None:
        return slice(0, photo_hw[0]), slice(0, photo_hw[1])
    share = look.crop_margin / 100
    return (
        _stretch(box.top, box.height, share, photo_hw[0]),
        _stretch(box.left, box.width, share, photo_hw[1]),
    )


def _stretch(start: int, length: int, share: float, end: int) -> slice:
    margin = round(length * share)
    return slice(max(0, start - margin), min(end, start + length + margin))


def _background(
    rgb: NDArray[np.uint8],
    covered: NDArray[np.uint8],
    picture: Frame | None,
    background: Background,
) -> NDArray[np.uint8]:
    """`covered` is what `hidden` says."""
    size_hw = (rgb.shape[0], rgb.shape[1])
    match background:
        case Colour(colour):
            return blend.solid(size_hw, colour)
        case Blur(radius_percent):
            return blend.blurred(rgb, radius_percent, covered)
        case Picture():
            if picture is None:
                raise ValueError("a job with a picture background comes with the picture")
            return blend.cover(picture.rgb, size_hw)
