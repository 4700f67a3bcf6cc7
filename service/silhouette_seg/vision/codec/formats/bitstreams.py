"""Reads the largest picture size that HEVC and AV1 data declare, without decoding it.

A decoder allocates the size in the coded data, not that of the file's header. Sources: ITU-T H.265,
sections 7.3.1 and 7.3.2.2; AV1 Bitstream & Decoding Process Specification, sections 5.3 to 5.5.
"""

import struct
from collections.abc import Iterator

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.header import MAX_SEGMENTS
from silhouette_seg.vision.geometry import Size

MAX_SLICES = 100
"""Maximum number of slices in one HEVC picture, and of frames in one AV1 picture.

Phones write one. A slice of some bytes can repeat the work of the whole picture.
"""

_HEVC_SPS = 33
_HEVC_FIRST_PARAMETER_SET = 32
_AV1_SEQUENCE_HEADER, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 3, 6
_PARAMETER_SET_BYTES = 1_000
"""Number of bytes of a parameter set that are read. The size is within the first hundred."""


def hevc_sizes(configuration: memoryview, data: memoryview) -> Iterator[Size]:
    """Yields the (height, width) of every sequence parameter set of an HEVC image.

    `configuration` is the content of its `hvcC` property and `data` that of its item. Raises
    UndecodableImage, struct.error or IndexError for malformed ones or more than MAX_SLICES slices.
    """
    length_size = (configuration[21] & 3) + 1
    at = 23
    for _ in range(configuration[22]):
        kind, count = struct.unpack_from(">BH", configuration, at)
        at += 3
        for unit in _units(configuration[at:], 2, count):
            at += 2 + len(unit)
            if kind & 63 == _HEVC_SPS:
                yield _sps_size(unit)
    slices = 0
    for unit in _units(data, length_size):
        kind = unit[0] >> 1 & 63
        if kind == _HEVC_SPS:
            yield _sps_size(unit)
        slices += kind < _HEVC_FIRST_PARAMETER_SET
    _check_slices(slices)


def av1_sizes(data: memoryview) -> Iterator[Size]:
    """Yields the largest (height, width) of every sequence header in the data of an AV1 image.

    Raises UndecodableImage or IndexError for malformed data or more than MAX_SLICES frames.
    """
    at = frames = 0
    for _ in range(MAX_SEGMENTS):
        if at >= len(data):
            return _check_slices(frames)
        head = data[at]
        kind = head >> 3 & 15
        at += 2 if head & 4 else 1
        size, used = _leb128(data[at : at + 8]) if head & 2 else (len(data) - at, 0)
        at += used
        if at + size > len(data):
            raise UndecodableImage("The AV1 image is truncated.")
        if kind == _AV1_SEQUENCE_HEADER:
            yield _sequence_size(data[at : at + size])
        frames += kind in (_AV1_FRAME_HEADER, _AV1_FRAME)
        at += size
    raise UndecodableImage("The AV1 image has too many units.", limit=MAX_SEGMENTS)


def _check_slices(count: int) -> None:
    if count > MAX_SLICES:
        raise UndecodableImage("The image has too many slices.", limit=MAX_SLICES, actual=count)


def _units(view: memoryview, length_size: int, count: int = MAX_SEGMENTS) -> Iterator[memoryview]:
    """Yields at most `count` NAL units, each behind its length of `length_size` bytes."""
    at = 0
    for _ in range(count):
        if at == len(view):
            return
        length = int.from_bytes(view[at : at + length_size])
        at += length_size
        if length < 2 or at + length > len(view):
            raise UndecodableImage("The HEVC image is truncated.")
        yield view[at : at + length]
        at += length
    if count == MAX_SEGMENTS:
        raise UndecodableImage("The HEVC image has too many units.", limit=MAX_SEGMENTS)


def _sps_size(unit: memoryview) -> Size:
    """Returns the (height, width) of an HEVC sequence parameter set, a NAL unit with its header."""
    # 00 00 03 stands for 00 00 in a NAL unit.
    bits = _Bits(bytes(unit[2:_PARAMETER_SET_BYTES]).replace(b"\0\0\3", b"\0\0"))
    bits.read(4)
    sub_layers = bits.read(3)
    bits.read(1 + 96)
    present = [(bits.read(1), bits.read(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.read(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.read(88 * has_profile + 8 * has_level)
    bits.exp_golomb()
    if bits.exp_golomb() == 3:
        bits.read(1)
    width, height = bits.exp_golomb(), bits.exp_golomb()
    return height, width


def _sequence_size(content: memoryview) -> Size:
    """Returns the largest (height, width) that an AV1 sequence header allows its frames."""
    bits = _Bits(bytes(content[:_PARAMETER_SET_BYTES]))
    bits.read(3 + 1)
    if bits.read(1):
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    return height, width


def _skip_operating_points(bits: "_Bits") -> None:
    """Skips timing, decoder model and operating points of an AV1 sequence header."""
    delay_bits = 0
    if bits.read(1):
        bits.read(64)
        if bits.read(1):
            bits.exp_golomb()
        if bits.read(1):
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5 + 5)
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)


def _leb128(view: memoryview) -> tuple[int, int]:
    """Returns a number of AV1's variable-length code, and the number of its bytes, 1..8."""
    value = 0
    for place, byte in enumerate(view):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, place + 1
    raise UndecodableImage("The AV1 image is truncated.")


class _Bits:
    """Reads numbers of some bits from the start of bytes. Reads behind the end raise IndexError."""

    def __init__(self, content: bytes) -> None:
        self._value, self._left = int.from_bytes(content), 8 * len(content)

    def read(self, count: int) -> int:
        """Returns the next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise IndexError
        return self._value >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """Returns the next unsigned number in Exp-Golomb code (`ue(v)`, and `uvlc()` of AV1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
