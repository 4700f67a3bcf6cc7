"""Converts pixels to sRGB by the ICC profile of their image file."""

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

from silhouette_seg.vision.codec.code_points import code_point_name, linear_curve, linear_matrix
from silhouette_seg.vision.codec.colour_tag import MAX_PROFILE_BYTES, CodePoints, ColourTag
from silhouette_seg.vision.codec.icc import Profile, UnusableProfile, check_tables, parse_profile

_STRIP_ROWS = 64
"""Rows of pixels converted at a time. Their intermediate values stay in the processor's cache."""

_DEVICE_CLASSES = frozenset({"scnr", "mntr", "prtr", "spac"})
"""ICC classes of profiles that describe pixels: scanner, monitor, printer and colour space."""
_CHANNELS = {"RGB": 3, "GRAY": 1, "CMYK": 4}
_COLORANTS, _CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")
_MULTI_PROCESS_ELEMENTS = b"mpet"
"""ICC tag type that is rejected: a few bytes of it can make lcms allocate gigabytes.

Cameras do not write it. lcms is the colour library Little CMS.
"""
_GRID_LEVELS = 17
"""Levels per channel in the grid of colours on which a conversion is compared with the identity."""

_SRGB_FROM_XYZ = np.linalg.inv(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
"""Matrix [3,3] from XYZ, relative to white D50, to linear sRGB.

It is the inverse of the sRGB colorants adapted to D50, as the usual sRGB profile has them.
"""


class ColourTreatment(StrEnum):
    """Outcomes of the colour management of one photo. The values are part of the API."""

    SRGB = "srgb"
    """The colours were sRGB already, or the file declares no colour space."""
    CONVERTED = "converted"
    """The colours were converted to sRGB by the profile of the file."""
    IGNORED = "ignored"
    """The file has a colour tag that cannot be used: colours may be wrong."""
    KEPT = "kept"
    """The file has a colour tag, but the caller needed no conversion."""


@dataclass(frozen=True, slots=True)
class ColourNote:
    """Treatment of a photo's colours. Its text is, for example, `converted:Display P3`."""

    treatment: ColourTreatment
    detail: str = ""
    """Name of the profile, or the reason for ignoring it. The text is printable and short."""

    def __str__(self) -> str:
        return f"{self.treatment}:{self.detail}" if self.detail else str(self.treatment)


SRGB = ColourNote(ColourTreatment.SRGB)


def to_srgb(
    pixels: NDArray[np.uint8], tag: ColourTag, *, convert: bool = True, in_place: bool = False
) -> tuple[NDArray[np.uint8], ColourNote]:
    """Converts pixels to sRGB by the ICC profile in the colour tag of their file.

    `pixels` is uint8 RGB [h,w,3], or CMYK [h,w,4] where 255 is no ink. Returns sRGB uint8 [h,w,3]
    and a note on the treatment. Without a usable profile, or if `convert` is false, RGB is returned
    unchanged. CMYK then becomes the product of each ink with black. A bad profile raises no error.
    `in_place` overwrites RGB pixels, which saves 36 MB for 12 megapixels.
    """
    if not tag.profile and tag.code_points is None:
        note = ColourNote(ColourTreatment.IGNORED, tag.ignored_tag) if tag.ignored_tag else SRGB
        return _without_profile(pixels), note
    if not convert:
        return _without_profile(pixels), ColourNote(ColourTreatment.KEPT)
    try:
        channels, conversion, name = _select_conversion(pixels, tag)
    except UnusableProfile as error:
        return _without_profile(pixels), ColourNote(ColourTreatment.IGNORED, str(error))
    if channels.shape[2] != _CHANNELS["CMYK"] and _is_identity(conversion, channels.shape[2]):
        return _without_profile(pixels), SRGB
    reuse = in_place and pixels.shape[2] == 3
    rgb = pixels if reuse else np.empty((*pixels.shape[:2], 3), np.uint8)
    for start in range(0, len(pixels), _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        rgb[rows] = conversion(channels[rows])
    return rgb, ColourNote(ColourTreatment.CONVERTED, name)


def _select_conversion(
    pixels: NDArray[np.uint8], tag: ColourTag
) -> tuple[NDArray[np.uint8], "_Conversion", str]:
    """Returns the pixels in the channels of a colour tag, their conversion, and the tag's name.

    Raises UnusableProfile for a profile or code points that cannot be used.
    """
    if tag.code_points is not None:
        return pixels, _code_point_conversion(tag.code_points), code_point_name(tag.code_points)
    content = _decompress(tag)
    profile = parse_profile(content)
    channels = _match_channels(pixels, profile)
    return channels, _make_conversion(profile, content), profile.name


def _without_profile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts uint8 [h,w,3|4] to RGB [h,w,3] without a profile.

    RGB is returned unchanged. CMYK becomes the product of each ink with black.
    """
    if pixels.shape[2] == 3:
        return pixels
    black = cv2.extractChannel(pixels, 3)
    light = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.multiply(light, cv2.merge([black] * 3), scale=1 / 255), np.uint8)


def _decompress(tag: ColourTag) -> bytes:
    if not tag.deflated:
        return tag.profile
    try:
        profile = zlib.decompressobj().decompress(tag.profile, MAX_PROFILE_BYTES + 1)
    except zlib.error as error:
        raise UnusableProfile("profile that does not unpack") from error
    if len(profile) > MAX_PROFILE_BYTES:
        raise UnusableProfile("profile of too many bytes")
    return profile


def _match_channels(pixels: NDArray[np.uint8], profile: Profile) -> NDArray[np.uint8]:
    """Returns pixels, uint8 [h,w,3|4], in the channels that an ICC profile expects, [h,w,c].

    A grey profile gets one channel of RGB pixels with three equal channels. A CMYK profile gets the
    inks inverted. Raises UnusableProfile if the profile is for another colour space or another kind
    of device.
    """
    space = profile.colour_space
    if profile.device_class not in _DEVICE_CLASSES or space not in _CHANNELS:
        raise UnusableProfile(f"profile of class {profile.device_class} for {space}")
    if space == "GRAY" and pixels.shape[2] == 3:
        red, green, blue = cv2.split(pixels)
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            raise UnusableProfile("profile for GRAY, photo with colours")
        return np.asarray(red, np.uint8)[..., None]
    if pixels.shape[2] != _CHANNELS[space]:
        raise UnusableProfile(f"profile for {space}, photo of {pixels.shape[2]} channels")
    return np.asarray(cv2.bitwise_not(pixels), np.uint8) if space == "CMYK" else pixels


class _Conversion(Protocol):
    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Converts uint8 [h,w,c], in the profile's channels, to sRGB [h,w,3]. Thread-safe."""
        ...


def _make_conversion(profile: Profile, content: bytes) -> _Conversion:
    """Returns the function that converts pixels of an ICC profile to sRGB.

    `content` is the whole profile. Raises UnusableProfile if a tag that it needs is missing or
    malformed, or if lcms (Little CMS) rejects it. lcms converts CMYK and profiles with lookup
    tables. Curve and matrix profiles, which cameras, phones and monitors have, are converted here.
    The result is that of lcms with relative colorimetric intent, at 3 times the speed.
    """
    has_tables = any(tag[:3] in (b"A2B", b"D2B") for tag in profile.tags)
    if has_tables or profile.connection_space != "XYZ" or profile.colour_space == "CMYK":
        return _LcmsConversion(content, profile.colour_space)
    if profile.colour_space == "GRAY":
        return _CurveConversion(profile)
    curves = np.stack([profile.tone_curve(curve) for curve in _CURVES], axis=-1)
    colorants = np.stack([profile.xyz(tag) for tag in _COLORANTS], axis=-1)
    return _MatrixConversion(curves, _SRGB_FROM_XYZ @ colorants)


def _code_point_conversion(points: CodePoints) -> _Conversion:
    """Returns the conversion of code points. Raises UnusableProfile for unsupported ones."""
    curve = linear_curve(points.transfer)
    return _MatrixConversion(np.stack([curve] * 3, axis=-1), linear_matrix(points.primaries))


class _CurveConversion:
    """Converts grey uint8 [h,w,1] to sRGB [h,w,3] by the tone curve of an ICC profile.

    The constructor raises UnusableProfile if the profile has no valid curve.
    """

    def __init__(self, profile: Profile) -> None:
        self._levels = _srgb_levels()[_to_uint16(profile.tone_curve(b"kTRC"))]

    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(cv2.LUT(strip, self._levels), cv2.COLOR_GRAY2RGB), np.uint8)


class _MatrixConversion:
    """Converts RGB uint8 [h,w,3] to sRGB [h,w,3] by a curve per channel and a matrix.

    `curves` is float64 [256,3], the linear light 0..1 of each level. `matrix` [3,3] gives linear
    sRGB, and the curve of sRGB follows.
    """

    def __init__(self, curves: NDArray[np.float64], matrix: NDArray[np.float64]) -> None:
        self._curves = _to_uint16(curves)[:, None]
        self._matrix = matrix

    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Saturation clips colours outside the sRGB gamut.
        light = cv2.transform(cv2.LUT(strip, self._curves), self._matrix)
        return np.take(_srgb_levels(), np.asarray(light, np.uint16))


class _LcmsConversion:
    """Converts uint8 [h,w,c] to sRGB [h,w,3] by lcms (Little CMS).

    The constructor raises UnusableProfile if lcms cannot read the profile or could exhaust the
    memory.
    """

    def __init__(self, content: bytes, space: str) -> None:
        self._mode = {"GRAY": "L"}.get(space, space)
        if _MULTI_PROCESS_ELEMENTS in content:
            raise UnusableProfile("profile with multi-process elements")
        check_tables(content)
        try:
            self._transform = ImageCms.ImageCmsTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(content)),
                _srgb_profile(),
                self._mode,
                "RGB",
                # Colours inside the sRGB gamut are kept, and black ink becomes black.
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (OSError, ValueError) as error:
            raise UnusableProfile("profile that is not valid") from error

    def __call__(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (strip.shape[1], strip.shape[0])
        image = Image.frombuffer(
            self._mode, size, np.ascontiguousarray(strip), "raw", self._mode, 0, 1
        )
        return np.asarray(self._transform.apply(image))


def _is_identity(conversion: _Conversion, channels: int) -> bool:
    """Returns whether a conversion changes no colour of a grid by more than one 8-bit level."""
    levels = np.linspace(0, 255, _GRID_LEVELS).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(_GRID_LEVELS, -1, channels)
    return bool(np.abs(conversion(grid).astype(np.int16) - grid).max() <= 1)


def _to_uint16(light: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.round(65_535 * light).astype(np.uint16)


@cache
def _srgb_levels() -> NDArray[np.uint8]:
    """Returns the table, uint8 [65536], from linear light (65,535 = white) to the sRGB level."""
    light = np.linspace(0, 1, 65_536)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


@cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
