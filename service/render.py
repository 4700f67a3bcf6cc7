"""A photo and its matte become the picture that was asked for: the same for HTTP and CLI."""

from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.domains import Routed
from service.errors import ForegroundMissing
from service.routing import Domain
from service.segmenter import Matte, Segmenter
from service.vision import compose, matte
from service.vision.decode import Frame, ImageFormat, ImageHeader, decode
from service.vision.encode import encode
from service.vision.geometry import Size


class Output(StrEnum):
    MASK = "mask"
    """8-bit grey: the alpha itself."""
    CUTOUT = "cutout"
    """RGBA: the person on nothing."""
    COMPOSITE = "composite"
    """RGB: the person on a background."""


@dataclass(frozen=True, slots=True)
class Colour:
    rgb: tuple[int, int, int]

    def __str__(self) -> str:
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo itself, blurred by a radius in percent of its short side."""

    radius_percent: float

    def __str__(self) -> str:
        return f"blur:{self.radius_percent:g}"


@dataclass(frozen=True, slots=True)
class Picture:
    """Another picture, which comes with the job."""

    def __str__(self) -> str:
        return "picture"


Background = Colour | Blur | Picture


@dataclass(frozen=True, slots=True)
class Look:
    """What to make of a matte, in this order: threshold, grow, feather, invert, crop."""

    output: Output = Output.MASK
    background: Background = Blur(3.0)
    threshold: float | None = None
    """0..1; makes the mask hard."""
    grow: int = 0
    """Pixels of the photo; negative shrinks."""
    feather: float = 0.0
    """Pixels of the photo."""
    invert: bool = False
    """Keep the background instead of the person."""
    crop: bool = False
    crop_margin: float = 0.0
    """Percent of the person's height and width, added on each side."""
    require_foreground: bool = False

    @property
    def transparent(self) -> bool:
        return self.output is Output.CUTOUT

    @property
    def only_mask(self) -> bool:
        return self.output is Output.MASK


@dataclass(frozen=True, slots=True)
class Source:
    """An image file whose header was read and whose limits were checked."""

    data: bytes
    header: ImageHeader


@dataclass(frozen=True, slots=True)
class Job:
    photo: Source
    look: Look
    format: ImageFormat
    picture: Source | None = None
    """The background, when `look.background` is a Picture."""
    domain: Domain | None = None
    """In place of the one that routing would find."""

    @property
    def pixels(self) -> int:
        return self.photo.header.pixels + (self.picture.header.pixels if self.picture else 0)


@dataclass(frozen=True, slots=True)
class Rendered:
    """An encoded picture of `size_hw`, and what is known about the person in the photo."""

    body: bytes
    format: ImageFormat
    size_hw: Size
    photo_hw: Size
    box: matte.Box | None
    """Where the person is, in pixels of the photo."""
    quality: matte.MaskQuality
    routed: Routed | None
    """None where the model takes no domain."""
    stages: dict[str, float]
    """Seconds by the names that metrics and `Server-Timing` use, in order."""


async def run_job(job: Job, segmenter: Segmenter) -> Rendered:
    """Decode, segment, render. Cancelling it cancels what has not begun.

    Raises errors.ServiceError for whatever the photo or the engine is to blame for.
    """
    picture: Frame | None = None

    def load(at_least: Size) -> Frame:
        nonlocal picture
        photo, picture = _load(job, at_least)
        return photo

    return await segmenter.run(
        load,
        lambda photo, found: render(job.look, job.format, photo, picture, found),
        domain=job.domain,
    )


def _load(job: Job, at_least: Size) -> tuple[Frame, Frame | None]:
    """A smaller decode will do for the photo when only its mask is wanted."""
    photo = decode(
        job.photo.data, job.photo.header, at_least=at_least if job.look.only_mask else None
    )
    if job.picture is None:
        return photo, None
    return photo, decode(job.picture.data, job.picture.header)


def render(
    look: Look, format: ImageFormat, photo: Frame, picture: Frame | None, found: Matte
) -> Rendered:
    """What `draw` makes, as a file. Raises ForegroundMissing, and what `encode` raises."""
    started = perf_counter()
    if look.require_foreground and not found.quality.foreground:
        raise ForegroundMissing("There is no person in the photo.")
    image, box = draw(look, photo, picture, found)
    painted = perf_counter()
    body = encode(image, format)
    stages = found.timings.stages()
    return Rendered(
        body=body,
        format=format,
        size_hw=(image.shape[0], image.shape[1]),
        photo_hw=photo.photo_hw,
        box=box,
        quality=found.quality,
        routed=found.routed,
        stages={
            "decode": stages["fit"],
            "route": stages["route"],
            "queue": stages["queue"],
            "infer": stages["infer"],
            "post": stages["post"] + painted - started,
            "encode": perf_counter() - painted,
        },
    )


def draw(
    look: Look, photo: Frame, picture: Frame | None, found: Matte
) -> tuple[NDArray[np.uint8], matte.Box | None]:
    """The result, uint8 [h,w] or [h,w,3|4], and where the person is in the photo.

    The photo is whole unless only its mask is wanted; `picture` comes with a Picture background.
    """
    alpha, box = shape(found, look)
    return _paint(photo, picture, alpha, look, _window(box, photo.photo_hw, look)), box


def shape(found: Matte, look: Look) -> tuple[NDArray[np.uint8], matte.Box | None]:
    """The alpha to use, and the person's box in it. Without a person the mask is empty."""
    alpha = matte.only_person(found.alpha, found.quality)
    if look.threshold is not None:
        alpha = matte.harden(alpha, look.threshold)
    if look.grow:
        alpha = matte.grow(alpha, look.grow)
    if look.feather:
        alpha = matte.feather(alpha, look.feather)
    box = matte.bounding_box(alpha) if found.quality.foreground else None
    return (np.bitwise_not(alpha) if look.invert else alpha), box


def _window(box: matte.Box | None, photo_hw: Size, look: Look) -> tuple[slice, slice]:
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


def _paint(
    photo: Frame,
    picture: Frame | None,
    alpha: NDArray[np.uint8],
    look: Look,
    window: tuple[slice, slice],
) -> NDArray[np.uint8]:
    alpha = np.ascontiguousarray(alpha[window])
    if look.output is Output.MASK:
        return alpha
    rgb = np.ascontiguousarray(photo.rgb[window])
    if look.output is Output.CUTOUT:
        return compose.cutout(rgb, alpha)
    background = _background(rgb, picture, look.background)
    return compose.composite(rgb, alpha, background, in_place=True)


def _background(
    rgb: NDArray[np.uint8], picture: Frame | None, background: Background
) -> NDArray[np.uint8]:
    size_hw = (rgb.shape[0], rgb.shape[1])
    match background:
        case Colour(colour):
            return compose.solid(size_hw, colour)
        case Blur(radius_percent):
            return compose.blurred(rgb, radius_percent)
        case Picture():
            if picture is None:
                raise ValueError("a job with a picture background comes with the picture")
            return compose.cover(picture.rgb, size_hw)
