"""Image files in, a picture as a file out: the same for HTTP and CLI."""

from dataclasses import dataclass
from math import ceil
from time import perf_counter

from silhouette_seg.errors import ForegroundMissing
from silhouette_seg.pipeline.domain_router import Routed
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.options import Look, Refine
from silhouette_seg.pipeline.rendering import draw
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.vision.codec.decode import ColourNote, Frame, ImageFormat, ImageHeader, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.guided_filter import GUIDE_SIDE
from silhouette_seg.vision.mask.person_selection import Piece
from silhouette_seg.vision.mask.quality import Box, MaskQuality

WEBP_WEIGHT = 3
"""libwebp holds a picture of colours in several forms at once: 24 to 30 bytes a pixel."""


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
        """Of its images, as far as memory goes: eight or nine bytes each."""
        shown = self.photo.header.pixels
        if self.format is ImageFormat.WEBP and not self.look.only_mask:
            shown *= WEBP_WEIGHT
        return shown + (self.picture.header.pixels if self.picture else 0)


@dataclass(frozen=True, slots=True)
class Rendered:
    """An encoded picture of `size_hw`, and what is known about the person in the photo."""

    body: bytes
    format: ImageFormat
    size_hw: Size
    photo_hw: Size
    colour: ColourNote
    box: Box | None
    """Where the person is, in pixels of the photo."""
    pieces: tuple[Piece, ...]
    """Of the mask, where one person was chosen."""
    quality: MaskQuality
    routed: Routed | None
    """None where the model takes no domain."""
    looks: int
    """How often the model was asked: twice for a person who is small in the photo."""
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
    """A smaller decode, and any colours, will do for the photo when only its mask is wanted."""
    only_mask = job.look.only_mask
    photo = decode(
        job.photo.data,
        job.photo.header,
        at_least=_enough(job, at_least) if only_mask else None,
        colours=not only_mask,
    )
    if job.picture is None:
        return photo, None
    return photo, decode(job.picture.data, job.picture.header)


def _enough(job: Job, at_least: Size) -> Size:
    """Sides of a photo that suffice for its mask."""
    if job.look.refine is Refine.NONE:
        return at_least
    height, width = job.photo.header.upright_hw
    share = min(1.0, GUIDE_SIDE / max(height, width))
    return max(at_least[0], ceil(height * share)), max(at_least[1], ceil(width * share))


def render(
    look: Look, format: ImageFormat, photo: Frame, picture: Frame | None, found: Matte
) -> Rendered:
    """What `draw` makes, as a file. Raises ForegroundMissing, and what `encode` raises."""
    started = perf_counter()
    if look.require_foreground and not found.quality.foreground:
        raise ForegroundMissing
    drawn = draw(look, photo, picture, found)
    painted = perf_counter()
    body = encode(drawn.image, format)
    return Rendered(
        body=body,
        format=format,
        size_hw=(drawn.image.shape[0], drawn.image.shape[1]),
        photo_hw=photo.photo_hw,
        colour=photo.colour,
        box=drawn.box,
        pieces=drawn.pieces,
        quality=found.quality,
        routed=found.routed,
        looks=found.looks,
        stages=found.timings.served(painted - started, perf_counter() - painted),
    )
