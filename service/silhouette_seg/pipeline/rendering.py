"""A photo and its matte become the picture that was asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.options import (
    Background,
    BackgroundImage,
    Blur,
    Colour,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose import blend, layout
from silhouette_seg.vision.compose.foreground import estimate_foreground
from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask import quality
from silhouette_seg.vision.mask.guided_filter import refine_edges
from silhouette_seg.vision.mask.person_selection import Piece, select_dominant

CropSlices = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Composition:
    """`image` is uint8 [h,w] or [h,w,3|4]."""

    image: NDArray[np.uint8]
    box: quality.Box | None
    """Where the person is, in pixels of the photo."""
    pieces: tuple[Piece, ...]
    """Of the mask, kept and rejected, where one person was chosen."""


def render_image(
    options: RenderOptions, photo: Frame, picture: Frame | None, found: Matte
) -> Composition:
    """The photo is whole unless only its mask is wanted, and is used up; `picture` comes with a
    Picture background.
    """
    alpha, pieces = _select_people(found, options)
    if options.refine is Refinement.GUIDED:
        alpha = _refine_mask(alpha, photo)
    shaped, box = apply_edits(alpha, options)
    return Composition(_compose(options, photo, picture, alpha, shaped, box), box, pieces)


def person_mask(found: Matte) -> NDArray[np.uint8]:
    """The mask of a matte: an empty one where what was found is noise."""
    return quality.empty_if_noise(found.alpha, found.quality)


def apply_edits(
    alpha: NDArray[np.uint8], options: RenderOptions
) -> tuple[NDArray[np.uint8], quality.Box | None]:
    """The alpha to use, and the person's box in it; None without a person."""
    if options.threshold is not None:
        alpha = quality.binarise(alpha, options.threshold)
    if options.grow:
        alpha = quality.grow(alpha, options.grow)
    if options.feather:
        alpha = quality.feather(alpha, options.feather)
    return _inverted(alpha, options), quality.bounding_box(alpha)


def occluded(
    soft: NDArray[np.uint8], shown: NDArray[np.uint8], options: RenderOptions
) -> NDArray[np.uint8]:
    """What has no place in a background made of the photo: all that is shown, or that the photo
    mixes with it. `soft` is the mask before `shape`, `shown` what that gave.
    """
    return np.maximum(_inverted(soft, options), shown)


def _select_people(
    found: Matte, options: RenderOptions
) -> tuple[NDArray[np.uint8], tuple[Piece, ...]]:
    alpha = person_mask(found)
    if options.person is PersonSelection.ALL:
        return alpha, ()
    face = found.decision.face if found.decision else None
    return select_dominant(alpha, _face_box(face, alpha.shape) if face else None)


def _face_box(face: Face, photo_hw: tuple[int, ...]) -> quality.Box:
    height, width = photo_hw
    return quality.Box(
        top=round(face.top * height),
        left=round(face.left * width),
        height=round(face.height * height),
        width=round(face.width * width),
    )


def _refine_mask(alpha: NDArray[np.uint8], photo: Frame) -> NDArray[np.uint8]:
    """At the resolution that the photo was decoded at, which a mask alone may have reduced."""
    seen_hw = photo.rgb.shape[0], photo.rgb.shape[1]
    return resize(refine_edges(photo.rgb, resize(alpha, seen_hw)), (alpha.shape[0], alpha.shape[1]))


def _inverted(alpha: NDArray[np.uint8], options: RenderOptions) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_not(alpha), np.uint8) if options.invert else alpha


def _compose(
    options: RenderOptions,
    photo: Frame,
    picture: Frame | None,
    soft: NDArray[np.uint8],
    shaped: NDArray[np.uint8],
    box: quality.Box | None,
) -> NDArray[np.uint8]:
    """`soft` is how the photo mixes person and background, `shaped` what is shown of it."""
    window = _crop_slices(box, photo.photo_hw, options)
    if options.output is Output.MASK:
        if options.layout is not None:
            return layout.place_mask(shaped, box, options.layout, photo.photo_hw)
        return np.ascontiguousarray(shaped[window])
    rgb, alpha = (np.ascontiguousarray(part[window]) for part in (photo.rgb, shaped))
    soft = np.ascontiguousarray(soft[window])
    scene = None
    if options.output is Output.COMPOSITE:
        scene = _make_background(rgb, occluded(soft, alpha, options), picture, options.background)
    # Last, and in place: a copy would be the dearest of all that a large photo holds.
    colours = (
        estimate_foreground(rgb, _inverted(soft, options), in_place=True)
        if options.decontaminate
        else rgb
    )
    shown = layout.Layer(colours, alpha)
    if options.layout is not None:
        shown = layout.place(colours, alpha, box, options.layout, photo.photo_hw)
    if scene is None:
        return blend.cutout(*shown)
    lit = blend.light_wrap(*shown, scene, options.light_wrap)
    return blend.composite(lit, shown.alpha, scene, in_place=True)


def _crop_slices(box: quality.Box | None, photo_hw: Size, options: RenderOptions) -> CropSlices:
    """The rows and columns of the photo that the result shows; all without a person."""
    if not options.crop or box is None:
        return slice(0, photo_hw[0]), slice(0, photo_hw[1])
    share = options.crop_margin / 100
    return (
        _expand(box.top, box.height, share, photo_hw[0]),
        _expand(box.left, box.width, share, photo_hw[1]),
    )


def _expand(start: int, length: int, share: float, end: int) -> slice:
    margin = round(length * share)
    return slice(max(0, start - margin), min(end, start + length + margin))


def _make_background(
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
        case BackgroundImage():
            if picture is None:
                raise ValueError("a job with a picture background comes with the picture")
            return blend.resize_to_cover(picture.rgb, size_hw)
