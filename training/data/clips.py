"""Readers of the clips: labelled clips, which only tests use, and clips without labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.dataset import read_frame


@dataclass(frozen=True, slots=True)
class Clip:
    """Consecutive frames: `frames` uint8 [N,H,W,3] RGB, `truths` uint8 [N,H,W], 255 = person."""

    name: str
    fps: float
    frames: tuple[NDArray[np.uint8], ...]
    truths: tuple[NDArray[np.uint8], ...]


def read_clips(data: Path, *, frames: int) -> list[Clip]:
    """Reads the first frames of each labelled clip; returns no clip without the folder.

    All frames of a clip have one size. Raises ValueError for a frame without a mask of its size.
    """
    folders = sorted(path.parent for path in data.glob("clips_labelled/*/fps.txt"))
    return [_read_clip(folder, frames) for folder in folders]


def _read_clip(folder: Path, count: int) -> Clip:
    images = sorted((folder / "images").iterdir())[:count]
    frames = tuple(read_frame(image).rgb for image in images)
    truths = tuple(read_mask(folder / "masks" / f"{image.stem}.png") for image in images)
    if len({frame.shape[:2] for frame in frames} | {truth.shape for truth in truths}) != 1:
        raise ValueError(f"{folder} has frames or masks of more than one size")
    return Clip(folder.name, float((folder / "fps.txt").read_text()), frames, truths)


def read_mask(file: Path) -> NDArray[np.uint8]:
    """Reads a mask uint8 [H,W]; raises ValueError if the file is not an image."""
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ValueError(f"{file} is not an image")
    return np.asarray(mask, np.uint8)


def read_videos(data: Path, *, frames: int) -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    """Yields the name and the first frames, uint8 [H,W,3] RGB, of each clip without labels."""
    for file in sorted(data.glob("clips/*.mp4")):
        yield file.stem, list(islice(_read_frames(file), frames))


def _read_frames(file: Path) -> Iterator[NDArray[np.uint8]]:
    video = cv2.VideoCapture(str(file))
    try:
        while True:
            has_frame, bgr = video.read()
            if not has_frame:
                return
            yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        video.release()
