"""Tells a lack of memory from a damaged image and from a failure of an encoder.

libpng, libwebp, libjpeg and others report a failed allocation like damage to the file, or they end
the process.
"""

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from silhouette_seg.errors import InternalError, OutOfMemory, ServiceError, UndecodableImage
from silhouette_seg.runtime.memory import can_allocate, can_allocations_fail

T = TypeVar("T")

BYTES_PER_PIXEL = 12
"""Memory of a decoder and its result, in bytes per pixel: 4 channels of 16 bits, and of 8."""
THREAD_BYTES = 8 * 2**20
"""Memory for the stack of a thread, which some decoders start."""
_one_decoder = Lock()
"""Lock of the decoders where allocations can fail: two would take memory from one another."""


def decode_with_memory(decode: Callable[[], T], pixels: int) -> T:
    """Returns the result of `decode`, which decodes an image to this number of pixels.

    Where allocations can fail, one image is decoded at a time. Raises OutOfMemory if there is not
    enough memory for it, and otherwise the errors of `decode`.
    """
    if not can_allocations_fail():
        return decode()
    with _one_decoder:
        _require_memory(pixels)
        try:
            return decode()
        except UndecodableImage:
            # Another thread may have taken the memory, and released it since.
            _require_memory(pixels)
            return decode()


def encoding_error() -> ServiceError:
    """Returns the error for an image that cannot be encoded.

    Every image that reaches an encoder is valid, so a lack of memory is the likely cause.
    """
    if can_allocations_fail():
        return OutOfMemory()
    return InternalError("The result could not be encoded.")


def _require_memory(pixels: int) -> None:
    if not can_allocate(BYTES_PER_PIXEL * pixels + THREAD_BYTES):
        raise OutOfMemory
