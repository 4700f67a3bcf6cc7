"""Video of a camera: a red figure that sways in front of a green room."""

import io
from math import sin, tau
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 640, 480
ROOM, FIGURE = (0, 96, 64), (255, 0, 0)
CORNER, CHEST = (60, 60), (WIDTH // 2, 400)
"""Points (x, y) that always show the room and the figure."""


def write_camera_file(path: Path) -> None:
    """Writes two seconds of JPEG frames, which Chromium repeats."""
    path.write_bytes(b"".join(_camera_frame(20 * sin(tau * n / 60)) for n in range(60)))


def _camera_frame(shift: float) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), ROOM)
    draw = ImageDraw.Draw(image)
    middle = WIDTH / 2 + shift
    draw.ellipse((middle - 80, 60, middle + 80, 250), FIGURE)
    draw.ellipse((middle - 190, 240, middle + 190, 800), FIGURE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
