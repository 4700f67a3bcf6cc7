"""Parses colours in the notation of CSS: `#20639b`, `#fff`, and names such as `teal`."""

import re

from PIL import ImageColor

Rgb = tuple[int, int, int]
"""Red, green and blue, each 0..255."""


def parse_colour(text: str) -> Rgb | None:
    """Returns the colour that `#rrggbb`, `#rgb` or a CSS name in any case stands for, else None."""
    if not re.fullmatch(r"#([0-9a-fA-F]{3}){1,2}", text):
        return named_colour(text)
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def named_colour(name: str) -> Rgb | None:
    """Returns the colour of one of the 148 names of CSS, in any case; None for any other text."""
    if name.lower() not in ImageColor.colormap:
        return None
    red, green, blue, *_ = ImageColor.getrgb(name)
    return red, green, blue
