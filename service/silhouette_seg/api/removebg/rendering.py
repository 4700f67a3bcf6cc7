"""Renders the picture that the parameters of remove.bg describe, from a photo and its mask.

The functions are slow: call them in a thread.
"""

import io
import zipfile
from dataclasses import dataclass, replace
from math import prod, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.api.removebg.parameters import WHOLE_IMAGE, Encoding, Length, Parameters, Rgba
from silhouette_seg.errors import BadParameter, ForegroundMissing, TooManyPixels
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.vision.codec.decode import Frame, ImageFormat
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.compose import blend
from silhouette_seg.vision.compose.layout import Layer, Layout, PersonCopy, place_person
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.quality import Box

MAX_INVISIBLE_ALPHA = 12
"""Largest alpha, 0..255, of a pixel that does not count as visible; 12 is about 5 %."""
ZIP_MEDIA_TYPE = "application/zip"
WHITE = (255, 255, 255)

_STRIP_ROWS = 64
"""Number of rows that are blended together, which bounds the memory for floating-point pixels."""


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """Encoded picture of one request, its size in pixels, and the box of the person."""

    body: bytes
    media_type: str
    size_hw: Size
    box: Box
    """Box of the person, in pixels of the picture before it was cropped or the person moved."""
    warning: str | None = None
    """A sentence on a fault of an input file that costs no pixel; None without one."""


def result_size(photo_hw: Size, max_pixels: int | None) -> Size:
    """Scales the size of a photo down until it has at most `max_pixels`, and returns it.

    Sizes are (height, width) in pixels. The aspect ratio stays, and None keeps the size.
    """
    pixels = photo_hw[0] * photo_hw[1]
    if max_pixels is None or pixels <= max_pixels:
        return photo_hw
    scale = sqrt(max_pixels / pixels)
    return max(1, int(photo_hw[0] * scale)), max(1, int(photo_hw[1] * scale))


def cropped_size(parameters: Parameters, box_hw: Size) -> Size:
    """Returns (height, width) in pixels of a picture cropped to the person, margins included.

    `box_hw` is the size of the person's box.
    """
    top, right, bottom, left = _margins(parameters, box_hw)
    return top + box_hw[0] + bottom, left + box_hw[1] + right


def downscaled(frame: Frame) -> Frame:
    """Returns a decoded photo scaled to the size of the result, its `photo_hw`.

    It was decoded larger if the model needs more pixels.
    """
    return frame.resized(frame.photo_hw)


def render_result(
    parameters: Parameters,
    options: RenderOptions,
    photo: Frame,
    background: Frame | None,
    matte: Matte,
    photo_hw: Size,
    max_pixels: int,
) -> tuple[NDArray[np.uint8], Box]:
    """Renders the result of one request from the photo and its mask.

    Returns its pixels and the person's box before it is moved. The pixels are uint8: grey [h,w],
    RGB [h,w,3] or RGBA [h,w,4]. `photo` has the size of the result, and `photo_hw` is that of the
    upload. Raises ForegroundMissing without a person, BadParameter for an empty `roi`, and
    TooManyPixels if margins make more than `max_pixels`.
    """
    if not matte.quality.foreground:
        raise ForegroundMissing
    # The cut-out has no name here, so that a layout can release its memory.
    layer, box = _apply_layout(
        _render_cutout(options, photo, _limit_to_roi(matte, parameters, photo_hw)),
        parameters,
        max_pixels,
    )
    if parameters.alpha_only:
        return layer.alpha, box
    return _over_background(layer, parameters.bg_color, background), box


def encode_result(image: NDArray[np.uint8], box: Box, encoding: Encoding) -> RemovalResult:
    """Encodes pixels and box that `render_result` returned as a file of the requested format."""
    body, media_type = _encode(image, encoding)
    return RemovalResult(body, media_type, (image.shape[0], image.shape[1]), box)


def _render_cutout(options: RenderOptions, photo: Frame, matte: Matte) -> Layer:
    rgba = render_image(options, photo, None, matte).image
    return Layer(
        np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8),
        np.asarray(cv2.extractChannel(rgba, 3), np.uint8),
    )


def _limit_to_roi(matte: Matte, parameters: Parameters, photo_hw: Size) -> Matte:
    """Returns the mask with zeros outside the region that the parameter `roi` names.

    `photo_hw` is the size, in pixels, of the photo to which `roi` refers. Raises BadParameter for
    an empty region.
    """
    if parameters.roi == WHOLE_IMAGE:
        return matte
    left, top, right, bottom = parameters.roi
    (height, width), (photo_height, photo_width) = matte.alpha.shape, photo_hw
    rows = _roi_slice(top, bottom, photo_height, height)
    columns = _roi_slice(left, right, photo_width, width)
    alpha = np.zeros_like(matte.alpha)
    alpha[rows, columns] = matte.alpha[rows, columns]
    return replace(matte, alpha=alpha)


def _roi_slice(first: Length, last: Length, photo_side: int, side: int) -> slice:
    start, stop = (
        round(min(edge.to_pixels(photo_side), photo_side) / photo_side * side)
        for edge in (first, last)
    )
    if start >= stop:
        raise BadParameter("roi: the region is empty")
    return slice(start, stop)


def _visible_box(alpha: NDArray[np.uint8]) -> Box:
    left, top, width, height = cv2.boundingRect(np.asarray(alpha > MAX_INVISIBLE_ALPHA, np.uint8))
    if not width:
        raise ForegroundMissing
    return Box(top, left, height, width)


def _apply_layout(person: Layer, parameters: Parameters, max_pixels: int) -> tuple[Layer, Box]:
    """Scales the person, and crops to it or moves it, as the parameters say.

    Returns the resulting pixels, and the person's box before that. Raises ForegroundMissing if no
    pixel is visible, and TooManyPixels for a crop of more than `max_pixels`.
    """
    box = _visible_box(person.alpha)
    if parameters.crop:
        return _crop_to_person(person, box, parameters, max_pixels), box
    if parameters.scale is None and parameters.position is None:
        return person, box
    return _reposition(person, box, parameters), box


def _crop_to_person(person: Layer, box: Box, parameters: Parameters, max_pixels: int) -> Layer:
    scale = _person_scale(person, box, parameters)
    box_hw = (round(scale * box.height) or 1, round(scale * box.width) or 1)
    size_hw = cropped_size(parameters, box_hw)
    if prod(size_hw) > max_pixels:
        raise TooManyPixels(
            "With its crop_margin the picture has too many pixels.",
            limit=max_pixels,
            actual=prod(size_hw),
        )
    top, *_, left = _margins(parameters, box_hw)
    return _place_on_canvas(person, box, size_hw, top=top, left=left, scale=scale)


def _person_scale(person: Layer, box: Box, parameters: Parameters) -> float:
    """Returns the factor by which the person is scaled to fill its share of the picture."""
    if parameters.scale is None:
        return 1.0
    height, width = person.alpha.shape
    scale_to_fill: float = min(height / box.height, width / box.width)
    return parameters.scale * scale_to_fill


def _margins(parameters: Parameters, box_hw: Size) -> tuple[int, int, int, int]:
    """Returns the margins of a crop in pixels: above, right, below and left of the person.

    `box_hw` is the size of the person's box, to which margins in percent refer.
    """
    (height, width), (top, right, bottom, left) = box_hw, parameters.crop_margin
    return (
        round(top.to_pixels(height)),
        round(right.to_pixels(width)),
        round(bottom.to_pixels(height)),
        round(left.to_pixels(width)),
    )


def _reposition(person: Layer, box: Box, parameters: Parameters) -> Layer:
    height, width = person.alpha.shape
    scale = _person_scale(person, box, parameters)
    top, left = float(box.top), float(box.left)
    if parameters.position is not None:
        across, down = parameters.position
        top, left = down * (height - scale * box.height), across * (width - scale * box.width)
    elif parameters.scale is not None:
        top += (1 - scale) * box.height / 2
        left += (1 - scale) * box.width / 2
    return _place_on_canvas(person, box, (height, width), top=top, left=left, scale=scale)


def _place_on_canvas(
    person: Layer, box: Box, size_hw: Size, *, top: float, left: float, scale: float
) -> Layer:
    """Returns the person, scaled by `scale`, on an empty picture of `size_hw`.

    The upper left corner of the person's box is at row `top` and column `left`, in pixels.
    """
    middle = (left + scale * box.width / 2) / size_hw[1]
    foot = (top + scale * box.height) / size_hw[0]
    layout = Layout((PersonCopy(middle, foot, scale),))
    return place_person(person.rgb, person.alpha, box, layout, size_hw)


def _over_background(
    person: Layer, colour: Rgba | None, background: Frame | None
) -> NDArray[np.uint8]:
    """Returns the person in front of a colour or a background image, uint8.

    It is RGBA [h,w,4] with a transparent or translucent colour or none, else RGB [h,w,3].
    """
    size_hw = (person.alpha.shape[0], person.alpha.shape[1])
    if background is not None:
        rgb = blend.resize_to_cover(background.rgb, size_hw)
        return blend.composite(person.rgb, person.alpha, rgb, in_place=True)
    if colour is None or colour[3] == 0:
        return blend.cutout(person.rgb, person.alpha)
    if colour[3] == 255:
        rgb = blend.solid(size_hw, colour[:3])
        return blend.composite(person.rgb, person.alpha, rgb, in_place=True)
    return _over_translucent(person, colour)


def _over_translucent(person: Layer, colour: Rgba) -> NDArray[np.uint8]:
    """Returns RGBA [h,w,4] of the person over a translucent colour, with straight alpha."""
    image = np.empty((*person.alpha.shape, 4), np.uint8)
    behind = np.array(colour[:3], np.float32)
    for start in range(0, len(image), _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        alpha = person.alpha[rows].astype(np.float32)[..., None]
        rest = (255 - alpha) * (colour[3] / 255)
        image[rows, :, :3] = np.rint((person.rgb[rows] * alpha + behind * rest) / (alpha + rest))
        image[rows, :, 3:] = np.rint(alpha + rest)
    return image


def _encode(image: NDArray[np.uint8], encoding: Encoding) -> tuple[bytes, str]:
    """Encodes pixels uint8 [h,w], [h,w,3] or [h,w,4]; returns the file and its media type."""
    has_alpha = image.ndim == 3 and image.shape[2] == 4
    match encoding:
        case Encoding.ZIP:
            return _encode_zip(image), ZIP_MEDIA_TYPE
        case Encoding.PNG:
            format = ImageFormat.PNG
        case Encoding.WEBP:
            format = ImageFormat.WEBP
        case Encoding.JPG:
            format, image = ImageFormat.JPEG, _over_white(image) if has_alpha else image
        case Encoding.AUTO:
            opaque = image.ndim == 3 and not has_alpha
            format = ImageFormat.JPEG if opaque else ImageFormat.PNG
    return encode(image, format), format.media_type


def _over_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), np.uint8)
    alpha = np.asarray(cv2.extractChannel(image, 3), np.uint8)
    return blend.composite(rgb, alpha, blend.solid(alpha.shape[:2], WHITE), in_place=True)


def _encode_zip(image: NDArray[np.uint8]) -> bytes:
    """Returns a ZIP file with `color.jpg` and `alpha.png`, which clients of remove.bg combine."""
    if image.ndim == 2:
        image = np.dstack([image, image, image, image])
    alpha = np.full(image.shape[:2], 255, np.uint8)
    if image.shape[2] == 4:
        alpha = np.asarray(cv2.extractChannel(image, 3), np.uint8)
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("color.jpg", encode(image, ImageFormat.JPEG))
        archive.writestr("alpha.png", encode(alpha, ImageFormat.PNG))
    return file.getvalue()
