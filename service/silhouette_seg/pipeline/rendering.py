"""Renders a segmented photo as a mask, a cut-out or a composite."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.options import (
    BackgroundImage,
    Blur,
    BlurredFaces,
    Colour,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose import blend, layout
from silhouette_seg.vision.compose.face_blur import blur_faces
from silhouette_seg.vision.compose.foreground import estimate_foreground
from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask import quality
from silhouette_seg.vision.mask.guided_filter import refine_edges
from silhouette_seg.vision.mask.opacity import limit_to_opacity, visible_share
from silhouette_seg.vision.mask.person_selection import Piece, select_dominant
from silhouette_seg.vision.mask.trimap import BACKGROUND, make_trimap

CropSlices = tuple[slice, slice]
"""Slices of the rows and columns of a photo that the rendered image shows."""


NO_FACES = "No face detector ran, so the largest and most central person is kept."
"""Warning of `person=dominant`, which otherwise keeps the person with the largest face."""


@dataclass(frozen=True, slots=True)
class Composition:
    """A rendered image, not yet encoded, with the facts about the person in it."""

    image: NDArray[np.uint8]
    """uint8: grey [h,w] for a mask or trimap, RGBA [h,w,4] for a cut-out, RGB [h,w,3] else."""
    mask: NDArray[np.uint8] | None
    """The person's mask, uint8 [H,W] at the size of the photo, before inversion, crop and layout.

    It is None unless the options request the masks of people: it would take a byte a pixel.
    """
    box: quality.Box | None
    """Bounding box of the person in pixels of the photo; None without a person."""
    pieces: tuple[Piece, ...]
    """Connected pieces of the mask, kept and rejected, if one person was selected; else empty."""
    blurred_faces: int | None = None
    """Number of faces that were blurred; None unless the options request it."""
    warning: str | None = None
    """`NO_FACES` if one person was selected without a face detector, else None."""


def render_image(
    options: RenderOptions, photo: Frame, background: Frame | None, matte: Matte
) -> Composition:
    """Edits the mask of a photo by the options, and renders the image.

    Returns it with the person's bounding box and the pieces of the mask. `background` is the
    decoded background image, or None. Raises ValueError if the options name a background image and
    it is None, or if they request blurred faces and no face detector ran. The pixels of `photo`
    may be overwritten. Only for masks and trimaps may it be decoded at a reduced size.
    """
    share, pieces = _select_people(matte, options)
    selects = options.person is PersonSelection.DOMINANT
    warning = NO_FACES if selects and not _detector_ran(matte) else None
    if options.refine is Refinement.GUIDED and not matte.cut_out:
        share = _refine_mask(share, photo)
    opacity = photo.opacity
    if opacity is not None:
        opacity = resize(opacity, (share.shape[0], share.shape[1]))
        share = visible_share(share, opacity)
    edited, person = apply_edits(share, options, opacity)
    box = quality.bounding_box(person)
    mask = person if options.masks else None
    if isinstance(options.background, BlurredFaces):
        faces = _found_faces(matte)
        blur_faces(photo.rgb, (face.box(photo.photo_hw) for face in faces))
        image = np.ascontiguousarray(photo.rgb[_crop_slices(box, photo.photo_hw, options)])
        return Composition(image, mask, box, pieces, len(faces))
    image = _compose(options, photo, background, share, edited, box)
    return Composition(image, mask, box, pieces, warning=warning)


def person_mask(matte: Matte) -> NDArray[np.uint8]:
    """Returns the alpha mask, uint8 [H,W], of a segmented photo.

    It is zeros if the largest component of the mask is noise, too small or too soft for a person.
    """
    return quality.empty_if_noise(matte.alpha, matte.quality)


def apply_edits(
    alpha: NDArray[np.uint8], options: RenderOptions, opacity: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Applies the options threshold, grow, feather and invert to a mask, uint8 [H,W].

    Returns the edited mask, and the person's mask before inversion, uint8 [H,W] each. `opacity`,
    uint8 [H,W], is that of a transparent photo. The mask is then its visible share, and the result
    is nowhere above the opacity.
    """
    if options.threshold is not None:
        alpha = quality.binarise(alpha, options.threshold)
    if options.grow:
        alpha = quality.grow(alpha, options.grow)
    if options.feather:
        alpha = quality.feather(alpha, options.feather)
    if opacity is None:
        return _inverted(alpha, options), alpha
    shown = limit_to_opacity(_inverted(alpha, options), opacity)
    # A photo that is translucent everywhere has no pixel over 127, but may have a person.
    visible = limit_to_opacity(alpha, opacity)
    return shown, visible if quality.bounding_box(visible) else alpha


def occluded(
    soft: NDArray[np.uint8], shown: NDArray[np.uint8], options: RenderOptions
) -> NDArray[np.uint8]:
    """Returns the mask, uint8 [H,W], of pixels to hide when a background is made of the photo.

    255 = fully hidden. It covers the pixels that are shown and those in which the photo mixes them
    with the background. `soft` is the mask before `apply_edits`, `shown` the mask that it returned.
    """
    return np.maximum(_inverted(soft, options), shown)


def _select_people(
    matte: Matte, options: RenderOptions
) -> tuple[NDArray[np.uint8], tuple[Piece, ...]]:
    alpha = person_mask(matte)
    if options.person is PersonSelection.ALL:
        return alpha, ()
    face = matte.decision.face if matte.decision else None
    photo_hw = alpha.shape[0], alpha.shape[1]
    return select_dominant(alpha, None if face is None else face.box(photo_hw))


def _detector_ran(matte: Matte) -> bool:
    return matte.decision is not None and matte.decision.detector_ran


def _refine_mask(alpha: NDArray[np.uint8], photo: Frame) -> NDArray[np.uint8]:
    """Refines the edges of a mask, uint8 [H,W], by the guided filter and returns a new one.

    The filter works at the resolution of the decoded photo, which may be reduced for mask output.
    """
    rgb_hw = photo.rgb.shape[0], photo.rgb.shape[1]
    return resize(refine_edges(photo.rgb, resize(alpha, rgb_hw)), (alpha.shape[0], alpha.shape[1]))


def _inverted(alpha: NDArray[np.uint8], options: RenderOptions) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_not(alpha), np.uint8) if options.invert else alpha


def _compose(
    options: RenderOptions,
    photo: Frame,
    background: Frame | None,
    soft: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    box: quality.Box | None,
) -> NDArray[np.uint8]:
    """Renders the image that the options request: uint8 [h,w], [h,w,3] or [h,w,4].

    `soft` is the mask before the edits: the person's share of each visible pixel of the photo.
    `edited` is the mask to show, and `box` the person's bounding box or None.
    """
    window = _crop_slices(box, photo.photo_hw, options)
    if options.only_mask:
        if options.layout is not None:
            edited = layout.place_person_mask(edited, box, options.layout, photo.photo_hw)
        if options.output is Output.TRIMAP:
            edited = _trimap(edited, options, photo.opacity)
        return np.ascontiguousarray(edited[window])
    rgb, alpha = (np.ascontiguousarray(part[window]) for part in (photo.rgb, edited))
    soft = np.ascontiguousarray(soft[window])
    scene = None
    if options.output is Output.COMPOSITE:
        scene = _make_background(options, rgb, occluded(soft, alpha, options), background)
    if photo.opacity is not None:
        blend.remove_white(rgb, photo.opacity[window])
    colours = rgb
    if options.decontaminate:
        # Done last and in place: a copy here would be the largest allocation of the request.
        colours = estimate_foreground(rgb, _inverted(soft, options), in_place=True)
    shown = layout.Layer(colours, alpha)
    if options.layout is not None:
        shown = layout.place_person(colours, alpha, box, options.layout, photo.photo_hw)
    if scene is None:
        return blend.cutout(*shown)
    lit = blend.light_wrap(*shown, scene, options.light_wrap)
    return blend.composite(lit, shown.alpha, scene, in_place=True)


def _trimap(
    alpha: NDArray[np.uint8], options: RenderOptions, opacity: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Returns the trimap of a mask, uint8 [H,W]; clear pixels of the photo are background."""
    trimap = make_trimap(alpha, options.trimap_band)
    if opacity is not None:
        trimap[resize(opacity, (alpha.shape[0], alpha.shape[1])) == 0] = BACKGROUND
    return trimap


def _found_faces(matte: Matte) -> tuple[Face, ...]:
    """Returns the faces of a photo. Raises ValueError if no face detector ran."""
    if matte.decision is None or not matte.decision.detector_ran:
        raise ValueError("the options request blurred faces, and no face detector ran")
    return matte.decision.faces


def _crop_slices(box: quality.Box | None, photo_hw: Size, options: RenderOptions) -> CropSlices:
    """Returns the slices of the crop around the person's bounding box.

    They are those of the whole photo if the options request no crop or there is no person.
    """
    if not options.crop or box is None:
        return slice(0, photo_hw[0]), slice(0, photo_hw[1])
    share = options.crop_margin / 100
    return (
        _expand(box.top, box.height, share, photo_hw[0]),
        _expand(box.left, box.width, share, photo_hw[1]),
    )


def _expand(start: int, length: int, share: float, end: int) -> slice:
    """Returns a slice of `length` pixels from `start`, with a margin, clipped to 0..`end`.

    The margin on each side is the fraction `share` of the length.
    """
    margin = round(length * share)
    return slice(max(0, start - margin), min(end, start + length + margin))


def _make_background(
    options: RenderOptions,
    rgb: NDArray[np.uint8],
    excluded: NDArray[np.uint8],
    background: Frame | None,
) -> NDArray[np.uint8]:
    """Returns the background of a composite, uint8 [H,W,3]: a colour, a blur or an image.

    `excluded` is the mask from `occluded`. Raises ValueError if the options name a background image
    and `background` is None, and for blurred faces, which are no background.
    """
    size_hw = (rgb.shape[0], rgb.shape[1])
    match options.background:
        case Colour(colour):
            return blend.solid(size_hw, colour)
        case Blur(radius_percent):
            return blend.blurred(rgb, radius_percent, excluded)
        case BackgroundImage():
            if background is None:
                raise ValueError("the options name a background image, and none was given")
            return blend.resize_to_cover(background.rgb, size_hw)
        case BlurredFaces():
            raise ValueError("a photo with blurred faces has no other background")
