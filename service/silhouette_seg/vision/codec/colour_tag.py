"""Reads the colour information of image files: ICC profiles and PNG chunks.

The bytes are untrusted. Malformed ones are reported in the result, and none of them raises.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""Largest ICC profile that is used, in bytes.

A camera's has under 10 KB, a printing press's up to 3 MB.
"""
_DEFLATE_SLACK = 16 * 1024
"""Number of bytes by which zlib can enlarge a profile of MAX_PROFILE_BYTES that does not shrink."""

_SRGB_CHUNKS = {
    b"gAMA": (45_455,),
    b"cHRM": (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000),
}
"""PNG chunk type -> values that describe sRGB, in units of 1/100,000.

`gAMA` holds the gamma, `cHRM` the white point and the primaries as x and y.
"""
_TOLERANCE = 1_000
"""Largest difference from the values of `_SRGB_CHUNKS` that counts as sRGB, in their units."""
_SRGB_CICP = bytes((1, 13, 0, 1))

_UNSPECIFIED = 2
_SRGB_PRIMARIES = frozenset({1, _UNSPECIFIED})
SRGB_TRANSFERS = frozenset({1, 6, 13, 14, 15, _UNSPECIFIED})
"""Transfer characteristics of ITU-T H.273 with the levels of sRGB.

13 is sRGB. The others are camera curves of BT.709, BT.601 and BT.2020; viewers show their levels
unchanged.
"""

PNG_CHUNKS = frozenset({b"iCCP", b"cICP", b"sRGB", *_SRGB_CHUNKS})
"""Types of the PNG chunks that hold colour information."""


@dataclass(frozen=True, slots=True)
class CodePoints:
    """Colour space as two numbers of ITU-T H.273, which HEIF and AVIF files contain."""

    primaries: int
    """Colour primaries: 1 = BT.709 and sRGB, 9 = BT.2020, 12 = Display P3."""
    transfer: int
    """Transfer characteristics: 13 = sRGB, 16 = PQ, 18 = HLG."""


@dataclass(frozen=True, slots=True)
class ColourTag:
    """Colour information that an image file declares.

    All fields are empty for sRGB or if it declares none.
    """

    profile: bytes = field(default=b"", repr=False)
    """Bytes of the ICC profile, not validated; empty if the file has none."""
    deflated: bool = False
    """True if `profile` is compressed by zlib, as PNG stores it."""
    code_points: CodePoints | None = None
    """Primaries and transfer function of an image without ICC profile; None for sRGB or unknown."""
    ignored_tag: str = ""
    """Name or fault of colour information that is present but cannot be used; else empty."""


UNTAGGED = ColourTag()


def jpeg_colour_tag(parts: Sequence[memoryview]) -> ColourTag:
    """Joins the parts of a JPEG's ICC profile, in any order, into a colour tag.

    Each part begins with two bytes: its number, from 1, and the number of parts. No part gives an
    empty tag. Missing or repeated parts give a tag without profile and with `ignored_tag`.
    """
    numbers = sorted(tuple(part[:2]) for part in parts)
    if numbers != [(number + 1, len(parts)) for number in range(len(parts))]:
        return ColourTag(ignored_tag="profile with parts missing")
    return profile_tag(*(part[2:] for part in sorted(parts, key=lambda part: part[0])))


def png_colour_tag(chunks: Mapping[bytes, memoryview]) -> ColourTag:
    """Returns the colour tag of a PNG from its chunks, a mapping from chunk type to content.

    The ICC profile of an iCCP chunk takes precedence, because writers of cICP add one for readers
    that do not support cICP. Without it, code points, gamma and primaries other than those of sRGB
    only set `ignored_tag`. Tools write these; cameras do not.
    """
    if b"iCCP" in chunks:
        return _png_profile_tag(chunks[b"iCCP"])
    if b"cICP" in chunks:
        return ColourTag(ignored_tag="" if bytes(chunks[b"cICP"]) == _SRGB_CICP else "cICP")
    if b"sRGB" in chunks:
        return UNTAGGED
    is_srgb = all(
        _is_near(chunks[kind], values) for kind, values in _SRGB_CHUNKS.items() if kind in chunks
    )
    return ColourTag(ignored_tag="" if is_srgb else "gAMA and cHRM")


def nclx_colour_tag(content: memoryview) -> ColourTag:
    """Returns the colour tag for the content of an `nclx` property of a HEIF or AVIF image.

    The content is primaries, transfer characteristics and matrix, each of two bytes. The matrix is
    the decoder's business. sRGB, unspecified values and truncated content give an empty tag.
    """
    if len(content) < 4:
        return UNTAGGED
    points = CodePoints(*struct.unpack_from(">HH", content))
    if points.primaries in _SRGB_PRIMARIES and points.transfer in SRGB_TRANSFERS:
        return UNTAGGED
    return ColourTag(code_points=points)


def _png_profile_tag(content: memoryview) -> ColourTag:
    """Returns the colour tag for the content of a PNG's iCCP chunk.

    The content is a name, a zero, the method (zero for zlib), and the compressed profile. Any other
    content gives a tag without profile and with `ignored_tag`.
    """
    name, _, rest = bytes(content[:81]).partition(b"\0")
    if rest[:1] != b"\0":
        return ColourTag(ignored_tag="profile without a name, or packed in an unknown way")
    return profile_tag(content[len(name) + 2 :], deflated=True)


def profile_tag(*parts: memoryview, deflated: bool = False) -> ColourTag:
    """Returns the colour tag for the parts of an ICC profile, in order.

    `deflated` is true if it is compressed by zlib; its size is then checked again when it is
    unpacked. A profile of more than MAX_PROFILE_BYTES gives a tag without profile and with
    `ignored_tag`.
    """
    if sum(map(len, parts)) > MAX_PROFILE_BYTES + _DEFLATE_SLACK * deflated:
        return ColourTag(ignored_tag="profile of too many bytes")
    return ColourTag(b"".join(parts), deflated)


def _is_near(content: memoryview, expected: tuple[int, ...]) -> bool:
    if len(content) != 4 * len(expected):
        return False
    values = struct.unpack(f">{len(expected)}I", content)
    return all(abs(one - other) <= _TOLERANCE for one, other in zip(values, expected, strict=True))
