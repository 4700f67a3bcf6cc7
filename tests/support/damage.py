"""Damaged files for fuzz tests: one small valid image of each kind, and mutations of them."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.support.heif import heif_seeds, xmp_packet
from tests.support.images import (
    jpeg_with,
    make,
    make_animated,
    make_jpeg,
    make_motion_photo,
    make_png,
    make_webp,
    person,
    png_file,
    png_with,
    rgb_profile,
    table_profile,
)

WITH_TRAILER = frozenset({"jpeg_motion", "mpo", "tiff_pages"})
"""Names of the seeds with data behind the picture that is decoded."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip
"""First column and row, and steps between columns and rows, of each pass of an interlaced PNG."""


@cache
def seeds() -> dict[str, bytes]:
    """Returns one small valid file of each kind that the decoder supports, by name."""
    return {**_jpegs(), **_pngs(), **_webps(), **_tiffs(), **_bmps_and_gifs(), **heif_seeds()}


def _jpegs() -> dict[str, bytes]:
    small, profile = person(40, 56), rgb_profile("Display P3")
    exif_and_profile = {"orientation": 5, "icc_profile": profile}
    packet = b"http://ns.adobe.com/xap/1.0/\0" + xmp_packet(6)
    return {
        "jpeg": make_jpeg(small, orientation=6),
        "jpeg_progressive": make_jpeg(small, progressive=True),
        "jpeg_progressive_tagged": make_jpeg(small, progressive=True, **exif_and_profile),
        "jpeg_cmyk": make_jpeg(small, mode="CMYK"),
        "jpeg_grey": make_jpeg(small, mode="L"),
        "jpeg_restarts": make_jpeg(small, restart_marker_rows=1, subsampling="4:2:0"),
        "jpeg_xmp": jpeg_with(make_jpeg(small), (0xE1, packet)),
        "jpeg_motion": make_motion_photo(scans=5),
        "jpeg_profile": make_jpeg(small, icc_profile=profile),
        "jpeg_cmyk_profile": make_jpeg(small, mode="CMYK", icc_profile=table_profile(b"CMYK", {})),
        "mpo": make("MPO", small, save_all=True, append_images=[Image.fromarray(small)]),
    }


def _pngs() -> dict[str, bytes]:
    small = person(40, 56)
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp_packet(8)
    return {
        "png": make_png(small, orientation=8),
        "png_palette": make_png(small, mode="P", transparency=3),
        "png_rgba": make_png(_with_alpha(small)),
        "png_16": _deep_png(_with_alpha(small)),
        "png_16_grey": _deep_png(small[..., :1]),
        "png_1": make_png(small, mode="1"),
        "png_interlaced": _interlaced_png(small),
        "png_xmp": png_with(make_png(small), (b"iTXt", text)),
        "png_profile": make_png(small, icc_profile=rgb_profile("ProPhoto"), orientation=2),
        "apng": make_animated("PNG"),
    }


def _webps() -> dict[str, bytes]:
    small, profile = person(40, 56), rgb_profile("Adobe RGB")
    return {
        "webp": make_webp(small),
        "webp_lossless": make_webp(small, lossless=True),
        "webp_alpha": make_webp(_with_alpha(small), orientation=3),
        "webp_profile": make_webp(small, icc_profile=profile, orientation=7),
        "webp_animated": make_animated("WEBP"),
    }


def _tiffs() -> dict[str, bytes]:
    small = person(40, 56)
    deep = small.astype(np.uint16) * 257
    return {
        "tiff": make("TIFF", small, orientation=6),
        "tiff_lzw": make("TIFF", _with_alpha(small), compression="tiff_lzw"),
        "tiff_jpeg": make("TIFF", small, compression="jpeg"),
        "tiff_cmyk": make("TIFF", small, mode="CMYK", compression="packbits"),
        "tiff_palette": make("TIFF", small, mode="P", compression="tiff_adobe_deflate"),
        "tiff_16": _tiff(deep, byteorder=">", compression="zlib", predictor=True),
        "tiff_tiled": _tiff(small, tile=(16, 32), compression="zlib"),
        "tiff_strips": _tiff(deep[..., 0], photometric="minisblack", rowsperstrip=7),
        "tiff_planes": _tiff(np.moveaxis(small, 2, 0).copy(), planarconfig="separate"),
        "tiff_pages": _tiff(np.stack([small, small[::-1]])),
        "tiff_profile": make("TIFF", small, icc_profile=rgb_profile("Display P3")),
    }


def _bmps_and_gifs() -> dict[str, bytes]:
    small = person(40, 56)
    return {
        "bmp": make("BMP", small),
        "bmp_palette": make("BMP", small, mode="P"),
        "bmp_alpha": _bmp_with_alpha(_with_alpha(small)),
        "bmp_runs": _bmp_of_runs(small[..., 0]),
        "gif": make("GIF", small, mode="P", transparency=3),
        "gif_interlaced": make("GIF", small, mode="P", interlace=1),
        "gif_animated": make_animated("GIF"),
    }


def _with_alpha(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.dstack([rgb, rgb[..., 0]])


def _deep_png(pixels: NDArray[np.uint8]) -> bytes:
    """Returns a PNG of 16 bits; uint8 [h,w,c] becomes grey (1 channel), RGB (3) or RGBA (4)."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2") * np.uint16(257))
    return png_file(width, height, 16, {1: 0, 3: 2, 4: 6}[channels], zlib.compress(rows))


def _interlaced_png(rgb: NDArray[np.uint8]) -> bytes:
    """Returns a PNG with its pixels in the seven passes of Adam7."""
    height, width = rgb.shape[:2]
    rows = [
        b"\0" + row.tobytes()
        for left, top, right, down in ADAM7
        for row in rgb[top::down, left::right]
    ]
    png = bytearray(png_file(width, height, 8, 2, zlib.compress(b"".join(rows))))
    png[28] = 1
    return with_valid_checksums(bytes(png))


def _tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def _bmp_with_alpha(rgba: NDArray[np.uint8]) -> bytes:
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = rgba[::-1, :, [2, 1, 0, 3]].tobytes()
    return _bmp(rgba.shape[1], rgba.shape[0], 32, 3, 56, masks, pixels)


def _bmp_of_runs(grey: NDArray[np.uint8]) -> bytes:
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    rows = (b"".join(bytes((1, level)) for level in row) + b"\0\0" for row in grey[::-1].tolist())
    return _bmp(grey.shape[1], grey.shape[0], 8, 1, 40, palette, b"".join(rows) + b"\0\1")


def _bmp(
    width: int, height: int, bits: int, coding: int, size: int, tail: bytes, pixels: bytes
) -> bytes:
    header = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, coding, 0, 0, 0, 0, 0) + tail
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


def damaged(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields `count` damaged images, each with a name that identifies its seed and number."""
    files = sorted(seeds().items())
    for number in range(count):
        name, data = files[number % len(files)]
        rng = random.Random(seed * 1_000_003 + number)
        broken = _damage(data, rng)
        if broken.startswith(PNG_SIGNATURE) and rng.randrange(2):
            # A decoder reads no further than a chunk with a wrong checksum.
            broken = with_valid_checksums(broken)
        yield f"{name} seed={seed} number={number}", broken


def mutated(body: bytes, number: int) -> bytes:
    """Returns the body with one byte changed or removed, or truncated, as `number` selects."""
    place = number * 7919 % len(body)
    match number % 3:
        case 0:
            return body[:place] + bytes([(body[place] + 1 + number) % 256]) + body[place + 1 :]
        case 1:
            return body[:place] + body[place + 1 :]
        case _:
            return body[:place]


def with_valid_checksums(png: bytes) -> bytes:
    """Returns a PNG with the right checksum behind each of its whole chunks."""
    fixed = bytearray(png)
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def _damage(data: bytes, rng: random.Random) -> bytes:
    """Changes, cuts, repeats or removes bytes, the first ones more often than the rest."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(min(len(broken), rng.choice((64, len(broken)))) or 1)
        span = rng.choice((1, 2, 4, 16, 200))
        match rng.randrange(6):
            case 0 | 1:
                broken[start : start + span] = rng.randbytes(span)
            case 2:
                broken[start : start + 4] = rng.choice(
                    (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff")
                )
            case 3:
                del broken[start : start + span]
            case 4:
                broken[start:start] = broken[start : start + span]
            case _:
                del broken[max(start, 8) :]
        if not broken:
            break
    return bytes(broken)
