"""Reads ICC profiles. The bytes are untrusted: the size of every read is checked."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
_MAX_TAGS = 200
_MAX_NAME_LENGTH = 60
_PARAMETER_COUNTS = (1, 3, 4, 5, 7)
"""Number of parameters of each function, 0 to 4, of an ICC parametric curve."""


class UnusableProfile(Exception):
    """An ICC profile cannot be used. The message is the reason, and safe to show to clients."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Header fields and tags of an ICC profile, not validated.

    Header fields are ICC's own names without trailing blanks.
    """

    device_class: str
    """Class of the profile: `mntr` for a monitor, `scnr` scanner, `prtr` printer, and others."""
    colour_space: str
    """Colour space of the pixels that the profile describes: `RGB`, `GRAY`, `CMYK` and others."""
    connection_space: str
    """Colour space that the profile converts to: `XYZ` or `Lab`."""
    tags: dict[bytes, memoryview]
    """Tag signature, for example `desc` -> content of the tag."""

    @property
    def name(self) -> str:
        """Description of the profile: one printable line of 1 to 60 characters.

        A profile without a description is called `a profile without a name`.
        """
        return (
            _printable(_description_text(self.tags.get(b"desc", _EMPTY)))
            or "a profile without a name"
        )

    def xyz(self, tag: bytes) -> NDArray[np.float64]:
        """Returns the X, Y and Z of an XYZ tag, float64 [3], adapted to white D50.

        Raises UnusableProfile if the tag is missing or malformed.
        """
        return np.array(_read_numbers(self.tags.get(tag, _EMPTY), b"XYZ ", ">3i", 8)) / 65_536

    def tone_curve(self, tag: bytes) -> NDArray[np.float64]:
        """Returns the tone curve in a tag: float64 [256], linear light 0..1 of each 8-bit level.

        Raises UnusableProfile if the tag is missing or malformed.
        """
        curve = self.tags.get(tag, _EMPTY)
        return _parametric_curve(curve) if bytes(curve[:4]) == b"para" else _sampled_curve(curve)


_EMPTY = memoryview(b"")


def parse_profile(content: bytes) -> Profile:
    """Reads the header and the tag directory of an ICC profile.

    Raises UnusableProfile if its signature is missing, it has over 200 tags, or it is truncated.
    """
    view = memoryview(content)
    start = _HEADER_BYTES + 4
    count = int.from_bytes(view[_HEADER_BYTES:start])
    directory = view[start : start + 12 * count]
    if content[36:40] != b"acsp" or count > _MAX_TAGS or len(directory) < 12 * count:
        raise UnusableProfile("profile that is not valid")
    tags = {tag: view[at : at + size] for tag, at, size in struct.iter_unpack(">4sII", directory)}
    device_class, colour_space, connection_space = (
        _printable(str(content[at : at + 4], "latin-1")) for at in (12, 16, 20)
    )
    return Profile(device_class, colour_space, connection_space, tags)


def check_tables(content: bytes) -> None:
    """Raises UnusableProfile unless every lookup table that an ICC profile declares is complete.

    `content` is the whole profile. lcms (Little CMS) allocates and fills a table before it checks
    that the file contains one. A profile of 300 bytes would take half a gigabyte and seconds. lcms
    reads the first of two tags with one name, so every entry of the directory is checked.
    """
    view = memoryview(content)
    count = int.from_bytes(view[_HEADER_BYTES : _HEADER_BYTES + 4])
    for number in range(min(count, _MAX_TAGS)):
        _, at, size = struct.unpack_from(">4sII", view, _HEADER_BYTES + 4 + 12 * number)
        tag = view[at : at + size]
        table_size = _TABLE_SIZES.get(bytes(tag[:4]))
        try:
            is_complete = table_size is None or table_size(tag) <= len(tag)
        except (struct.error, IndexError):
            is_complete = False
        if not is_complete:
            raise UnusableProfile("profile with tables that are not there")


def _lut8_size(tag: memoryview) -> int:
    """Returns the size in bytes that an ICC lut8 tag (type `mft1`) needs to hold its tables.

    The channel and grid counts in the tag's header give it. Raises IndexError for a truncated
    header.
    """
    inputs, outputs, nodes = tag[8], tag[9], tag[10]
    return 48 + 256 * (inputs + outputs) + outputs * prod(inputs * [nodes])


def _lut16_size(tag: memoryview) -> int:
    inputs, outputs, nodes = tag[8], tag[9], tag[10]
    before, after = struct.unpack_from(">HH", tag, 48)
    return 52 + 2 * int(inputs * before + outputs * (after + prod(inputs * [nodes])))


def _lut_ab_size(tag: memoryview) -> int:
    inputs, outputs = tag[8], tag[9]
    (start,) = struct.unpack_from(">I", tag, 24)
    if not start:
        return 0
    nodes = tag[start : start + 16]
    precision = max(1, tag[start + 16])  # bytes per number; lcms rejects values other than 1 and 2
    return int(start + 20 + precision * outputs * prod(nodes[:inputs]))


_TABLE_SIZES: dict[bytes, Callable[[memoryview], int]] = {
    b"mft1": _lut8_size,
    b"mft2": _lut16_size,
    b"mAB ": _lut_ab_size,
    b"mBA ": _lut_ab_size,
}
"""Type of an ICC tag with lookup tables -> function that returns its complete size in bytes."""


def _read_numbers(tag: memoryview, kind: bytes, format: str, at: int) -> tuple[int, ...]:
    if bytes(tag[:4]) != kind or len(tag) < at + struct.calcsize(format):
        raise UnusableProfile("profile that is not valid")
    return struct.unpack_from(format, tag, at)


def _sampled_curve(curve: memoryview) -> NDArray[np.float64]:
    """Reads an ICC `curv` tag: float64 [256], the linear light 0..1 of each 8-bit level.

    A tag of no number is a straight line. A single number is an exponent in units of 1/256. More
    numbers are samples of the curve. Raises UnusableProfile for a malformed tag.
    """
    levels = np.linspace(0, 1, 256)
    (count,) = _read_numbers(curve, b"curv", ">I", 8)
    if len(curve) < 12 + 2 * count:
        raise UnusableProfile("profile that is not valid")
    points = np.frombuffer(curve, ">u2", count, 12)
    if count == 0:
        return levels
    if count == 1:
        return np.asarray(levels ** (points[0] / 256), np.float64)
    return np.interp(levels, np.linspace(0, 1, count), points / 65_535)


def _parametric_curve(curve: memoryview) -> NDArray[np.float64]:
    """Reads an ICC `para` tag: float64 [256], the linear light 0..1 of each 8-bit level.

    ICC.1 defines the curve as `(a x + b) ^ g + e` for x >= d and `c x + f` below. Raises
    UnusableProfile for a malformed tag.
    """
    (function,) = _read_numbers(curve, b"para", ">H", 8)
    if function >= len(_PARAMETER_COUNTS):
        raise UnusableProfile("profile that is not valid")
    count = _PARAMETER_COUNTS[function]
    values = [value / 65_536 for value in _read_numbers(curve, b"para", f">{count}i", 12)]
    g, a, b, c, d, e, f = values + [1, 0, 0, 0, 0, 0][count - 1 :]
    if function in (1, 2):
        c, d, e, f = 0, -b / a if a else 0, c, c
    levels = np.linspace(0, 1, 256)
    with np.errstate(all="ignore"):
        light = np.where(levels >= d, np.maximum(a * levels + b, 0) ** g + e, c * levels + f)
    if not np.isfinite(light).all():
        raise UnusableProfile("profile that is not valid")
    return light.clip(0, 1)


def _description_text(tag: memoryview) -> str:
    """Returns the text of an ICC `desc` tag: ASCII in version 2, later the first language.

    The text is empty if the tag is.
    """
    if bytes(tag[:4]) == b"mluc" and len(tag) >= 28:
        size, start = struct.unpack_from(">II", tag, 20)
        return str(tag[start : start + min(size, 4 * _MAX_NAME_LENGTH)], "utf-16-be", "replace")
    return str(tag[12 : 12 + 2 * _MAX_NAME_LENGTH], "latin-1").partition("\0")[0]


def _printable(text: str) -> str:
    """Returns untrusted text as one line of at most 60 printable characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_MAX_NAME_LENGTH]
