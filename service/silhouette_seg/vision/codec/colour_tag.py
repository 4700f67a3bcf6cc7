"""Reads the colour information of image files. The bytes are untrusted; none of them raises."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""Maximum size of an ICC profile. A camera's has under 10 KB, a printing press's up to 3 MB."""

_SRGB_CHUNKS = {
    b"gAMA": (45_455,),
    b"cHRM": (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000),
}
"""PNG chunks that describe sRGB, in units of 1/100,000."""
_TOLERANCE = 1_000
"""Largest difference from those values, in the same units."""
_SRGB_CICP = bytes((1, 13, 0, 1))

PNG_CHUNKS = frozenset({b"iCCP", b"cICP", b"sRGB", *_SRGB_CHUNKS})
"""PNG chunk types with colour information."""


@dataclass(frozen=True, slots=True)
class ColourTag:
    """Colour information of a file. All fields are empty for sRGB and for untagged files."""

    profile: bytes = field(default=b"", repr=False)
    """ICC profile, not validated."""
    deflated: bool = False
    """True: the profile is compressed by zlib."""
    ignored_tag: str = ""
    """Description of colour information that is present but not supported."""


UNTAGGED = ColourTag()


def jpeg_colour_tag(parts: Sequence[memoryview]) -> ColourTag:
    """Joins the parts of an ICC profile, given in any order.

    Each part begins with its number, from 1, and the number of parts.
    """
    numbers = sorted(tuple(part[:2]) for part in parts)
    if numbers != [(number + 1, len(parts)) for number in range(len(parts))]:
        return ColourTag(ignored_tag="profile with parts missing")
    return _profile_tag(*(part[2:] for part in sorted(parts, key=lambda part: part[0])))


def png_colour_tag(chunks: Mapping[bytes, memoryview]) -> ColourTag:
    """Returns the ICC profile of a PNG, which takes precedence over its other chunks.

    Writers of cICP add a profile for readers that do not support cICP. Without a profile, code
    points, gamma and primaries other than those of sRGB are ignored. Tools write these; cameras
    do not.
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


def webp_colour_tag(content: memoryview) -> ColourTag:
    """Returns the ICC profile of an ICCP chunk."""
    return _profile_tag(content)


def _png_profile_tag(content: memoryview) -> ColourTag:
    """Reads an iCCP chunk: a name, a zero, the method (zero for zlib), the compressed profile."""
    name, _, rest = bytes(content[:81]).partition(b"\0")
    if rest[:1] != b"\0":
        return ColourTag(ignored_tag="profile without a name, or packed in an unknown way")
    return _profile_tag(content[len(name) + 2 :], deflated=True)


def _profile_tag(*parts: memoryview, deflated: bool = False) -> ColourTag:
    if sum(map(len, parts)) > MAX_PROFILE_BYTES:
        return ColourTag(ignored_tag="profile of too many bytes")
    return ColourTag(b"".join(parts), deflated)


def _is_near(content: memoryview, expected: tuple[int, ...]) -> bool:
    if len(content) != 4 * len(expected):
        return False
    values = struct.unpack(f">{len(expected)}I", content)
    return all(abs(one - other) <= _TOLERANCE for one, other in zip(values, expected, strict=True))
