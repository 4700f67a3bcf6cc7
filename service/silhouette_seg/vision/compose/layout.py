"""Places copies of the person in the image: moved, scaled and mirrored.

As text, `x:0.3,y:1,scale:0.6,flip:true` is one copy of the person. Copies are separated by `;`, and
a later copy is in front. Properties that a copy omits are those of the photo.
"""

import re
from dataclasses import dataclass
from math import floor, log2
from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.quality import Box

MAX_COPIES = 8
MIN_POSITION, MAX_POSITION = -1.0, 2.0
MIN_SCALE, MAX_SCALE = 0.05, 4.0

_DECIMALS = 6
_DECIMAL = re.compile(r"-?([0-9]{1,3}(\.[0-9]{0,20})?|\.[0-9]{1,20})")
_STRIP_ROWS = 64
"""Rows of the canvas drawn at a time.

It bounds the memory of intermediate values, which are wider than a byte.
"""


@dataclass(frozen=True, slots=True)
class PersonCopy:
    """Position, scale and mirroring of one copy of the person.

    Its anchor is the middle of the lower edge of the person's bounding box.
    """

    x: float | None = None
    """Anchor's distance from the left, relative to the image width; None: as in the photo.

    0 and 1 are the edges of the image. Pixels beyond them are cut off.
    """
    y: float | None = None
    """Anchor's distance from the top, relative to the image height; None: as in the photo."""
    scale: float = 1.0
    """Height of the copy divided by that of the person in the photo."""
    flip: bool = False
    """True mirrors the copy: left and right are exchanged."""

    def __str__(self) -> str:
        """Returns the canonical text of this copy, for example `x:0.3,scale:0.6`."""
        parts = [
            f"{name}:{_format_number(share)}"
            for name, share in (("x", self.x), ("y", self.y))
            if share is not None
        ]
        if self.scale != 1 or not (parts or self.flip):
            parts.append(f"scale:{_format_number(self.scale)}")
        if self.flip:
            parts.append("flip:true")
        return ",".join(parts)


@dataclass(frozen=True, slots=True)
class Layout:
    """Copies of the person from the back to the front."""

    copies: tuple[PersonCopy, ...]

    def __str__(self) -> str:
        """Returns the canonical text of this layout, from which `parse_layout` makes it again."""
        return ";".join(map(str, self.copies))


def parse_layout(text: str) -> Layout:
    """Parses the text form of a layout, for example `x:0.3,scale:0.6;flip:true`.

    Raises ValueError, which names the allowed values, for any other text or over MAX_COPIES copies.
    """
    parts = text.split(";")
    if len(parts) > MAX_COPIES:
        raise ValueError(f"must be at most {MAX_COPIES} copies, not {len(parts)}")
    return Layout(tuple(map(_parse_copy, parts)))


def _parse_copy(text: str) -> PersonCopy:
    values: dict[str, str] = {}
    for part in text.split(","):
        name, colon, value = part.partition(":")
        if name not in ("x", "y", "scale", "flip") or not colon:
            raise ValueError(
                f"must be copies such as x:0.3,y:1,scale:0.6,flip:true, separated by ;, "
                f"not {part[:40]!r}"
            )
        if name in values:
            raise ValueError(f"{name} is given twice for a copy")
        values[name] = value
    x, y = (_parse_number(values, name, MIN_POSITION, MAX_POSITION) for name in ("x", "y"))
    scale = _parse_number(values, "scale", MIN_SCALE, MAX_SCALE)
    if values.get("flip", "false") not in ("true", "false"):
        raise ValueError(f"flip must be true or false, not {values['flip'][:40]!r}")
    return PersonCopy(x, y, 1.0 if scale is None else scale, values.get("flip") == "true")


def _parse_number(values: dict[str, str], name: str, low: float, high: float) -> float | None:
    text = values.get(name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text) or not low <= float(text) <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {text[:40]!r}")
    return round(float(text), _DECIMALS) + 0.0  # turns minus zero into zero


def _format_number(number: float) -> str:
    return f"{number:.{_DECIMALS}f}".rstrip("0").rstrip(".")


class Layer(NamedTuple):
    """Image with transparency: `rgb` uint8 [h,w,3] and straight `alpha` uint8 [h,w]."""

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]

    def crop(self, rows: slice, columns: slice) -> "Layer":
        """Returns these rows and columns as a layer that shares its memory."""
        return Layer(self.rgb[rows, columns], self.alpha[rows, columns])


class _TargetRect(NamedTuple):
    """Rectangle of the output canvas that a copy of the person covers, in pixels.

    It may extend beyond the canvas.
    """

    top: int
    left: int
    height: int
    width: int


def place_person(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    box: Box | None,
    layout: Layout,
    size_hw: Size,
) -> Layer:
    """Draws copies of the person on an empty canvas, and returns the canvas as a layer.

    The canvas has the (height, width) `size_hw`. `rgb` is the photo, uint8 [H,W,3], and `alpha` its
    mask, uint8 [H,W]. `box` bounds the person in them, or is None without a person; the canvas then
    stays empty. Later copies are drawn in front. A copy of scale 1 has the size of the person in
    the photo and keeps its pixels exactly. Colours are 0 where alpha is 0. The memory is that of
    the canvas and of a third of the photo.
    """
    canvas = Layer(np.zeros((*size_hw, 3), np.uint8), np.zeros(size_hw, np.uint8))
    left, top, width, height = cv2.boundingRect(alpha)
    if box is None or not width:
        return canvas
    extent = Box(top, left, height, width)
    photo = Layer(rgb, alpha).crop(slice(top, top + height), slice(left, left + width))
    pyramid = _pyramid(photo, depth=max(_halvings(copy.scale) for copy in layout.copies))
    for copy in layout.copies:
        target = _target(copy, box, extent, (alpha.shape[0], alpha.shape[1]), size_hw)
        _draw_layer(canvas, pyramid[_halvings(copy.scale)], target, flip=copy.flip)
    return canvas


def place_person_mask(
    alpha: NDArray[np.uint8], box: Box | None, layout: Layout, size_hw: Size
) -> NDArray[np.uint8]:
    """Returns the alpha, uint8 [*size_hw], that `place_person` draws, without computing colours."""
    black = np.broadcast_to(np.uint8(0), (*alpha.shape, 3))
    return place_person(black, alpha, box, layout, size_hw).alpha


def _halvings(scale: float) -> int:
    """Returns how often an image can be halved on the way to a reduction by `scale`.

    It is 0 for a scale over 1/2, 1 for a scale over 1/4, and so on.
    """
    return max(0, floor(-log2(scale)))


def _pyramid(photo: Layer, depth: int) -> list[Layer]:
    """Returns the photo and `depth` reductions of it, each half the size of the one before.

    Each pixel is the average of all pixels that it replaces, which avoids aliasing.
    """
    levels = [photo]
    for _ in range(depth):
        height, width = (max(1, side // 2) for side in levels[-1].alpha.shape)
        half = Layer(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8))
        _draw_layer(half, levels[-1], _TargetRect(0, 0, height, width), flip=False)
        levels.append(half)
    return levels


def _target(
    copy: PersonCopy, box: Box, extent: Box, photo_hw: Size, canvas_hw: Size
) -> _TargetRect:
    """Returns the rectangle of the canvas that one copy of the person covers.

    `box` bounds the person in the photo and has the anchor. `extent` bounds all pixels of the photo
    with an alpha over 0; it fills the rectangle and may be larger than `box`.
    """
    foot_y, foot_x = box.top + box.height, box.left + box.width / 2
    y = canvas_hw[0] * (foot_y / photo_hw[0] if copy.y is None else copy.y)
    x = canvas_hw[1] * (foot_x / photo_hw[1] if copy.x is None else copy.x)
    below = extent.top + extent.height - foot_y
    beside = foot_x - extent.left
    if copy.flip:
        beside = extent.width - beside
    height, width = (max(1, round(side * copy.scale)) for side in (extent.height, extent.width))
    bottom, left = floor(y + below * copy.scale + 0.5), floor(x - beside * copy.scale + 0.5)
    return _TargetRect(bottom - height, left, height, width)


def _draw_layer(canvas: Layer, layer: Layer, target: _TargetRect, *, flip: bool) -> None:
    """Scales a layer to the rectangle `target` of the canvas and blends it over it in place.

    Pixels outside the canvas are cut off. `flip` exchanges left and right.
    """
    height, width = canvas.alpha.shape
    top, bottom = max(0, target.top), min(height, target.top + target.height)
    columns = slice(max(0, target.left), min(width, target.left + target.width))
    if columns.start >= columns.stop:
        return
    for start in range(top, bottom, _STRIP_ROWS):
        rows = slice(start, min(start + _STRIP_ROWS, bottom))
        _blend_over(canvas.crop(rows, columns), _resample(layer, target, rows, columns, flip=flip))


def _resample(
    layer: Layer, target: _TargetRect, rows: slice, columns: slice, *, flip: bool
) -> Layer:
    """Scales a layer bilinearly to the rectangle `target` of the canvas and returns a part of it.

    `rows` and `columns` select that part in pixels of the canvas. `flip` exchanges left and right.
    """
    height, width = layer.alpha.shape
    down, across = height / target.height, width / target.width
    # The centre of a pixel is at one half, on the canvas and in the layer.
    first = (rows.start + 0.5 - target.top) * down - 0.5
    last = first + (rows.stop - rows.start - 1) * down
    used = slice(max(0, floor(first)), min(height, floor(last) + 3))
    begin = (columns.start + 0.5 - target.left) * across - 0.5
    if flip:
        begin, across = width - 1 - begin, -across
    warped = cv2.warpAffine(
        _premultiplied(layer.crop(used, slice(None))),
        np.array([[across, 0, begin], [0, down, first - used.start]]),
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _unpremultiplied(warped)


def _premultiplied(layer: Layer) -> MatLike:
    """Multiplies a layer's colours by its alpha, so that neighbouring pixels can be averaged.

    Returns uint16 [h,w,4]: the products, then 255 times alpha.
    """
    rgba = cv2.cvtColor(np.ascontiguousarray(layer.rgb), cv2.COLOR_RGB2RGBA)
    return cv2.multiply(rgba, cv2.merge([layer.alpha] * 4), dtype=cv2.CV_16U)


def _unpremultiplied(weighted: MatLike) -> Layer:
    """Converts uint16 [h,w,4] from `_premultiplied` back to a layer with straight alpha.

    The colour is 0 in pixels with an alpha that rounds to 0.
    """
    # cv2 defines division by 0 as 0.
    alpha = cv2.threshold(cv2.extractChannel(weighted, 3), 127, 0, cv2.THRESH_TOZERO)[1]
    rgb = cv2.cvtColor(weighted, cv2.COLOR_RGBA2RGB)
    colours = cv2.divide(rgb, cv2.merge([alpha] * 3), scale=255, dtype=cv2.CV_8U)
    return Layer(
        np.asarray(colours, np.uint8),
        np.asarray(cv2.convertScaleAbs(alpha, alpha=1 / 255), np.uint8),
    )


def _blend_over(back: Layer, front: Layer) -> None:
    """Blends the layer `front` over `back`, of the same size, in place.

    Alpha is straight in both and in the result.
    """
    if not back.alpha.any():
        back.rgb[:], back.alpha[:] = front
        return
    front_alpha = front.alpha.astype(np.float32)
    alpha = front_alpha + back.alpha * (255 - front_alpha) / 255
    share = (front_alpha / np.maximum(alpha, 1))[..., None]
    back.rgb[:] = np.rint(front.rgb * share + back.rgb * (1 - share))
    back.alpha[:] = np.rint(alpha)
