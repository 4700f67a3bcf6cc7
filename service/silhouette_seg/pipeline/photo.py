"""Segments a photo file and encodes the result as an image file, for HTTP and the command line."""

from dataclasses import dataclass
from math import ceil

from silhouette_seg.errors import ForegroundMissing
from silhouette_seg.pipeline.faces import Domain, DomainDecision, Face
from silhouette_seg.pipeline.options import Refinement, RenderOptions
from silhouette_seg.pipeline.people import People, describe_people
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.pipeline.timings import Stopwatch
from silhouette_seg.vision.codec.decode import ColourNote, Frame, ImageFormat, ImageHeader, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.metadata import NO_METADATA, PrintMetadata, read_metadata
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.guided_filter import MIN_GUIDE_SIDE
from silhouette_seg.vision.mask.person_selection import Piece
from silhouette_seg.vision.mask.quality import Box, MaskQuality

_MASK, _COLOURS = True, False
ENCODER_MEMORY_FACTORS = {
    (ImageFormat.WEBP, _COLOURS): 3,
    (ImageFormat.AVIF, _COLOURS): 3,
    (ImageFormat.AVIF, _MASK): 2,
}
"""Memory of encoding a pixel, as a multiple of that of decoding one, where it is larger.

Decoding holds eight or nine bytes. libwebp holds 24 to 30 for a pixel in colours, and libaom 27 to
31. libaom holds 16 to 19 for a pixel of a mask.
"""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Bytes of an image file with its header, after its limits were checked."""

    data: bytes
    header: ImageHeader


@dataclass(frozen=True, slots=True)
class PhotoJob:
    """A photo to segment, with the options and the file format of its result."""

    photo: ImageFile
    options: RenderOptions
    format: ImageFormat
    background: ImageFile | None = None
    """Background image if `options.background` is a BackgroundImage, else None."""
    domain: Domain | None = None
    """Distance domain to use for the photo; None lets the face detector decide."""
    keep_metadata: bool = False
    """True: the result keeps the resolution, artist and copyright of the photo."""

    @property
    def pixels(self) -> int:
        """Memory of the job in pixels, each of which stands for eight or nine bytes.

        It is the sum of the pixels of photo and background. The pixels of the photo count as
        often as ENCODER_MEMORY_FACTORS says.
        """
        factor = ENCODER_MEMORY_FACTORS.get((self.format, self.options.only_mask), 1)
        shown = factor * self.photo.header.pixels
        return shown + (self.background.header.pixels if self.background else 0)


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An encoded image with the facts about the person in its photo."""

    body: bytes
    format: ImageFormat
    size_hw: Size
    """(height, width) of the encoded image in pixels."""
    photo_hw: Size
    colour: ColourNote
    box: Box | None
    """Bounding box of the person in pixels of the photo; None without a person."""
    pieces: tuple[Piece, ...]
    """Pieces of the mask, the largest first, if one person was selected, else empty."""
    quality: MaskQuality
    decision: DomainDecision | None
    """Distance domain of the photo and its face.

    None if the model takes no domain and no face was searched for.
    """
    passes: int
    """Number of predictions: 2 if a small person was predicted again on a crop, else 1."""
    blurred_faces: int | None
    """Number of faces that were blurred; None unless the options request it."""
    people: People | None
    """The people of the photo; None unless the options request their masks."""
    stages: dict[str, float]
    """Stage name -> seconds, in order, with the names of metrics and of `Server-Timing`."""
    warning: str | None = None
    """Sentences on faults of the input files that cost no pixel, and of `Composition`; or None."""

    @property
    def faces(self) -> tuple[Face, ...]:
        """Faces of the photo, highest score first; empty if no face was searched for."""
        return self.decision.faces if self.decision else ()


class PhotoTask:
    """Frame task of a photo job: decodes its files, then renders and encodes the result.

    A background image is decoded together with the photo.
    """

    def __init__(self, job: PhotoJob) -> None:
        self._job = job
        self._background: Frame | None = None

    def decode(self, min_size: Size) -> Frame:
        """Decodes the files of the job and returns the photo; see `decode_photo`."""
        job = self._job
        photo = decode_photo(job.photo, job.options, min_size)
        if job.background is not None:
            self._background = decode(job.background.data, job.background.header)
        return photo

    def render(self, frame: Frame, matte: Matte) -> RenderedImage:
        """Renders and encodes the result from the decoded photo and its mask; see `render_file`."""
        job = self._job
        metadata = read_metadata(job.photo.header) if job.keep_metadata else NO_METADATA
        return render_file(
            job.options, job.format, frame, self._background, matte, metadata=metadata
        )


async def segment_photo(job: PhotoJob, segmenter: Segmenter) -> RenderedImage:
    """Decodes, segments and renders a photo, and returns the encoded image.

    Cancelling the call cancels the stages that have not begun. Raises errors.ServiceError if the
    photo does not decode or an engine fails.
    """
    return await segmenter.run(PhotoTask(job), domain=job.domain, find_faces=job.options.uses_faces)


def decode_photo(photo: ImageFile, options: RenderOptions, min_size: Size) -> Frame:
    """Decodes a photo as far as the rendered image needs it.

    For mask output it may be decoded at a reduced size, no smaller than `min_size` (height, width),
    without converting its colours. Raises UndecodableImage for a file that does not decode.
    """
    if not options.only_mask:
        return decode(photo.data, photo.header)
    enough = _mask_decode_size(photo.header.upright_hw, options.refine, min_size)
    return decode(photo.data, photo.header, min_size=enough, convert_colours=False)


def _mask_decode_size(photo_hw: Size, refine: Refinement, min_size: Size) -> Size:
    """Returns the smallest (height, width) of a decoded photo that suffices for its mask.

    It is at least `min_size`. Guided refinement also needs MIN_GUIDE_SIDE on the longer side.
    """
    if refine is Refinement.NONE:
        return min_size
    height, width = photo_hw
    share = min(1.0, MIN_GUIDE_SIDE / max(height, width))
    return max(min_size[0], ceil(height * share)), max(min_size[1], ceil(width * share))


def render_file(
    options: RenderOptions,
    format: ImageFormat,
    photo: Frame,
    background: Frame | None,
    matte: Matte,
    *,
    metadata: PrintMetadata = NO_METADATA,
) -> RenderedImage:
    """Renders a photo with its mask, encodes the image as `format`, and returns it.

    `background` is the decoded background image, or None, and `metadata` is for the file. Raises
    errors.ForegroundMissing if the options require a person and the mask has none, and the errors
    of `render_image` and `encode`.
    """
    watch = Stopwatch()
    if options.require_foreground and not matte.quality.foreground:
        raise ForegroundMissing
    composition = render_image(options, photo, background, matte)
    people = None
    if composition.mask is not None and options.masks:
        people = describe_people(composition.mask, matte, options.masks)
    render_s = watch.lap()
    image = composition.image
    sources = (photo, background, metadata, composition)
    warnings = [source.warning for source in sources if source and source.warning]
    body = encode(image, format, metadata)
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
        blurred_faces=composition.blurred_faces,
        people=people,
        warning=" ".join(warnings) or None,
    )
