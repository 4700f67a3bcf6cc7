"""Reads the header of BMP files. The bytes are untrusted.

Source: `BITMAPFILEHEADER`, `BITMAPCOREHEADER`, `BITMAPINFOHEADER` and `BITMAPV5HEADER` of Windows.
"""

import struct

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.header import (
    METRES_PER_INCH,
    Dpi,
    EmbeddedMetadata,
    ImageHeader,
    InputFormat,
)

SIGNATURE = b"BM"

_CORE_HEADER_BYTES, _INFO_HEADER_BYTES, _ALPHA_HEADER_BYTES = 12, 40, 56
_RGB, _RLE8, _RLE4, _BITFIELDS = range(4)
_BITS = {_RGB: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _BITFIELDS: (16, 32)}
"""Compression -> bits of a pixel."""
_MASKS = {
    16: ((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)),
    32: ((0xFF0000, 0xFF00, 0xFF),),
}
"""Bits of a pixel -> supported masks of red, green and blue."""
_ALPHA_MASK = 0xFF000000


def parse_bmp(view: memoryview) -> ImageHeader:
    """Reads the header of a BMP file.

    Raises UnsupportedImageType for a coding other than plain, RLE and usual bit fields. Raises
    UndecodableImage or struct.error for a header that is malformed, or for missing pixels.
    """
    start, header_bytes = struct.unpack_from("<II", view, 10)
    compression = _RGB
    dpi: Dpi | None = None
    if header_bytes == _CORE_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<HHHH", view, 18)
    elif header_bytes >= _INFO_HEADER_BYTES:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", view, 18)
        across, down = struct.unpack_from("<ii", view, 38)
        if across > 0 and down > 0:
            dpi = across * METRES_PER_INCH, down * METRES_PER_INCH
    else:
        raise UndecodableImage("The header of the BMP is malformed.")
    if bits not in _BITS.get(compression, ()):
        raise UnsupportedImageType(f"BMP with compression {compression} is not supported.")
    has_alpha = compression == _BITFIELDS and _check_masks(view, header_bytes, bits)
    height = abs(height)
    if width < 0:
        raise UndecodableImage("The header of the BMP is malformed.")
    row_bytes = (width * bits + 31) // 32 * 4
    if compression in (_RGB, _BITFIELDS) and start + row_bytes * height > len(view):
        raise UndecodableImage("The BMP is truncated.")
    metadata = EmbeddedMetadata(dpi=dpi)
    return ImageHeader(InputFormat.BMP, width, height, has_alpha=has_alpha, metadata=metadata)


def _check_masks(view: memoryview, header_bytes: int, bits: int) -> bool:
    """Returns whether bit fields include alpha. Raises UnsupportedImageType for unusual masks."""
    *colours, alpha = struct.unpack_from("<IIII", view, 14 + _INFO_HEADER_BYTES)
    alpha = alpha if header_bytes >= _ALPHA_HEADER_BYTES else 0
    if tuple(colours) not in _MASKS[bits] or alpha not in (0, _ALPHA_MASK):
        raise UnsupportedImageType("BMP with these bit fields is not supported.")
    return bool(alpha)
