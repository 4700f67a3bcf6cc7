"""Image files in, a picture as a file out: the same for HTTP and CLI."""

from dataclasses import dataclass
from math import ceil
from time import perf_counter

from silhouette_seg.errors import ForegroundMissing
from silhouette_seg.pipeline.faces import Domain, DomainDecision
from silhouette_seg.pipeline.options import Refinement, RenderOptions
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.vision.codec.decode import ColourNote, Frame, ImageFormat, ImageHeader, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.guided_filter import MIN_GUIDE_SIDE
from silhouette_seg.vision.mask.person_selection import Piece
from silhouette_seg.vision.mask.quality import Box, MaskQuality

WEBP_MEMORY_FACTOR = 3
"""libwebp holds a picture of colours in several forms at once: 24 to 30 bytes a pixel."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file whose header was read and whose limits were checked."""

    data: bytes
    header: ImageHeader


@dataclass(frozen=True, slots=True)
class PhotoJob:
    photo: ImageFile
    options: RenderOptions
    format: ImageFormat
    picture: ImageFile | None = None
    """The background, when `options.background` is a Picture."""
    domain: Domain | None = None
    """In place of the one that routing would find."""

    @property
    def pixels(self) -> int:
        """Of its images, as far as memory goes: eight or nine bytes each."""
        shown = self.photo.header.pixels
        if self.format is ImageFormat.WEBP and not self.options.only_mask:
            shown *= WEBP_MEMORY_FACTOR
        return shown + (self.picture.header.pixels if self.picture else 0)


@dataclass(frozen=True, slots=True)
class RenderedImage:
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
    decision: DomainDecision | None
    """None where the model takes no domain."""
    passes: int
    """How often the model was asked: twice for a person who is small in the photo."""
    stages: dict[str, float]
    """Seconds by the names that metrics and `Server-Timing` use, in order."""


async def segment_photo(job: PhotoJob, segmenter: Segmenter) -> RenderedImage:
    """Decode, segment, render. Cancelling it cancels what has not begun.

    Raises errors.ServiceError for whatever the photo or the engine is to blame for.
    """
    picture: Frame | None = None

    def load(min_size: Size) -> Frame:
        nonlocal picture
        photo, picture = _decode(job, min_size)
        return photo

    return await segmenter.run(
        load,
        lambda photo, found: render_file(job.options, job.format, photo, picture, found),
        domain=job.domain,
    )


def _decode(job: PhotoJob, min_size: Size) -> tuple[Frame, Frame | None]:
    """A smaller decode, and any colours, will do for the photo when only its mask is wanted."""
    only_mask = job.options.only_mask
    photo = decode(
        job.photo.data,
        job.photo.header,
        at_least=_mask_decode_size(job, min_size) if only_mask else None,
        colours=not only_mask,
    )
    if job.picture is None:
        return photo, None
    return photo, decode(job.picture.data, job.picture.header)


def _mask_decode_size(job: PhotoJob, min_size: Size) -> Size:
    """Sides of a photo that suffice for its mask."""
    if job.options.refine is Refinement.NONE:
        return min_size
    height, width = job.photo.header.upright_hw
    share = min(1.0, MIN_GUIDE_SIDE / max(height, width))
    return max(min_size[0], ceil(height * share)), max(min_size[1], ceil(width * share))


def render_file(
    options: RenderOptions, format: ImageFormat, photo: Frame, picture: Frame | None, found: Matte
) -> RenderedImage:
    """What `draw` makes, as a file. Raises ForegroundMissing, and what `encode` raises."""
    started = perf_counter()
    if options.require_foreground and not found.quality.foreground:
        raise ForegroundMissing
    drawn = render_image(options, photo, picture, found)
    painted = perf_counter()
    body = encode(drawn.image, format)
    return RenderedImage(
        body=body,
        format=format,
        size_hw=(drawn.image.shape[0], drawn.image.shape[1]),
        photo_hw=photo.photo_hw,
        colour=photo.colour,
        box=drawn.box,
        pieces=drawn.pieces,
        quality=found.quality,
        decision=found.decision,
        passes=found.passes,
        stages=found.timings.response_stages(painted - started, perf_counter() - painted),
    )
