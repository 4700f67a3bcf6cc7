"""Images for tests, made by Pillow and struct so that no code under test checks itself."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

EXIF_ORIENTATION = 0x0112


@cache
def person(height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """The bundled portrait as uint8 [height,width,3] RGB; its aspect ratio is not kept."""
    photo = np.asarray(Image.fromarray(astronaut()).resize((width, height), Image.Resampling.BOX))
    photo.flags.writeable = False
    return photo


def quadrants(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """Red, green / blue, white: which way is up can be read from four pixels."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    image[height // 2 :, width // 2 :] = (255, 255, 255)
    return image


def make(format: str, pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    """Encodes by Pillow; `orientation=6` writes that EXIF tag, `mode="CMYK"` converts first."""
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


def make_png(pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    return make("PNG", pixels, **{"compress_level": 1, **options})


def make_webp(pixels: NDArray[Any] | Image.Image | None = None, **options: Any) -> bytes:
    return make("WEBP", pixels, **{"quality": 90, "method": 0, **options})


def make_gif() -> bytes:
    return make("GIF", person(48, 64), mode="P")


def make_animated(format: str, frames: int = 3) -> bytes:
    """An animated WebP, APNG or GIF ("WEBP", "PNG", "GIF")."""
    stills = [Image.fromarray(np.roll(person(48, 64), 8 * n, axis=1)) for n in range(frames)]
    return make(format, stills[0], save_all=True, append_images=stills[1:])


def make_png16(channels: int = 1) -> bytes:
    """A 16-bit PNG: a ramp from 0 to 65535 left to right; grey (1), RGB (3) or RGBA (4)."""
    height, width = 4, 256
    ramp = np.arange(width, dtype=">u2") * np.uint16(257)
    pixels = np.repeat(ramp[None, :, None], channels, axis=2)
    if channels == 4:
        pixels[..., 3] = 65535
    row = b"\0" + pixels.astype(">u2").tobytes()
    return png_file(width, height, 16, {1: 0, 3: 2, 4: 6}[channels], zlib.compress(row * height))


def make_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A valid PNG header of that size over almost no pixels."""
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


TEXT = b"This is a text file that somebody named portrait.jpg.\n" * 20


@cache
def seeds() -> dict[str, bytes]:
    """One small valid file of each kind the decoder knows, by name; for fuzzing."""
    small = person(40, 56)
    rgba = np.dstack([small, small[..., 0]])
    return {
        "jpeg": make_jpeg(small, orientation=6),
        "jpeg_progressive": make_jpeg(small, progressive=True),
        "jpeg_cmyk": make_jpeg(small, mode="CMYK"),
        "jpeg_grey": make_jpeg(small, mode="L"),
        "png": make_png(small, orientation=8),
        "png_palette": make_png(small, mode="P", transparency=3),
        "png_rgba": make_png(rgba),
        "png_16": make_png16(4),
        "webp": make_webp(small),
        "webp_lossless": make_webp(small, lossless=True),
        "webp_alpha": make_webp(rgba, orientation=3),
        "webp_animated": make_animated("WEBP"),
        "apng": make_animated("PNG"),
    }


def damaged(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` damaged images, each with a name that says how to make it again."""
    files = sorted(seeds().items())
    for number in range(count):
        name, whole = files[number % len(files)]
        chance = random.Random(seed * 1_000_003 + number)
        yield f"{name} seed={seed} number={number}", _damage(whole, chance)


def _damage(whole: bytes, chance: random.Random) -> bytes:
    """Changes, cuts, repeats or removes; the first bytes are hit more often than the rest."""
    broken = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(min(len(broken), chance.choice((64, len(broken)))) or 1)
        span = chance.choice((1, 2, 4, 16, 200))
        match chance.randrange(6):
            case 0 | 1:
                broken[start : start + span] = chance.randbytes(span)
            case 2:
                broken[start : start + 4] = chance.choice(
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
