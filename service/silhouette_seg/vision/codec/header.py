"""Properties of image files that their headers declare, and the limits of images."""

from dataclasses import dataclass, field
from enum import StrEnum

from silhouette_seg.errors import AspectTooExtreme, SideTooLong, TooManyFrames, TooManyPixels
from silhouette_seg.vision.codec.colour_tag import UNTAGGED, ColourTag
from silhouette_seg.vision.geometry import Size

MAX_SEGMENTS = 10_000
"""Maximum number of chunks, markers, boxes or blocks that are read from one file.

Photos have tens; a 32 MiB PNG of 4 KiB chunks has 8,192.
"""


class ImageFormat(StrEnum):
    """Formats of image files that can be encoded."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"

    @property
    def media_type(self) -> str:
        return f"image/{self.value}"


class InputFormat(StrEnum):
    """Formats of image files that can be decoded."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIC = "heic"
    """HEIF with images in HEVC, the format of phones."""
    AVIF = "avif"
    TIFF = "tiff"
    BMP = "bmp"
    GIF = "gif"


@dataclass(frozen=True, slots=True)
class Crop:
    """Part of the stored pixels that is shown: offset of its top left pixel, and its size."""

    x: int
    y: int
    width: int
    height: int


Dpi = tuple[float, float]
"""Resolution in pixels per inch, across and down."""
METRES_PER_INCH = 0.0254


@dataclass(frozen=True, slots=True)
class EmbeddedMetadata:
    """Metadata of an image file that is not read yet; the views are parts of the file."""

    exif: memoryview | None = None
    """EXIF block with or without its prefix; a TIFF file is one itself."""
    xmp: memoryview | None = None
    """XMP packet."""
    dpi: Dpi | None = None
    """Resolution that the file format itself holds, of the stored pixels."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Properties of an image file, read from its header.

    `width` and `height` are those of the stored pixels, before a crop and the orientation are
    applied.
    """

    format: InputFormat
    width: int
    height: int
    orientation: int = 1
    """Orientation of the stored pixels as an EXIF value, 1..8, where 1 = upright."""
    frames: int = 1
    """Number of frames; more than 1 in an animation."""
    colour: ColourTag = UNTAGGED
    transparent_grey: int | None = None
    """Grey level that a grey PNG declares as transparent; None for any other file.

    The level is 0..255, or 0..65,535 in a PNG of 16 bits per pixel.
    """
    crop: Crop | None = None
    """Clean aperture of a HEIC or AVIF; None if all stored pixels are shown."""
    decodes_upright: bool = False
    """True if the decoder itself applies the orientation, as that of HEIC may do."""
    has_alpha: bool = False
    """True if a BMP declares an alpha channel. Other formats leave it to their decoders."""
    metadata: EmbeddedMetadata = field(default=EmbeddedMetadata(), repr=False)

    @property
    def turn(self) -> int:
        """Orientation that is left to apply after decoding, 1..8."""
        return 1 if self.decodes_upright else self.orientation

    @property
    def shown_hw(self) -> Size:
        """(height, width) in pixels after the crop, before the orientation is applied."""
        return (self.crop.height, self.crop.width) if self.crop else (self.height, self.width)

    @property
    def upright_hw(self) -> Size:
        """(height, width) in pixels after the crop and the orientation are applied."""
        height, width = self.shown_hw
        swaps_sides = self.orientation >= 5
        return (width, height) if swaps_sides else (height, width)

    @property
    def pixels(self) -> int:
        """Number of stored pixels: width times height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Largest size of one image: bytes of its file, number of pixels, longer side, aspect ratio."""

    bytes: int = 32 * 2**20
    pixels: int = 64_000_000
    side: int = 16_384
    """Longer side, in pixels."""
    aspect: float = 50
    """Longer side divided by the shorter side."""


def check_limits(header: ImageHeader, limits: ImageLimits) -> None:
    """Raises an error if an image's header exceeds the limits.

    The bytes of the file are not checked. The error is TooManyFrames for an animation. It is
    SideTooLong, TooManyPixels or AspectTooExtreme for the longer side, the number of pixels, or the
    aspect ratio. Sides and pixels are those that are stored; the aspect ratio is that of the crop.
    """
    stored_side = max(header.height, header.width)
    long, short = max(header.upright_hw), min(header.upright_hw)
    if header.frames > 1:
        raise TooManyFrames(
            "The image is animated; a still image is needed.", limit=1, actual=header.frames
        )
    if stored_side > limits.side:
        raise SideTooLong("A side has too many pixels.", limit=limits.side, actual=stored_side)
    if header.pixels > limits.pixels:
        raise TooManyPixels(
            "Width times height is too large.", limit=limits.pixels, actual=header.pixels
        )
    if long > limits.aspect * short:
        raise AspectTooExtreme(
            "The long side is too many times the short side.",
            limit=limits.aspect,
            actual=round(long / short, 2),
        )
