"""What a file says of its colours. The bytes come from strangers; none of them is a failure."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""Of an ICC profile. A camera's has under 10 KB, that of a printing press up to 3 MB."""

_PNG_SRGB = {
    b"gAMA": (45_455,),
    b"cHRM": (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000),
}
"""In units of 1/100,000."""
_NEAR = 1_000
_CICP_SRGB = bytes((1, 13, 0, 1))

PNG_CHUNKS = frozenset({b"iCCP", b"cICP", b"sRGB", *_PNG_SRGB})


@dataclass(frozen=True, slots=True)
class ColourTag:
    """All empty where the colours are those of sRGB, or nothing is said."""

    profile: bytes = field(default=b"", repr=False)
    """An ICC profile, not looked into yet."""
    deflated: bool = False
    """The profile is packed by zlib."""
    ignored: str = ""
    """What is said but not used."""


UNTAGGED = ColourTag()


def of_jpeg(parts: Sequence[memoryview]) -> ColourTag:
    """The profile in parts of any order, each with its number from 1 and how many there are."""
    numbers = sorted(tuple(part[:2]) for part in parts)
    if numbers != [(number + 1, len(parts)) for number in range(len(parts))]:
        return ColourTag(ignored="profile with parts missing")
    return _profile(*(part[2:] for part in sorted(parts, key=lambda part: part[0])))


def of_png(chunks: Mapping[bytes, memoryview]) -> ColourTag:
    """The profile, which writers of cICP add for readers that do not know it; else a remark.

    Without a profile, code points, gamma and primaries that are not those of sRGB are ignored:
    they come from tools and not from cameras.
    """
    if b"iCCP" in chunks:
        return _png_profile(chunks[b"iCCP"])
    if b"cICP" in chunks:
        return ColourTag(ignored="" if bytes(chunks[b"cICP"]) == _CICP_SRGB else "cICP")
    if b"sRGB" in chunks:
        return UNTAGGED
    plain = all(_near(chunks[kind], usual) for kind, usual in _PNG_SRGB.items() if kind in chunks)
    return ColourTag(ignored="" if plain else "gAMA and cHRM")


def of_webp(content: memoryview) -> ColourTag:
    return _profile(content)


def _png_profile(content: memoryview) -> ColourTag:
    """A name, a zero, the method (zero for zlib), the packed profile."""
    name, _, rest = bytes(content[:81]).partition(b"\0")
    if rest[:1] != b"\0":
        return ColourTag(ignored="profile without a name, or packed in an unknown way")
    return _profile(content[len(name) + 2 :], deflated=True)


def _profile(*parts: memoryview, deflated: bool = False) -> ColourTag:
    if sum(map(len, parts)) > MAX_PROFILE_BYTES:
        return ColourTag(ignored="profile of too many bytes")
    return ColourTag(b"".join(parts), deflated)


def _near(content: memoryview, usual: tuple[int, ...]) -> bool:
    if len(content) != 4 * len(usual):
        return False
    values = struct.unpack(f">{len(usual)}I", content)
    return all(abs(one - other) <= _NEAR for one, other in zip(values, usual, strict=True))
