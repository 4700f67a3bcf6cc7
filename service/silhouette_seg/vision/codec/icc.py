"""What an ICC profile says. The bytes come from strangers: all that is read is checked for size."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
_MAX_TAGS = 200
_MAX_NAME = 60
_PARAMETERS = (1, 3, 4, 5, 7)
"""How many each function of a parametric curve has."""


class BadProfile(Exception):
    """Says why a profile cannot be used, in words fit to be shown."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The names of ICC, without the blanks at their ends."""

    kind: str
    """`mntr` for a monitor, `scnr`, `prtr`, `spac` and others."""
    space: str
    """`RGB`, `GRAY`, `CMYK` and others."""
    connection: str
    """What it leads to: `XYZ` or `Lab`."""
    tags: dict[bytes, memoryview]

    @property
    def name(self) -> str:
        """Its description: printable, short, never empty."""
        return _printable(_text(self.tags.get(b"desc", _NOTHING))) or "a profile without a name"

    def xyz(self, tag: bytes) -> NDArray[np.float64]:
        """[3], adapted to D50. Raises BadProfile."""
        return np.array(_numbers(self.tags.get(tag, _NOTHING), b"XYZ ", ">3i", 8)) / 65_536

    def light(self, tag: bytes) -> NDArray[np.float64]:
        """What the curve makes of each of 256 levels: [256] of 0..1. Raises BadProfile."""
        curve = self.tags.get(tag, _NOTHING)
        return _parametric(curve) if bytes(curve[:4]) == b"para" else _sampled(curve)


_NOTHING = memoryview(b"")


def parse(content: bytes) -> Profile:
    """Reads the header and the directory. Raises BadProfile."""
    view = memoryview(content)
    start = _HEADER_BYTES + 4
    count = int.from_bytes(view[_HEADER_BYTES:start])
    directory = view[start : start + 12 * count]
    if content[36:40] != b"acsp" or count > _MAX_TAGS or len(directory) < 12 * count:
        raise BadProfile("profile that is not valid")
    tags = {tag: view[at : at + size] for tag, at, size in struct.iter_unpack(">4sII", directory)}
    kind, space, connection = (
        _printable(str(content[at : at + 4], "latin-1")) for at in (12, 16, 20)
    )
    return Profile(kind, space, connection, tags)


def check_tables(content: bytes) -> None:
    """Raises BadProfile unless every table that is declared is there.

    lcms makes room for a table, and fills it, before it looks whether the file holds one: a
    profile of 300 bytes would take half a gigabyte and seconds. Of a name that is there twice it
    reads the first.
    """
    view = memoryview(content)
    count = int.from_bytes(view[_HEADER_BYTES : _HEADER_BYTES + 4])
    for number in range(min(count, _MAX_TAGS)):
        _, at, size = struct.unpack_from(">4sII", view, _HEADER_BYTES + 4 + 12 * number)
        tag = view[at : at + size]
        declared = _TABLES.get(bytes(tag[:4]))
        try:
            whole = declared is None or declared(tag) <= len(tag)
        except (struct.error, IndexError):
            whole = False
        if not whole:
            raise BadProfile("profile with tables that are not there")


def _lut8(tag: memoryview) -> int:
    """Bytes that the tag has when its table is whole."""
    inputs, outputs, nodes = tag[8], tag[9], tag[10]
    return 48 + 256 * (inputs + outputs) + outputs * prod(inputs * [nodes])


def _lut16(tag: memoryview) -> int:
    inputs, outputs, nodes = tag[8], tag[9], tag[10]
    before, after = struct.unpack_from(">HH", tag, 48)
    return 52 + 2 * int(inputs * before + outputs * (after + prod(inputs * [nodes])))


def _lut_ab(tag: memoryview) -> int:
    inputs, outputs = tag[8], tag[9]
    (start,) = struct.unpack_from(">I", tag, 24)
    if not start:
        return 0
    nodes = tag[start : start + 16]
    wide = max(1, tag[start + 16])  # bytes of a number; what has another is refused later
    return int(start + 20 + wide * outputs * prod(nodes[:inputs]))


_TABLES: dict[bytes, Callable[[memoryview], int]] = {
    b"mft1": _lut8,
    b"mft2": _lut16,
    b"mAB ": _lut_ab,
    b"mBA ": _lut_ab,
}
"""How many bytes each type of table has."""


def _numbers(tag: memoryview, kind: bytes, format: str, at: int) -> tuple[int, ...]:
    if bytes(tag[:4]) != kind or len(tag) < at + struct.calcsize(format):
        raise BadProfile("profile that is not valid")
    return struct.unpack_from(format, tag, at)


def _sampled(curve: memoryview) -> NDArray[np.float64]:
    """A table, or its only number a power in units of 1/256, or none for a straight line."""
    levels = np.linspace(0, 1, 256)
    (count,) = _numbers(curve, b"curv", ">I", 8)
    if len(curve) < 12 + 2 * count:
        raise BadProfile("profile that is not valid")
    points = np.frombuffer(curve, ">u2", count, 12)
    if count == 0:
        return levels
    if count == 1:
        return np.asarray(levels ** (points[0] / 256), np.float64)
    return np.interp(levels, np.linspace(0, 1, count), points / 65_535)


def _parametric(curve: memoryview) -> NDArray[np.float64]:
    """(a x + b) ^ g + e from d on and c x + f before it, as ICC.1 numbers the functions."""
    (function,) = _numbers(curve, b"para", ">H", 8)
    if function >= len(_PARAMETERS):
        raise BadProfile("profile that is not valid")
    count = _PARAMETERS[function]
    given = [value / 65_536 for value in _numbers(curve, b"para", f">{count}i", 12)]
    g, a, b, c, d, e, f = given + [1, 0, 0, 0, 0, 0][count - 1 :]
    if function in (1, 2):
        c, d, e, f = 0, -b / a if a else 0, c, c
    levels = np.linspace(0, 1, 256)
    with np.errstate(all="ignore"):
        light = np.where(levels >= d, np.maximum(a * levels + b, 0) ** g + e, c * levels + f)
    if not np.isfinite(light).all():
        raise BadProfile("profile that is not valid")
    return light.clip(0, 1)


def _text(tag: memoryview) -> str:
    """Of an ICC 2 description the ASCII, of a later one the first language."""
    if bytes(tag[:4]) == b"mluc" and len(tag) >= 28:
        size, start = struct.unpack_from(">II", tag, 20)
        return str(tag[start : start + min(size, 4 * _MAX_NAME)], "utf-16-be", "replace")
    return str(tag[12 : 12 + 2 * _MAX_NAME], "latin-1").partition("\0")[0]


def _printable(text: str) -> str:
    """The words of a stranger, cut short and safe to show in a line."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())[:_MAX_NAME]
