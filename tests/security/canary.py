"""A photo that can be found again: in its bytes, in its pixels, and in what was sent with it."""

import base64
import io
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image, PngImagePlugin

from tests.support.images import EXIF_ORIENTATION

WORD = "canary-7f3a9c51e0"
"""Stands in the files as text, and in their names."""
PIECE = 12
"""Bytes that are looked for together: by chance nobody has the same."""


@dataclass(frozen=True)
class Canary:
    """Noise, so that no two pieces of it are alike; every needle is found in no other photo."""

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
        """Pieces of pixels and files, and each as hexadecimal, base64 and Python would write it."""
        raw = [WORD.encode(), *_pieces(self.rgb.tobytes()), *_pieces(self.rgb[..., ::-1].tobytes())]
        for content in self.files:
            raw += _pieces(content[len(content) // 4 :])
        found = []
        for piece in raw:
            encoded = (base64.b64encode(piece[shift:])[4:-4] for shift in range(3))
            found += [piece, piece.hex().encode(), repr(piece)[2:-1].encode(), *encoded]
        return tuple(needle for needle in found if len(needle) >= 8)

    def seen_in(self, haystack: bytes) -> list[bytes]:
        return [needle for needle in self.needles if needle in haystack]

    def _saved(self, format: str, **options: object) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.rgb).save(file, format, **options)
        return file.getvalue()


def _pieces(content: bytes) -> list[bytes]:
    """Five of them, of any alignment."""
    step = (len(content) - PIECE) // 5
    return [content[start : start + PIECE] for start in range(0, 5 * step, step)]
