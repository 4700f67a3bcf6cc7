"""Colour spaces of ITU-T H.273 code points as curves and matrices to linear sRGB."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.codec.colour_tag import SRGB_TRANSFERS, CodePoints
from silhouette_seg.vision.codec.icc import UnusableProfile

_D65 = (0.3127, 0.3290)
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
PRIMARIES = {
    1: _BT709,
    2: _BT709,
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Colour primaries of ITU-T H.273 with white D65 -> x and y of red, green and blue."""
_NAMES = {
    **{1: "BT.709", 2: "BT.709", 5: "BT.601", 6: "BT.601", 7: "BT.601"},
    **{9: "BT.2020", 12: "Display P3"},
}
_TRANSFER_NAMES = {4: "gamma 2.2", 5: "gamma 2.8", 8: "linear", 16: "PQ", 18: "HLG"}
REFERENCE_WHITE_NITS = 203
"""Luminance of diffuse white in PQ and HLG, which becomes white in sRGB. Source: BT.2408."""
_HLG_PEAK_NITS, _HLG_GAMMA = 1_000, 1.2


def code_point_name(points: CodePoints) -> str:
    """Returns the name of a colour space, such as `Display P3` or `BT.2020 PQ`."""
    transfer = _TRANSFER_NAMES.get(points.transfer, "")
    return f"{_NAMES.get(points.primaries, '')} {transfer}".strip()


def linear_matrix(primaries: int) -> NDArray[np.float64]:
    """Returns the matrix [3,3] from linear light in some primaries to linear sRGB.

    Raises UnusableProfile for primaries that are unknown or have another white than D65.
    """
    if primaries not in PRIMARIES:
        raise UnusableProfile(f"nclx with primaries {primaries}")
    return np.linalg.inv(_xyz_matrix(PRIMARIES[1])) @ _xyz_matrix(PRIMARIES[primaries])


def linear_curve(transfer: int) -> NDArray[np.float64]:
    """Returns the linear light of each 8-bit level, float64 [256], 0..1 where 1 is white in sRGB.

    Highlights of PQ and HLG above diffuse white are clipped. Raises UnusableProfile for an unknown
    transfer function.
    """
    levels = np.linspace(0, 1, 256)
    if transfer in SRGB_TRANSFERS:
        return srgb_light(levels)
    if transfer not in _CURVES:
        raise UnusableProfile(f"nclx with transfer {transfer}")
    return _CURVES[transfer](levels).clip(0, 1)


def _xyz_matrix(primaries: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Returns the matrix [3,3] from linear RGB of primaries, with white D65, to XYZ."""
    colorants = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = _D65
    return colorants * np.linalg.solve(colorants, np.array([x / y, 1, (1 - x - y) / y]))


def pq_light(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the light of PQ levels, 0..49, where 1 is diffuse white. Source: SMPTE ST 2084."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = levels ** (1 / m2)
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.asarray(light * 10_000 / REFERENCE_WHITE_NITS, np.float64)


def srgb_light(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the linear light, 0..1, of levels of sRGB, 0..1. Source: IEC 61966-2-1."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def hlg_scene_light(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the light of the scene, 0..1, of HLG levels, 0..1. Source: BT.2100."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(levels <= 0.5, levels**2 / 3, (np.exp((levels - c) / a) + b) / 12)


def _hlg(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the light of HLG levels, 0..4.9, where 1 is diffuse white.

    The display's gamma is applied to each channel.
    """
    return np.asarray(
        hlg_scene_light(levels) ** _HLG_GAMMA * _HLG_PEAK_NITS / REFERENCE_WHITE_NITS, np.float64
    )


_CURVES: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    4: lambda levels: levels**2.2,
    5: lambda levels: levels**2.8,
    8: lambda levels: levels,
    16: pq_light,
    18: _hlg,
}
"""Transfer characteristics of ITU-T H.273 -> function from levels 0..1 to linear light."""
