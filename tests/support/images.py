"""Images for tests. Pillow and struct encode them, so that no code under test checks itself."""

import io
import struct
import zlib
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

EXIF_ORIENTATION = 0x0112


@cache
def person(height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """Returns scikit-image's portrait, stretched to uint8 [height,width,3] RGB."""
    photo = np.asarray(Image.fromarray(astronaut()).resize((width, height), Image.Resampling.BOX))
    photo.flags.writeable = False
    return photo


def quadrants(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """Returns quadrants of red, green, blue and white, so that four pixels show the orientation."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    image[height // 2 :, width // 2 :] = (255, 255, 255)
    return image


_UPRIGHT = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image.swapaxes(0, 1)[:, ::-1],
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: image.swapaxes(0, 1)[::-1],
}
_INVERSE = {6: 8, 8: 6}
"""Orientations that another one undoes; every other one undoes itself."""


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turns an image [h,w,...] upright, as its EXIF orientation says."""
    return _UPRIGHT.get(orientation, lambda same: same)(image)


def stored(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Returns the image that its EXIF orientation turns into this upright one."""
    return np.ascontiguousarray(upright(image, _INVERSE.get(orientation, orientation)))


def make(format: str, pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    """Encodes with Pillow. `orientation=6` writes an EXIF tag, `mode="CMYK"` converts first."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(_or_person(pixels))
    if mode := options.pop("mode", None):
        image = image.quantize(64) if mode == "P" else image.convert(mode)
    if orientation := options.pop("orientation", None):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        options["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _or_person(pixels: NDArray[Any] | None) -> NDArray[Any]:
    return person() if pixels is None else pixels


def make_jpeg(pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    return make("JPEG", pixels, **{"quality": 90, **options})


def jpeg_with(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Inserts segments, each a marker (0xC0..0xFE) and its payload, directly behind SOI."""
    return jpeg[:2] + b"".join(jpeg_segment(*segment) for segment in segments) + jpeg[2:]


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def make_motion_photo(scans: int = 200) -> bytes:
    """Returns a JPEG followed by an MP4; its media data contains `scans` SOS markers."""
    media = (b"\xff\xda" + bytes(range(64))) * scans
    boxes = ((b"ftyp", b"isom\0\0\2\0isommp42"), (b"mdat", media))
    video = (struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in boxes)
    return make_jpeg(quadrants(96, 128)) + b"".join(video)


def make_png(pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    return make("PNG", pixels, **{"compress_level": 1, **options})


def make_webp(pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    return make("WEBP", pixels, **{"quality": 90, "method": 0, **options})


def make_gif() -> bytes:
    return make("GIF", person(48, 64), mode="P")


def make_animated(format: str, frames: int = 3) -> bytes:
    """Returns an animated image; the format is "WEBP", "PNG" or "GIF"."""
    stills = [Image.fromarray(np.roll(person(48, 64), 8 * n, axis=1)) for n in range(frames)]
    return make(format, stills[0], save_all=True, append_images=stills[1:])


def make_png16(channels: int = 1) -> bytes:
    """Returns a 16-bit PNG with a ramp from 0 to 65535; grey (1), RGB (3) or RGBA (4)."""
    height, width = 4, 256
    ramp = np.arange(width, dtype=">u2") * np.uint16(257)
    pixels = np.repeat(ramp[None, :, None], channels, axis=2)
    if channels == 4:
        pixels[..., 3] = 65535
    row = b"\0" + pixels.astype(">u2").tobytes()
    return png_file(width, height, 16, {1: 0, 3: 2, 4: 6}[channels], zlib.compress(row * height))


def make_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """Returns a PNG with a valid header of this size and almost no pixel data."""
    return png_file(width, height, 8, 2, zlib.compress(b"\0" * 1000))


def png_file(width: int, height: int, depth: int, colour_type: int, idat: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, content)
        for kind, content in ((b"IHDR", header), (b"IDAT", idat), (b"IEND", b""))
    )


def png_chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png_with(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Returns the PNG with these chunks inserted behind its header."""
    return png[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + png[33:]


D50 = (0.9642, 1.0, 0.8249)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Parameters g, a, b, c, d of ICC's parametric curve of type 3."""

COLORANTS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "sRGB": ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)),
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
    "Adobe RGB": ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
    "ProPhoto": ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)),
}
"""XYZ of full red, green and blue of each colour space, adapted to D50."""

GAMMAS = {"Adobe RGB": 563 / 256, "ProPhoto": 1.8}
"""Exponents of the spaces with a pure power curve; the others have the curve of sRGB."""


@cache
def rgb_profile(name: str) -> bytes:
    """Returns a small ICC profile of one of `COLORANTS`."""
    curve = icc_gamma(GAMMAS[name]) if name in GAMMAS else icc_parametric(3, *SRGB_CURVE)
    return matrix_profile(name, COLORANTS[name], curve)


def matrix_profile(
    name: str, colorants: tuple[tuple[float, float, float], ...], curve: bytes
) -> bytes:
    """Returns an RGB profile of colorants and one curve for all three channels."""
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_icc_xyz, colorants), strict=True))
    return icc_profile(
        b"RGB ", name, {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}, b"mntr"
    )


def grey_profile(gamma: float, pcs: bytes = b"XYZ ") -> bytes:
    return icc_profile(b"GRAY", f"Grey {gamma}", {b"kTRC": icc_gamma(gamma)}, b"mntr", pcs)


def table_profile(space: bytes, corners: dict[tuple[int, ...], tuple[int, int, int]]) -> bytes:
    """Returns a profile with a lookup table from channels of 0 or 1 to L, a, b.

    Missing corners are black, and the table is linear between corners. `space` is "RGB " or
    "CMYK"; the CMYK profile is named "Test press".
    """
    channels = len(space.strip())
    nodes = [
        bytes((round(lightness * 2.55), 128 + a, 128 + b))
        for node in product((0, 1), repeat=channels)
        for lightness, a, b in [corners.get(node, (0, 0, 0))]
    ]
    straight = bytes(range(256))
    unit = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    table = b"mft1" + bytes(4) + bytes((channels, 3, 2, 0)) + unit
    table += straight * channels + b"".join(nodes) + straight * 3
    kind, name = (b"prtr", "Test press") if space == b"CMYK" else (b"scnr", "Test scanner")
    return icc_profile(space, name, {b"A2B0": table}, kind, b"Lab ")


def icc_profile(
    space: bytes, name: str, tags: dict[bytes, bytes], kind: bytes, pcs: bytes = b"XYZ "
) -> bytes:
    """Returns an ICC profile with these tags, of version 4, or 2 if `pcs` is Lab."""
    text = name.encode("utf-16-be")
    described = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
    whole = {b"desc": described, b"wtpt": _icc_xyz(D50), **tags}
    directory, content = struct.pack(">I", len(whole)), b""
    for tag, value in whole.items():
        at = 128 + 4 + 12 * len(whole) + len(content)
        directory += tag + struct.pack(">II", at, len(value))
        content += value + bytes(-len(value) % 4)
    version = 0x02400000 if pcs == b"Lab " else 0x04300000
    header = struct.pack(
        ">I4sI4s4s4s12x4s28x3i48x",
        128 + len(directory) + len(content),
        b"test",
        version,
        kind,
        space,
        pcs,
        b"acsp",
        *_fixed(D50),
    )
    return header + directory + content


def _icc_xyz(xyz: tuple[float, ...]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *_fixed(xyz))


def icc_gamma(gamma: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)


def icc_parametric(function: int, *parameters: float) -> bytes:
    """Returns a parametric curve from g, a, b, c, d, e, f, as many as its function type takes."""
    fixed = _fixed(parameters)
    return b"para" + struct.pack(f">IHH{len(fixed)}i", 0, function, 0, *fixed)


def icc_sampled(points: list[int]) -> bytes:
    """Returns a curve from samples of 0..65535 at even steps."""
    curve = b"curv" + struct.pack(f">II{len(points)}H", 0, len(points), *points)
    return curve + bytes(-len(curve) % 4)


def _fixed(values: tuple[float, ...]) -> list[int]:
    return [round(value * 65536) for value in values]


TEXT = b"This is a text file that is named portrait.jpg.\n" * 20


def avatar(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Returns uint8 [height,width,4]: red on the left, black on the right, clear off a disc."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[:, : width // 2, 0] = 255
    rgba[..., 3] = soft_disc(height, width)
    return rgba


def soft_disc(height: int, width: int) -> NDArray[np.uint8]:
    """Returns a disc in the middle, uint8 [height,width], that fades out over four pixels."""
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows + 0.5 - height / 2, columns + 0.5 - width / 2)
    return np.rint(255 * np.clip((0.4 * height - away) / 4 + 0.5, 0, 1)).astype(np.uint8)


def cut_out_person(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Returns uint8 [height,width,4]: a red head and shoulders with a black belt, else clear."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[height * 7 // 10 : height * 8 // 10, :, 0] = 0
    rgba[height // 10 : height // 2, width * 2 // 5 : width * 3 // 5, 3] = 255
    rgba[height // 2 :, width // 5 : width * 4 // 5, 3] = 255
    rgba[height // 2 - 1, width // 5 : width * 4 // 5, 3] = 128
    return rgba
