"""A cut-out becomes the picture that remove.bg's parameters describe; for a worker."""

import io
import zipfile
from dataclasses import dataclass, replace
from math import prod, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.api.removebg.parameters import WHOLE, Encoding, Length, Rgba, Wanted
from silhouette_seg.errors import BadParameter, ForegroundMissing, TooManyPixels
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.vision.codec.decode import Frame, ImageFormat
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.compose import blend
from silhouette_seg.vision.compose.layout import Layer, Layout, PersonCopy, place_person
from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask.quality import Box

VISIBLE = 12
"""Alpha over which there is something to see: about 5 %."""
ZIP = "application/zip"
WHITE = (255, 255, 255)

_STRIP_ROWS = 64


@dataclass(frozen=True, slots=True)
class Removed:
    body: bytes
    media_type: str
    size_hw: Size
    box: Box
    """Where the person is in the picture before it was cropped or laid out."""


def size_of(photo_hw: Size, max_pixels: int | None) -> Size:
    """The largest size of that shape with at most so many pixels; never larger than the photo."""
    pixels = photo_hw[0] * photo_hw[1]
    if max_pixels is None or pixels <= max_pixels:
        return photo_hw
    share = sqrt(max_pixels / pixels)
    return max(1, int(photo_hw[0] * share)), max(1, int(photo_hw[1] * share))


def cropped(wanted: Wanted, box_hw: Size) -> Size:
    """Of the picture that is cropped to a person of that size, its margins included."""
    above, right, below, before = _margins(wanted, box_hw)
    return above + box_hw[0] + below, before + box_hw[1] + right


def reduced(frame: Frame) -> Frame:
    """The photo without the pixels that only its mask was for."""
    return replace(frame, rgb=resize(frame.rgb, frame.photo_hw))


def paint(
    wanted: Wanted,
    options: RenderOptions,
    photo: Frame,
    picture: Frame | None,
    found: Matte,
    photo_hw: Size,
    max_pixels: int,
) -> tuple[NDArray[np.uint8], Box]:
    """Grey [h,w], RGB or RGBA [h,w,3|4], and where the person is before it was laid out.

    `photo` is the one of `photo_hw` that was reduced. Raises ForegroundMissing for nobody, and
    TooManyPixels where the margins make a picture of more than `max_pixels`.
    """
    if not found.quality.foreground:
        raise ForegroundMissing
    layer, box = _laid_out(
        _cut_out(options, photo, _in_region(found, wanted, photo_hw)), wanted, max_pixels
    )
    return layer.alpha if wanted.only_alpha else _before(layer, wanted.bg_color, picture), box


def packed(image: NDArray[np.uint8], box: Box, encoding: Encoding) -> Removed:
    """What `paint` gave, as a file."""
    body, media_type = _file(image, encoding)
    return Removed(body, media_type, (image.shape[0], image.shape[1]), box)


def _cut_out(options: RenderOptions, photo: Frame, found: Matte) -> Layer:
    cut = render_image(options, photo, None, found).image
    return Layer(
        np.asarray(cv2.cvtColor(cut, cv2.COLOR_RGBA2RGB), np.uint8),
        np.asarray(cv2.extractChannel(cut, 3), np.uint8),
    )


def _in_region(found: Matte, wanted: Wanted, photo_hw: Size) -> Matte:
    """Nobody is outside of the region of interest. Raises BadParameter for one that is empty."""
    if wanted.roi == WHOLE:
        return found
    left, top, right, bottom = wanted.roi
    (height, width), (full_height, full_width) = found.alpha.shape, photo_hw
    rows = _span(top, bottom, full_height, height)
    columns = _span(left, right, full_width, width)
    alpha = np.zeros_like(found.alpha)
    alpha[rows, columns] = found.alpha[rows, columns]
    return replace(found, alpha=alpha)


def _span(first: Length, last: Length, photo_side: int, side: int) -> slice:
    start, stop = (
        round(min(edge.of(photo_side), photo_side) / photo_side * side) for edge in (first, last)
    )
    if start >= stop:
        raise BadParameter("roi: the region is empty")
    return slice(start, stop)


def _visible(alpha: NDArray[np.uint8]) -> Box:
    left, top, width, height = cv2.boundingRect(np.asarray(alpha > VISIBLE, np.uint8))
    if not width:
        raise ForegroundMissing
    return Box(top, left, height, width)


def _laid_out(person: Layer, wanted: Wanted, max_pixels: int) -> tuple[Layer, Box]:
    """The person in their new place, and where they were before."""
    box = _visible(person.alpha)
    if wanted.crop:
        return _cropped(person, box, wanted, max_pixels), box
    if wanted.scale is None and wanted.position is None:
        return person, box
    return _moved(person, box, wanted), box


def _cropped(person: Layer, box: Box, wanted: Wanted, max_pixels: int) -> Layer:
    box_hw = (box.height, box.width)
    size_hw = cropped(wanted, box_hw)
    if prod(size_hw) > max_pixels:
        raise TooManyPixels(
            "With its crop_margin the picture has too many pixels.",
            limit=max_pixels,
            actual=prod(size_hw),
        )
    above, *_, before = _margins(wanted, box_hw)
    return _put(person, box, size_hw, top=above, left=before, scale=1.0)


def _margins(wanted: Wanted, box_hw: Size) -> tuple[int, int, int, int]:
    """Pixels above, right, below and left of a person of that size."""
    (height, width), (above, right, below, before) = box_hw, wanted.crop_margin
    return (
        round(above.of(height)),
        round(right.of(width)),
        round(below.of(height)),
        round(before.of(width)),
    )


def _moved(person: Layer, box: Box, wanted: Wanted) -> Layer:
    height, width = person.alpha.shape
    fill = min(height / box.height, width / box.width)
    scale = 1.0 if wanted.scale is None else wanted.scale * fill
    top, left = float(box.top), float(box.left)
    if wanted.position is not None:
        across, down = wanted.position
        top, left = down * (height - scale * box.height), across * (width - scale * box.width)
    elif wanted.scale is not None:
        top += (1 - scale) * box.height / 2
        left += (1 - scale) * box.width / 2
    return _put(person, box, (height, width), top=top, left=left, scale=scale)


def _put(person: Layer, box: Box, size_hw: Size, *, top: float, left: float, scale: float) -> Layer:
    """The person on an empty canvas, the corner of their box at `top` and `left`."""
    middle = (left + scale * box.width / 2) / size_hw[1]
    foot = (top + scale * box.height) / size_hw[0]
    layout = Layout((PersonCopy(middle, foot, scale),))
    return place_person(person.rgb, person.alpha, box, layout, size_hw)


def _before(person: Layer, colour: Rgba | None, picture: Frame | None) -> NDArray[np.uint8]:
    """RGBA [h,w,4], or RGB [h,w,3] where nothing is transparent."""
    size_hw = (person.alpha.shape[0], person.alpha.shape[1])
    if picture is not None:
        background = blend.resize_to_cover(picture.rgb, size_hw)
        return blend.composite(person.rgb, person.alpha, background, in_place=True)
    if colour is None or colour[3] == 0:
        return blend.cutout(person.rgb, person.alpha)
    if colour[3] == 255:
        background = blend.solid(size_hw, colour[:3])
        return blend.composite(person.rgb, person.alpha, background, in_place=True)
    return _before_glass(person, colour)


def _before_glass(person: Layer, colour: Rgba) -> NDArray[np.uint8]:
    """RGBA [h,w,4] of the person over a colour that is not opaque; alpha is straight."""
    image = np.empty((*person.alpha.shape, 4), np.uint8)
    behind = np.array(colour[:3], np.float32)
    for start in range(0, len(image), _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        alpha = person.alpha[rows].astype(np.float32)[..., None]
        rest = (255 - alpha) * (colour[3] / 255)
        image[rows, :, :3] = np.rint((person.rgb[rows] * alpha + behind * rest) / (alpha + rest))
        image[rows, :, 3:] = np.rint(alpha + rest)
    return image


def _file(image: NDArray[np.uint8], encoding: Encoding) -> tuple[bytes, str]:
    """The file and its media type."""
    clear = image.ndim == 3 and image.shape[2] == 4
    match encoding:
        case Encoding.ZIP:
            return _zip(image), ZIP
        case Encoding.PNG:
            format = ImageFormat.PNG
        case Encoding.WEBP:
            format = ImageFormat.WEBP
        case Encoding.JPG:
            format, image = ImageFormat.JPEG, _on_white(image) if clear else image
        case Encoding.AUTO:
            opaque = image.ndim == 3 and not clear
            format = ImageFormat.JPEG if opaque else ImageFormat.PNG
    return encode(image, format), format.media_type


def _on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), np.uint8)
    alpha = np.asarray(cv2.extractChannel(image, 3), np.uint8)
    return blend.composite(rgb, alpha, blend.solid(alpha.shape[:2], WHITE), in_place=True)


def _zip(image: NDArray[np.uint8]) -> bytes:
    """`color.jpg` and `alpha.png`, as remove.bg's own clients put them together."""
    if image.ndim == 2:
        image = np.dstack([image, image, image, image])
    alpha = np.full(image.shape[:2], 255, np.uint8)
    if image.shape[2] == 4:
        alpha = np.asarray(cv2.extractChannel(image, 3), np.uint8)
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), np.uint8)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("color.jpg", encode(image, ImageFormat.JPEG))
        archive.writestr("alpha.png", encode(alpha, ImageFormat.PNG))
    return packed.getvalue()
