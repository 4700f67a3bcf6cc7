"""Where the person goes in the picture: moved, scaled, mirrored, several times.

As text, `x:0.3,y:1,scale:0.6,flip:true` is one copy of the person; `;` is between copies, of which
a later one stands in front. What a copy does not say stays as it is in the photo.
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
MIN_PLACE, MAX_PLACE = -1.0, 2.0
MIN_SCALE, MAX_SCALE = 0.05, 4.0

_DECIMALS = 6
_DECIMAL = re.compile(r"-?([0-9]{1,3}(\.[0-9]{0,20})?|\.[0-9]{1,20})")
_STRIP_ROWS = 64
"""Rows worked on at a time, which bounds the memory of everything wider than a byte."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the person, held at the middle of the lower edge of their box."""

    x: float | None = None
    """Where that point comes to be, from the left as a share of the picture's width; None leaves
    it. 0 and 1 are the edges of the picture, and what is beyond them is cut off."""
    y: float | None = None
    """The same from the top, as a share of the picture's height."""
    scale: float = 1.0
    """Height of the copy over that of the person in the photo."""
    flip: bool = False
    """Mirrored, left for right."""

    def __str__(self) -> str:
        said = [
            f"{name}:{_digits(at)}" for name, at in (("x", self.x), ("y", self.y)) if at is not None
        ]
        if self.scale != 1 or not (said or self.flip):
            said.append(f"scale:{_digits(self.scale)}")
        if self.flip:
            said.append("flip:true")
        return ",".join(said)


@dataclass(frozen=True, slots=True)
class Layout:
    """Copies of the person from the back to the front."""

    copies: tuple[Copy, ...]

    def __str__(self) -> str:
        """The one text of this layout; `read_layout` gives the same layout for it."""
        return ";".join(map(str, self.copies))


def read_layout(text: str) -> Layout:
    """Reads the text form of a layout. Raises ValueError that says what is allowed."""
    parts = text.split(";")
    if len(parts) > MAX_COPIES:
        raise ValueError(f"must be at most {MAX_COPIES} copies, not {len(parts)}")
    return Layout(tuple(map(_read_copy, parts)))


def _read_copy(text: str) -> Copy:
    said: dict[str, str] = {}
    for part in text.split(","):
        name, colon, value = part.partition(":")
        if name not in ("x", "y", "scale", "flip") or not colon:
            raise ValueError(
                f"must be copies such as x:0.3,y:1,scale:0.6,flip:true with ; between them, "
                f"not {part[:40]!r}"
            )
        if name in said:
            raise ValueError(f"{name} is given twice for a copy")
        said[name] = value
    x, y = (_number(said, name, MIN_PLACE, MAX_PLACE) for name in ("x", "y"))
    scale = _number(said, "scale", MIN_SCALE, MAX_SCALE)
    if said.get("flip", "false") not in ("true", "false"):
        raise ValueError(f"flip must be true or false, not {said['flip'][:40]!r}")
    return Copy(x, y, 1.0 if scale is None else scale, said.get("flip") == "true")


def _number(said: dict[str, str], name: str, low: float, high: float) -> float | None:
    text = said.get(name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text) or not low <= float(text) <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {text[:40]!r}")
    return round(float(text), _DECIMALS) + 0.0  # no minus zero


def _digits(number: float) -> str:
    return f"{number:.{_DECIMALS}f}".rstrip("0").rstrip(".")


class Layer(NamedTuple):
    """`rgb` uint8 [h,w,3] and straight `alpha` uint8 [h,w]."""

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]

    def cut(self, rows: slice, columns: slice) -> "Layer":
        return Layer(self.rgb[rows, columns], self.alpha[rows, columns])


class _Target(NamedTuple):
    """The pixels of the canvas that a copy takes up; some may be outside of it."""

    top: int
    left: int
    height: int
    width: int


def place(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    box: Box | None,
    layout: Layout,
    size_hw: Size,
) -> Layer:
    """The copies of the person over one another on an empty canvas of `size_hw`.

    Takes uint8 [H,W,3], uint8 [H,W] and the person's box in them; scales are relative to their
    pixels. Colours are 0 where alpha is 0. A copy that is not scaled keeps its pixels exactly.
    Empty without a person. Takes the memory of the canvas, and of a third of the photo.
    """
    canvas = Layer(np.zeros((*size_hw, 3), np.uint8), np.zeros(size_hw, np.uint8))
    left, top, width, height = cv2.boundingRect(alpha)
    if box is None or not width:
        return canvas
    around = Box(top, left, height, width)
    photo = Layer(rgb, alpha).cut(slice(top, top + height), slice(left, left + width))
    sizes = _sizes(photo, deepest=max(_halvings(copy.scale) for copy in layout.copies))
    for copy in layout.copies:
        target = _target(copy, box, around, (alpha.shape[0], alpha.shape[1]), size_hw)
        _draw(canvas, sizes[_halvings(copy.scale)], target, flip=copy.flip)
    return canvas


def place_mask(
    alpha: NDArray[np.uint8], box: Box | None, layout: Layout, size_hw: Size
) -> NDArray[np.uint8]:
    """The alpha that `place` would give, for whom colours are of no interest."""
    black = np.broadcast_to(np.uint8(0), (*alpha.shape, 3))
    return place(black, alpha, box, layout, size_hw).alpha


def _halvings(scale: float) -> int:
    """How often the person may be halved on the way to that scale."""
    return max(0, floor(-log2(scale)))


def _sizes(photo: Layer, deepest: int) -> list[Layer]:
    """The layer, and again and again its half, in which every pixel has a say: nothing aliases."""
    sizes = [photo]
    for _ in range(deepest):
        height, width = (max(1, side // 2) for side in sizes[-1].alpha.shape)
        half = Layer(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8))
        _draw(half, sizes[-1], _Target(0, 0, height, width), flip=False)
        sizes.append(half)
    return sizes


def _target(copy: Copy, box: Box, around: Box, photo_hw: Size, canvas_hw: Size) -> _Target:
    """Where `around`, all that is not transparent, goes when the box goes where the copy says."""
    foot_y, foot_x = box.top + box.height, box.left + box.width / 2
    y = canvas_hw[0] * (foot_y / photo_hw[0] if copy.y is None else copy.y)
    x = canvas_hw[1] * (foot_x / photo_hw[1] if copy.x is None else copy.x)
    below = around.top + around.height - foot_y
    beside = foot_x - around.left
    if copy.flip:
        beside = around.width - beside
    height, width = (max(1, round(side * copy.scale)) for side in (around.height, around.width))
    bottom, left = floor(y + below * copy.scale + 0.5), floor(x - beside * copy.scale + 0.5)
    return _Target(bottom - height, left, height, width)


def _draw(canvas: Layer, layer: Layer, target: _Target, *, flip: bool) -> None:
    """Puts the layer, scaled to the target, over what the canvas shows; cuts what is outside."""
    height, width = canvas.alpha.shape
    top, bottom = max(0, target.top), min(height, target.top + target.height)
    columns = slice(max(0, target.left), min(width, target.left + target.width))
    if columns.start >= columns.stop:
        return
    for start in range(top, bottom, _STRIP_ROWS):
        rows = slice(start, min(start + _STRIP_ROWS, bottom))
        _over(canvas.cut(rows, columns), _resampled(layer, target, rows, columns, flip=flip))


def _resampled(layer: Layer, target: _Target, rows: slice, columns: slice, *, flip: bool) -> Layer:
    """Those pixels of the canvas of a layer that is scaled to the target; bilinear."""
    height, width = layer.alpha.shape
    down, across = height / target.height, width / target.width
    # Centres of pixels are half a pixel in, on the canvas and in the layer.
    first = (rows.start + 0.5 - target.top) * down - 0.5
    last = first + (rows.stop - rows.start - 1) * down
    used = slice(max(0, floor(first)), min(height, floor(last) + 3))
    begin = (columns.start + 0.5 - target.left) * across - 0.5
    if flip:
        begin, across = width - 1 - begin, -across
    warped = cv2.warpAffine(
        _weighted(layer.cut(used, slice(None))),
        np.array([[across, 0, begin], [0, down, first - used.start]]),
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _straight(warped)


def _weighted(layer: Layer) -> MatLike:
    """Colours times alpha, and 255 times alpha, as uint16 [h,w,4]: what may be averaged."""
    rgba = cv2.cvtColor(np.ascontiguousarray(layer.rgb), cv2.COLOR_RGB2RGBA)
    return cv2.multiply(rgba, cv2.merge([layer.alpha] * 4), dtype=cv2.CV_16U)


def _straight(weighted: MatLike) -> Layer:
    # What rounds to no alpha has no colour either: to divide by 0 gives 0.
    alpha = cv2.threshold(cv2.extractChannel(weighted, 3), 127, 0, cv2.THRESH_TOZERO)[1]
    rgb = cv2.cvtColor(weighted, cv2.COLOR_RGBA2RGB)
    colours = cv2.divide(rgb, cv2.merge([alpha] * 3), scale=255, dtype=cv2.CV_8U)
    return Layer(
        np.asarray(colours, np.uint8),
        np.asarray(cv2.convertScaleAbs(alpha, alpha=1 / 255), np.uint8),
    )


def _over(back: Layer, front: Layer) -> None:
    """Draws `front` over `back`, in the memory of `back`; colours of both stay straight."""
    if not back.alpha.any():
        back.rgb[:], back.alpha[:] = front
        return
    seen = front.alpha.astype(np.float32)
    both = seen + back.alpha * (255 - seen) / 255
    share = (seen / np.maximum(both, 1))[..., None]
    back.rgb[:] = np.rint(front.rgb * share + back.rgb * (1 - share))
    back.alpha[:] = np.rint(both)
