"""Photos and results of different kinds: image files, PIL images and numpy arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from silhouette_seg.errors import InvalidArgument, UnprocessableImage, UnsupportedImageType
from silhouette_seg.library.options import Kind
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.photo import ImageFile, decode_photo
from silhouette_seg.runtime.sources import FileSource, is_file_source, read_file_source
from silhouette_seg.vision.codec.colour_tag import UNTAGGED, ColourTag, profile_tag
from silhouette_seg.vision.codec.decode import Frame, decode, frame_of, read_header
from silhouette_seg.vision.codec.header import ImageHeader, ImageLimits, InputFormat, check_limits
from silhouette_seg.vision.codec.orientation import ORIENTATION_TAG
from silhouette_seg.vision.codec.pillow import stored_pixels
from silhouette_seg.vision.codec.stored import StoredPixels, as_u8
from silhouette_seg.vision.geometry import Size

Photo = FileSource | Image.Image | NDArray[Any]
"""An image file, a PIL image, or a numpy array, see `_array_pixels`."""

MAX_FILE_BYTES = 2**30
"""Largest image file, in bytes. 64 megapixels of 16 bits, uncompressed, are half of it."""
_PIL_MODES_WITHOUT_RANGE = ("F", "I", "I;32", "I;32B")
"""Modes of PIL that state no range of values."""


class PhotoSource(Protocol):
    """A photo of checked size, before its pixels are decoded or converted."""

    def decode(self, options: RenderOptions, min_size: Size) -> Frame:
        """Returns the photo as far as the rendered image needs it; see `decode_photo`."""
        ...

    def decode_whole(self) -> Frame:
        """Returns the photo at its size, in sRGB."""
        ...


@dataclass(frozen=True, slots=True)
class FilePhoto:
    """An image file."""

    argument: str
    file: ImageFile

    def decode(self, options: RenderOptions, min_size: Size) -> Frame:
        with named_errors(self.argument):
            return decode_photo(self.file, options, min_size)

    def decode_whole(self) -> Frame:
        with named_errors(self.argument):
            return decode(self.file.data, self.file.header)


@dataclass(frozen=True, slots=True)
class PixelPhoto:
    """Pixels in memory, which are a copy: rendering overwrites them."""

    pixels: StoredPixels
    header: ImageHeader
    """Size, orientation and colours of the pixels."""

    def decode(self, options: RenderOptions, min_size: Size) -> Frame:
        return self._frame(convert_colours=not options.only_mask)

    def decode_whole(self) -> Frame:
        return self._frame(convert_colours=True)

    def _frame(self, *, convert_colours: bool) -> Frame:
        header = self.header
        return frame_of(
            self.pixels,
            header.upright_hw,
            header.colour,
            header.orientation,
            convert_colours=convert_colours,
        )


@contextmanager
def named_errors(argument: str) -> Iterator[None]:
    """Context manager that raises InvalidArgument for an image that cannot be used."""
    try:
        yield
    except (UnprocessableImage, UnsupportedImageType) as error:
        raise InvalidArgument.from_error(argument, error) from error


def kind_of(photo: object) -> Kind:
    """Returns the kind of result that a photo has by default: its own, and bytes for a file."""
    if isinstance(photo, Image.Image):
        return "pil"
    return "numpy" if isinstance(photo, np.ndarray) else "bytes"


def open_photo(photo: object, argument: str, limits: ImageLimits) -> PhotoSource:
    """Returns a photo of any kind after its size was checked.

    Raises InvalidArgument, with the name `argument`, if it is of no kind of photo, cannot be used
    or exceeds `limits`. Raises OSError for a file that cannot be read.
    """
    with named_errors(argument):
        if isinstance(photo, Image.Image):
            return _open_pil(photo, argument, limits)
        if isinstance(photo, np.ndarray):
            check_limits(_array_header(photo, argument), limits)
            return PixelPhoto(_array_pixels(photo, argument), _array_header(photo, argument))
        if not is_file_source(photo):
            kind = type(photo).__name__
            expected = "a path, bytes, an open file, a PIL image or a numpy array"
            if argument == "background":
                expected = f"text such as '#20639b', {expected}"
            raise InvalidArgument(argument, f"must be {expected}, not {kind}")
        data = read_file_source(photo, argument, MAX_FILE_BYTES)
        if not data:
            raise InvalidArgument(argument, "has no bytes")
        header = read_header(data)
        check_limits(header, limits)
        return FilePhoto(argument, ImageFile(data, header))


def keep_photo(photo: object, argument: str, limits: ImageLimits) -> object:
    """Returns a photo that can be opened often: the bytes of a file, or the photo itself.

    Raises the errors of `open_photo`.
    """
    if is_file_source(photo):
        photo = read_file_source(photo, argument, MAX_FILE_BYTES)
    open_photo(photo, argument, limits)
    return photo


def to_kind(image: NDArray[np.uint8], kind: Kind) -> NDArray[np.uint8] | Image.Image:
    """Returns a rendered image as a PIL image in mode L, RGB or RGBA, or as it is."""
    return Image.fromarray(image) if kind == "pil" else image


def _open_pil(image: Image.Image, argument: str, limits: ImageLimits) -> PixelPhoto:
    width, height = image.size
    if not width or not height:
        raise InvalidArgument(argument, f"has no pixels: its size is {width} x {height}")
    check_limits(ImageHeader(InputFormat.PNG, width, height), limits)
    if image.mode in _PIL_MODES_WITHOUT_RANGE:
        raise InvalidArgument(argument, f"has the mode {image.mode!r}; convert it to RGB or L")
    try:
        pixels = stored_pixels(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InvalidArgument(argument, f"is an image that PIL cannot load: {error}") from error
    # After the pixels, because PIL turns TIFF files upright when it loads them.
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    if orientation not in range(1, 9):
        orientation = 1
    profile = image.info.get("icc_profile")
    colour: ColourTag = profile_tag(memoryview(profile)) if profile else UNTAGGED
    width, height = image.size
    header = ImageHeader(InputFormat.PNG, width, height, orientation=orientation, colour=colour)
    return PixelPhoto(pixels, header)


def _array_header(array: NDArray[Any], argument: str) -> ImageHeader:
    """Returns the size of an array of pixels. Raises InvalidArgument for another shape."""
    shape = list(array.shape)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        expected = "[H,W] for grey, [H,W,3] for RGB or [H,W,4] for RGBA"
        raise InvalidArgument(argument, f"must have the shape {expected}, not {shape}")
    if 0 in array.shape:
        raise InvalidArgument(argument, f"has no pixels: its shape is {shape}")
    return ImageHeader(InputFormat.PNG, array.shape[1], array.shape[0])


def _array_pixels(array: NDArray[Any], argument: str) -> StoredPixels:
    """Copies an array of pixels to RGB uint8 [H,W,3], and alpha uint8 [H,W] of RGBA.

    uint8 is used as it is, uint16 is 0..65,535, and floats are 0..1. Raises InvalidArgument for
    another dtype, and for floats that are not finite or out of range.
    """
    levels = np.ascontiguousarray(_to_8_bits(array, argument))
    if levels.ndim == 2 or levels.shape[2] == 1:
        return StoredPixels(as_u8(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB)))
    if levels.shape[2] == 3:
        return StoredPixels(levels.copy())
    return StoredPixels(
        as_u8(cv2.cvtColor(levels, cv2.COLOR_RGBA2RGB)), as_u8(cv2.extractChannel(levels, 3))
    )


def _to_8_bits(array: NDArray[Any], argument: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        # As 16-bit files are converted.
        return as_u8(cv2.convertScaleAbs(array, alpha=1 / 257)).reshape(array.shape)
    if array.dtype.kind != "f":
        expected = "uint8 of 0..255, uint16 of 0..65535 or float of 0..1"
        raise InvalidArgument(argument, f"must be {expected}, not {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise InvalidArgument(
            argument, f"has floats of {low:g}..{high:g}; floats must be finite and 0..1"
        )
    return np.rint(array * 255.0).astype(np.uint8)
