"""A photo that can be recognised by its bytes, its pixels and its metadata."""

import base64
import io
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image, PngImagePlugin

from tests.support.images import EXIF_ORIENTATION

WORD = "canary-7f3a9c51e0"
"""Text in the metadata of the files, and in their names."""
NEEDLE_BYTES = 12
"""Length of one needle: long enough that no other data contains it by chance."""


@dataclass(frozen=True)
class Canary:
    """An image of noise; its excerpts occur in no other photo."""

    rgb: np.ndarray = field(
        default_factory=lambda: np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)
    )

    @cached_property
    def png(self) -> bytes:
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", WORD)
        return self._saved("PNG", pnginfo=text, compress_level=0)

    @cached_property
    def jpeg(self) -> bytes:
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = 1
        exif[0x010E] = WORD
        return self._saved("JPEG", quality=90, exif=exif.tobytes(), comment=WORD.encode())

    @cached_property
    def webp(self) -> bytes:
        return self._saved("WEBP", lossless=True)

    @property
    def files(self) -> tuple[bytes, ...]:
        return self.png, self.jpeg, self.webp

    @cached_property
    def needles(self) -> tuple[bytes, ...]:
        """Excerpts of pixels and files, each as bytes, hexadecimal digits, base64 and `repr`."""
        raw = [
            WORD.encode(),
            *_excerpts(self.rgb.tobytes()),
            *_excerpts(self.rgb[..., ::-1].tobytes()),
        ]
        for content in self.files:
            raw += _excerpts(content[len(content) // 4 :])
        needles = []
        for excerpt in raw:
            encoded = (base64.b64encode(excerpt[shift:])[4:-4] for shift in range(3))
            needles += [excerpt, excerpt.hex().encode(), repr(excerpt)[2:-1].encode(), *encoded]
        return tuple(needle for needle in needles if len(needle) >= 8)

    def found_in(self, haystack: bytes) -> list[bytes]:
        """Returns the needles that occur in `haystack`."""
        return [needle for needle in self.needles if needle in haystack]

    def _saved(self, format: str, **options: object) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.rgb).save(file, format, **options)
        return file.getvalue()


def _excerpts(content: bytes) -> list[bytes]:
    """Returns five excerpts of `content`, at different alignments."""
    step = (len(content) - NEEDLE_BYTES) // 5
    return [content[start : start + NEEDLE_BYTES] for start in range(0, 5 * step, step)]
