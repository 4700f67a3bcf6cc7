"""Pixels of another colour space to sRGB, by the ICC profile that came with them."""

import io
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from silhouette_seg.vision.codec.colour_tag import MAX_PROFILE_BYTES, ColourTag
from silhouette_seg.vision.codec.icc import BadProfile, Profile, check_tables, parse

_STRIP_ROWS = 64
"""Converted at a time, so that what is between stays in the cache."""

_KINDS = frozenset({"scnr", "mntr", "prtr", "spac"})
"""Of profiles that describe pixels: scanners, monitors, printers and colour spaces."""
_CHANNELS = {"RGB": 3, "GRAY": 1, "CMYK": 4}
_COLORANTS, _CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")
_AMPLIFIER = b"mpet"
"""Multi-process elements: a few bytes of them can ask lcms for gigabytes. No camera has them."""
_SAMPLES = 17
"""Levels of each channel where a conversion is compared with doing nothing."""

_SRGB_FROM_XYZ = np.linalg.inv(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
"""The colorants of sRGB adapted to D50, as its usual profile has them, the other way round."""


class Treatment(StrEnum):
    SRGB = "srgb"
    """The colours were sRGB already, or nothing says that they were not."""
    CONVERTED = "converted"
    IGNORED = "ignored"
    """There is a tag that could not be used: the colours may be off."""
    KEPT = "kept"
    """There is a tag and nobody asked for true colours."""


@dataclass(frozen=True, slots=True)
class ColourNote:
    """What was done about a photo's colours; as text `converted:Display P3`."""

    treatment: Treatment
    detail: str = ""
    """The name of the profile, or why it was ignored: printable and short."""

    def __str__(self) -> str:
        return f"{self.treatment}:{self.detail}" if self.detail else str(self.treatment)


SRGB = ColourNote(Treatment.SRGB)


def to_srgb(
    pixels: NDArray[np.uint8], tag: ColourTag, *, wanted: bool = True, in_place: bool = False
) -> tuple[NDArray[np.uint8], ColourNote]:
    """RGB [h,w,3] or CMYK [h,w,4] to RGB in sRGB; uint8, and 255 is no ink in CMYK.

    Without a profile, with one that cannot be used, or if true colours are not `wanted`, RGB
    stays as it is and CMYK is multiplied out. No profile is a failure. `in_place` uses RGB
    pixels up: 36 MB less at 12 MP.
    """
    if not tag.profile:
        note = ColourNote(Treatment.IGNORED, tag.ignored) if tag.ignored else SRGB
        return _plain(pixels), note
    if not wanted:
        return _plain(pixels), ColourNote(Treatment.KEPT)
    try:
        content = _unpacked(tag)
        profile = parse(content)
        matching = _matching(pixels, profile)
        conversion = _conversion(profile, content)
    except BadProfile as why:
        return _plain(pixels), ColourNote(Treatment.IGNORED, str(why))
    if profile.space != "CMYK" and _changes_nothing(conversion, matching.shape[2]):
        return _plain(pixels), SRGB
    reuse = in_place and pixels.shape[2] == 3
    rgb = pixels if reuse else np.empty((*pixels.shape[:2], 3), np.uint8)
    for start in range(0, len(pixels), _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        rgb[rows] = conversion(matching[rows])
    return rgb, ColourNote(Treatment.CONVERTED, profile.name)


def _plain(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.shape[2] == 3:
        return pixels
    black = cv2.extractChannel(pixels, 3)
    light = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.multiply(light, cv2.merge([black] * 3), scale=1 / 255), np.uint8)


def _unpacked(tag: ColourTag) -> bytes:
    if not tag.deflated:
        return tag.profile
    try:
        profile = zlib.decompressobj().decompress(tag.profile, MAX_PROFILE_BYTES + 1)
    except zlib.error as error:
        raise BadProfile("profile that does not unpack") from error
    if len(profile) > MAX_PROFILE_BYTES:
        raise BadProfile("profile of too many bytes")
    return profile


def _matching(pixels: NDArray[np.uint8], profile: Profile) -> NDArray[np.uint8]:
    """The pixels as the profile describes them: grey ones come as RGB, and inks are inverted."""
    if profile.kind not in _KINDS or profile.space not in _CHANNELS:
        raise BadProfile(f"profile of class {profile.kind} for {profile.space}")
    if profile.space == "GRAY" and pixels.shape[2] == 3:
        red, green, blue = cv2.split(pixels)
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            raise BadProfile("profile for GRAY, photo with colours")
        return np.asarray(red, np.uint8)[..., None]
    if pixels.shape[2] != _CHANNELS[profile.space]:
        raise BadProfile(f"profile for {profile.space}, photo of {pixels.shape[2]} channels")
    return np.asarray(cv2.bitwise_not(pixels), np.uint8) if profile.space == "CMYK" else pixels


class _Conversion(Protocol):
    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [h,w,channels] to sRGB [h,w,3]. Any number of threads at once."""
        ...


def _conversion(profile: Profile, content: bytes) -> _Conversion:
    """Tables are left to lcms. What cameras, phones and monitors have is done here, as lcms would
    in relative colorimetric intent but 3 times faster. Raises BadProfile.
    """
    tables = any(tag[:3] in (b"A2B", b"D2B") for tag in profile.tags)
    if tables or profile.connection != "XYZ" or profile.space == "CMYK":
        return _ByTables(content, profile.space)
    if profile.space == "GRAY":
        return _ByCurve(profile)
    return _ByMatrix(profile)


class _ByCurve:
    """Grey: nothing but a curve."""

    def __init__(self, profile: Profile) -> None:
        self._levels = _encoding()[_sixteen_bits(profile.light(b"kTRC"))]

    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(cv2.LUT(strip, self._levels), cv2.COLOR_GRAY2RGB), np.uint8)


class _ByMatrix:
    """A curve for each channel to linear light, a matrix to that of sRGB, the curve of sRGB."""

    def __init__(self, profile: Profile) -> None:
        curves = np.stack([profile.light(curve) for curve in _CURVES], axis=-1)
        self._curves = _sixteen_bits(curves)[:, None]
        self._matrix = _SRGB_FROM_XYZ @ np.stack([profile.xyz(tag) for tag in _COLORANTS], axis=-1)

    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Saturation clips what sRGB does not have.
        light = cv2.transform(cv2.LUT(strip, self._curves), self._matrix)
        return np.take(_encoding(), np.asarray(light, np.uint16))


class _ByTables:
    """Whatever lcms can read."""

    def __init__(self, content: bytes, space: str) -> None:
        self._mode = {"GRAY": "L"}.get(space, space)
        if _AMPLIFIER in content:
            raise BadProfile("profile with multi-process elements")
        check_tables(content)
        try:
            self._transform = ImageCms.ImageCmsTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(content)),
                _srgb_profile(),
                self._mode,
                "RGB",
                # Colours that sRGB has stay what they are, and black ink becomes black.
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (OSError, ValueError) as error:
            raise BadProfile("profile that is not valid") from error

    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (strip.shape[1], strip.shape[0])
        image = Image.frombuffer(
            self._mode, size, np.ascontiguousarray(strip), "raw", self._mode, 0, 1
        )
        return np.asarray(self._transform.apply(image))


def _changes_nothing(conversion: _Conversion, channels: int) -> bool:
    """Whether no colour of a grid moves by more than one level."""
    levels = np.linspace(0, 255, _SAMPLES).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(_SAMPLES, -1, channels)
    return bool(np.abs(conversion(grid).astype(np.int16) - grid).max() <= 1)


def _sixteen_bits(light: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.round(65_535 * light).astype(np.uint16)


@cache
def _encoding() -> NDArray[np.uint8]:
    """The level of sRGB for each of 65,536 linear ones."""
    light = np.linspace(0, 1, 65_536)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


@cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
