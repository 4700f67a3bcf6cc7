"""Converts the colours of decoded video frames to SDR with the primaries of BT.709.

Backgrounds and results have the same colours, so the person matches them. HDR follows ITU-R
BT.2100, and its reference white of 203 cd/m2 ITU-R BT.2408.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from silhouette_seg.video.errors import VideoError
from silhouette_seg.vision.codec.code_points import (
    PRIMARIES,
    REFERENCE_WHITE_NITS,
    hlg_scene_light,
    linear_matrix,
    pq_light,
    srgb_light,
)

BT_709, BT_470BG, SMPTE_170M, BT_2020 = 1, 5, 6, 9
"""libav's AVColorSpace numbers of the matrices between YUV and RGB.

The second and third are two names of the matrix of BT.601.
"""
_UNSPECIFIED_MATRICES = frozenset({0, 2, 3})
"""AVColorSpace numbers that say nothing about YUV: RGB, unspecified and reserved."""
_SUPPORTED_MATRICES = frozenset({BT_709, 4, BT_470BG, SMPTE_170M, 7, BT_2020})
"""AVColorSpace numbers of the matrices that libswscale applies."""
_KEPT_MATRICES = frozenset({BT_709, BT_470BG, SMPTE_170M})
"""AVColorSpace numbers of the matrices that a result may have."""
HD_ROWS = 720
"""Smallest number of rows of a video that players take for BT.709 if it declares no matrix.

They take a smaller one for BT.601.
"""
_HDR_NAMES: dict[int, str] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_PEAK = 1000 / REFERENCE_WHITE_NITS
"""Light of 1000 cd/m2, the highlight that becomes white, as a multiple of the reference white."""
_KNEE = 0.85
"""Share of the reference white, in linear light, above which highlights are compressed.

Darker light is exact. The reference white becomes 246 of 255. A white wall looks nearly as in SDR,
and a brighter sky still differs from it.
"""
_BT_709_LUMA = np.array([[0.2126, 0.7152, 0.0722]], np.float32)


@dataclass(frozen=True, slots=True)
class FrameColours:
    """Colours of a decoded frame as numbers of H.273, which are also those of libav.

    Colours that the frame does not declare are those that players assume.
    """

    matrix: int
    """Conversion between YUV and RGB; without effect for a frame in RGB."""
    primaries: int
    """Chromaticities of red, green and blue. Unknown ones are taken for BT.709."""
    transfer: int
    """Transfer characteristics."""

    @property
    def hdr_name(self) -> str | None:
        """PQ or HLG for a frame in HDR, else None."""
        return _HDR_NAMES.get(self.transfer)

    @property
    def result_matrix(self) -> int:
        """Matrix that the result is written with: that of the frame if it is a matrix of SDR."""
        return self.matrix if self.matrix in _KEPT_MATRICES else BT_709


def frame_colours(frame: VideoFrame) -> FrameColours:
    """Returns the colours of a frame: the declared ones, or those that players assume.

    Raises VideoError if the frame declares a matrix that cannot be applied, such as ICtCp.
    """
    matrix, primaries, transfer = frame.colorspace, frame.color_primaries, frame.color_trc
    if transfer in _HDR_NAMES and primaries == ColorPrimaries.UNSPECIFIED:
        primaries = ColorPrimaries.BT2020
    if matrix in _UNSPECIFIED_MATRICES:
        is_wide = primaries == ColorPrimaries.BT2020
        matrix = BT_2020 if is_wide else BT_709 if frame.height >= HD_ROWS else SMPTE_170M
    if matrix not in _SUPPORTED_MATRICES:
        raise VideoError(f"The colours of the video are not supported (H.273 matrix {matrix}).")
    return FrameColours(matrix, primaries, transfer)


def swscale_matrix(matrix: int) -> int:
    """Returns the number of libswscale for a matrix with an AVColorSpace number.

    They differ in one: libswscale has only the first of the two names of BT.601.
    """
    return BT_470BG if matrix == SMPTE_170M else matrix


def to_sdr(frame: VideoFrame) -> NDArray[np.uint8]:
    """Returns the stored image of a frame in SDR, RGB uint8 [h,w,3], with BT.709's primaries.

    An image in SDR with these primaries keeps its values. In HDR, light up to the reference white
    keeps its values nearly, and brighter light is compressed. Raises VideoError if the frame
    declares a matrix that cannot be applied.
    """
    colours = frame_colours(frame)
    matrix = swscale_matrix(colours.matrix)
    if colours.hdr_name is None and _has_bt_709_primaries(colours):
        return np.asarray(frame.to_ndarray(format="rgb24", src_colorspace=matrix), np.uint8)
    codes = frame.to_ndarray(format="rgb48le", src_colorspace=matrix)
    linear = _linear_light(colours.transfer)[codes]
    light = np.asarray(cv2.transform(linear, _to_bt_709(colours.primaries)), np.float32)
    if colours.hdr_name is not None:
        is_hlg = colours.transfer == ColorTrc.ARIB_STD_B67
        gain = _tone_gain(light, is_hlg=is_hlg)
        # Broadcasting in numpy takes three times as long.
        light = np.asarray(cv2.multiply(light, cv2.merge([gain] * 3)), np.float32)
    return _encode(light)


def _has_bt_709_primaries(colours: FrameColours) -> bool:
    known = PRIMARIES.get(colours.primaries)
    return known is None or known == PRIMARIES[ColorPrimaries.BT709]


def _tone_gain(light: NDArray[np.float32], *, is_hlg: bool) -> NDArray[np.float32]:
    """Returns the factor of each pixel, float32 [h,w], from HDR to SDR in linear light.

    `light`, float32 [h,w,3], has BT.709's primaries. White is 1 in PQ. In HLG it is the light of
    the scene, which a display of 1000 cd/m2 raises to the power 1.2 (BT.2100).
    """
    red, green, blue = cv2.split(light)
    brightest = np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)
    system = np.ones_like(brightest)
    if is_hlg:
        luma = np.maximum(cv2.transform(light, _BT_709_LUMA), 0)
        system = np.float32(_PEAK) * np.asarray(cv2.pow(luma, 0.2), np.float32)
        brightest *= system
    over = np.maximum(brightest - np.float32(_KNEE), 0)
    # The curve has the slope 1 at the knee, and reaches white at the peak.
    bend = np.float32(1 / (1 - _KNEE) - 1 / (_PEAK - _KNEE))
    compressed = np.minimum(brightest, np.float32(_KNEE)) + over / (1 + bend * over)
    gain = system * compressed / np.maximum(brightest, np.float32(1e-6))
    return np.asarray(gain, np.float32)


def _encode(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Converts linear light, float32 [h,w,3] with white at 1, to the values of sRGB, uint8."""
    table = _srgb_values()
    # A table over the root is fine enough in the shadows.
    roots = np.asarray(cv2.sqrt(np.clip(light, 0, 1)), np.float32)
    index = roots * np.float32(len(table) - 1) + np.float32(0.5)
    return np.asarray(table[index.astype(np.uint16)], np.uint8)


@cache
def _srgb_values() -> NDArray[np.uint8]:
    """Returns the 8-bit value of sRGB for the root of each linear light from 0 to 1."""
    light = np.linspace(0, 1, 4096) ** 2
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * curve), np.uint8)


@cache
def _linear_light(transfer: int) -> NDArray[np.float32]:
    """Returns the linear light of each 16-bit code value, float32 [65536].

    White is 1 in SDR and PQ; HLG gives the light of the scene, 0..1. Every curve of SDR is taken
    for that of sRGB, as browsers do.
    """
    codes = np.arange(1 << 16) / ((1 << 16) - 1)
    if transfer == ColorTrc.SMPTE2084:
        linear = pq_light(codes)
    elif transfer == ColorTrc.ARIB_STD_B67:
        linear = hlg_scene_light(codes)
    else:
        linear = srgb_light(codes)
    return np.asarray(linear, np.float32)


@cache
def _to_bt_709(primaries: int) -> NDArray[np.float32]:
    """Returns the matrix, float32 [3,3], from linear RGB with `primaries` to BT.709's primaries."""
    known = primaries if primaries in PRIMARIES else ColorPrimaries.BT709
    return np.asarray(linear_matrix(known), np.float32)
