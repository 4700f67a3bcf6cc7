"""Photo files in, an image file out: the same for HTTP and the command line."""

from dataclasses import dataclass
from math import ceil

from silhouette_seg.errors import ForegroundMissing
from silhouette_seg.pipeline.faces import Domain, DomainDecision
from silhouette_seg.pipeline.options import Refinement, RenderOptions
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.pipeline.timings import Stopwatch
from silhouette_seg.vision.codec.decode import ColourNote, Frame, ImageFormat, ImageHeader, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.guided_filter import MIN_GUIDE_SIDE
from silhouette_seg.vision.mask.person_selection import Piece
from silhouette_seg.vision.mask.quality import Box, MaskQuality

WEBP_MEMORY_FACTOR = 3
"""Memory of a WebP encode, in images: libwebp holds 24 to 30 bytes for each colour pixel."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file after its header was read and its limits were checked."""

    data: bytes
    header: ImageHeader


@dataclass(frozen=True, slots=True)
class PhotoJob:
    """A photo with the options and the file format of its result."""

    photo: ImageFile
    options: RenderOptions
    format: ImageFormat
    background: ImageFile | None = None
    """The background, if `options.background` is a BackgroundImage."""
    domain: Domain | None = None
    """Domain to use; None leaves it to the face router."""

    @property
    def pixels(self) -> int:
        """Pixels of its images in terms of memory: each stands for eight or nine bytes."""
        shown = self.photo.header.pixels
        if self.format is ImageFormat.WEBP and not self.options.only_mask:
            shown *= WEBP_MEMORY_FACTOR
        return shown + (self.background.header.pixels if self.background else 0)


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An encoded image with the facts about the person in the photo."""

    body: bytes
    format: ImageFormat
    size_hw: Size
    """Size of the encoded image."""
    photo_hw: Size
    colour: ColourNote
    box: Box | None
    """Bounding box of the person in pixels of the photo; None without a person."""
    pieces: tuple[Piece, ...]
    """Pieces of the mask if one person was selected, else empty."""
    quality: MaskQuality
    decision: DomainDecision | None
    """Domain of the photo; None if the model takes no domain."""
    passes: int
    """Number of predictions: 2 if a small person was predicted again on a crop."""
    stages: dict[str, float]
    """Seconds by the stage names of metrics and `Server-Timing`, in order."""


class PhotoTask:
    """The frame task of a photo job. A background image is decoded together with the photo."""

    def __init__(self, job: PhotoJob) -> None:
        self._job = job
        self._background: Frame | None = None

    def decode(self, min_size: Size) -> Frame:
        """Decodes the files of the job.

        For mask output the photo is decoded at a reduced size, and its colours are not converted.
        """
        job, mask_only = self._job, self._job.options.only_mask
        photo = decode(
            job.photo.data,
            job.photo.header,
            min_size=_mask_decode_size(job, min_size) if mask_only else None,
            convert_colours=not mask_only,
        )
        if job.background is not None:
            self._background = decode(job.background.data, job.background.header)
        return photo

    def render(self, frame: Frame, matte: Matte) -> RenderedImage:
        """Renders and encodes as `render_file`."""
        job = self._job
        return render_file(job.options, job.format, frame, self._background, matte)


async def segment_photo(job: PhotoJob, segmenter: Segmenter) -> RenderedImage:
    """Decodes, segments and renders a photo. Cancelling it cancels the stages not yet begun.

    Raises errors.ServiceError for a fault of the photo or of an engine.
    """
    return await segmenter.run(PhotoTask(job), domain=job.domain)


def _mask_decode_size(job: PhotoJob, min_size: Size) -> Size:
    """Returns the sides of a decoded photo that suffice for its mask."""
    if job.options.refine is Refinement.NONE:
        return min_size
    height, width = job.photo.header.upright_hw
    share = min(1.0, MIN_GUIDE_SIDE / max(height, width))
    return max(min_size[0], ceil(height * share)), max(min_size[1], ceil(width * share))


def render_file(
    options: RenderOptions,
    format: ImageFormat,
    photo: Frame,
    background: Frame | None,
    matte: Matte,
) -> RenderedImage:
    """Renders as `render_image` and encodes the image.

    Raises errors.ForegroundMissing if the options require a person and the mask has none, and
    the errors of `encode`.
    """
    watch = Stopwatch()
    if options.require_foreground and not matte.quality.foreground:
        raise ForegroundMissing
    composition = render_image(options, photo, background, matte)
    render_s = watch.lap()
    image = composition.image
    body = encode(image, format)
    return RenderedImage(
        body=body,
        format=format,
        size_hw=(image.shape[0], image.shape[1]),
        photo_hw=photo.photo_hw,
        colour=photo.colour,
        box=composition.box,
        pieces=composition.pieces,
        quality=matte.quality,
        decision=matte.decision,
        passes=matte.passes,
        stages=matte.timings.response_stages(render_s, encode_s=watch.lap()),
    )
