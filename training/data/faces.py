"""Samples of the face detector: photos with the box of the dominant face, at every distance."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from silhouette_seg.vision.geometry import LETTERBOX_GREY, Size, resize
from training.data.augmentation import Augmentation, Image, Rng, compose, distort, random_crop
from training.data.dataset import FaceBox, Portrait, read_rows
from training.data.samplers import SampleSpec
from training.data.samples import channels_first

MIN_FACE_SIDE_PX = 5.0
"""Smallest side of a face in pixels after the photo is reduced."""
MAX_FACE_SHARE = 0.9
"""Largest side of a magnified face, as a share of the shorter side of the input."""
FACE_CORE_SHARE = 0.35
"""Share of a face's side, from the centre in either direction, that no crop removes."""


class FaceCount(IntEnum):
    """Number of faces in a sample, as far as it is known."""

    NONE = 0
    """The photo contains no face."""
    ONE = 1
    SEVERAL = 2
    """The box is that of the dominant face; the positions of the others are not known."""


class FaceSample(NamedTuple):
    """One training sample, or a batch with a leading axis."""

    image: Tensor
    """uint8 [3,H,W]."""
    box: Tensor
    """float32 [4]: top, left, height, width as shares of the image; zeros without a face."""
    faces: int | Tensor
    """Value of FaceCount; int64 [N] in a batch."""


@dataclass(frozen=True, slots=True)
class View:
    """An affine map from shares (x, y) of the photo to pixels (x, y) of the input."""

    linear: NDArray[np.float64]
    """[2,2]."""
    offset: NDArray[np.float64]
    """[2]."""

    def point(self, x: float, y: float) -> NDArray[np.float64]:
        """Maps a point in shares of the photo to pixels (x, y) of the input."""
        return np.asarray(self.linear @ (x, y) + self.offset)

    def shifted(self, pixels: NDArray[np.float64]) -> "View":
        """Returns the view moved by (x, y) pixels of the input."""
        return View(self.linear, self.offset + pixels)

    def matrix(self, photo_hw: Size) -> NDArray[np.float64]:
        """Returns OpenCV's matrix [2,3] between pixel centres for a photo of `photo_hw` pixels."""
        linear = self.linear / photo_hw[::-1]
        return np.column_stack([linear, self.offset + linear @ (0.5, 0.5) - 0.5])

    def box(self, face: FaceBox) -> tuple[float, float, float, float]:
        """Returns left, top, width and height in pixels of the upright box.

        The rotation of the view does not enlarge the box.
        """
        x, y = self.point(face.x + face.w / 2, face.y + face.h / 2)
        width, height = np.linalg.norm(self.linear, axis=0) * (face.w, face.h)
        return float(x - width / 2), float(y - height / 2), float(width), float(height)


class FaceDataset(Dataset[FaceSample]):
    """Face samples of one size, indexed by a SampleSpec."""

    def __init__(
        self,
        portraits: Sequence[Portrait],
        multi_face_ids: frozenset[str],
        backgrounds: Sequence[Image],
        *,
        size_hw: Size,
        augmentation: Augmentation,
    ) -> None:
        """Reads all photos; `multi_face_ids` are the ids of the photos with several faces."""
        self.portraits = portraits
        self.multi_face_ids = multi_face_ids
        self.backgrounds = backgrounds
        self.size_hw = size_hw
        self.augmentation = augmentation
        with ThreadPoolExecutor(2) as pool:
            self.photos = list(
                pool.map(lambda portrait: (portrait.rgb(), portrait.truth()), portraits)
            )

    def __getitem__(self, spec: SampleSpec) -> FaceSample:
        rng = np.random.default_rng(spec.seed)
        if rng.random() < self.augmentation.empty:
            scene = random_crop(self._background(rng), self.size_hw, rng)
            return self._sample(scene, (0.0, 0.0, 0.0, 0.0), FaceCount.NONE, rng)
        portrait = self.portraits[spec.photo]
        rgb, mask = self.photos[spec.photo]
        view = random_view(portrait.face, rgb.shape[:2], self.size_hw, self.augmentation, rng)
        new_scene = rng.random() < self.augmentation.composite
        image = apply_view(rgb, view, self.size_hw, LETTERBOX_GREY)
        if new_scene:
            background = random_crop(self._background(rng), self.size_hw, rng)
            image, _ = compose(image, apply_view(mask, view, self.size_hw, 0), background)
        if portrait.face is None:
            return self._sample(image, (0.0, 0.0, 0.0, 0.0), FaceCount.NONE, rng)
        # A new background removes all other people.
        has_several = portrait.id in self.multi_face_ids and not new_scene
        box = visible_box(portrait.face, view, self.size_hw)
        return self._sample(image, box, FaceCount.SEVERAL if has_several else FaceCount.ONE, rng)

    def _background(self, rng: Rng) -> Image:
        return self.backgrounds[int(rng.integers(len(self.backgrounds)))]

    def _sample(
        self, rgb: Image, box: tuple[float, float, float, float], faces: FaceCount, rng: Rng
    ) -> FaceSample:
        rgb = distort(rgb, self.augmentation, rng)
        return FaceSample(channels_first(rgb), torch.tensor(box), int(faces))


def random_view(
    face: FaceBox | None, photo_hw: Size, size_hw: Size, augmentation: Augmentation, rng: Rng
) -> View:
    """Returns a random view: the letterboxed photo, then scaled, rotated, mirrored and moved.

    The face stays in the picture. Most views are near the letterboxed photo; the ends of the scale
    range are rare.
    """
    fit_scale = min(size_hw[0] / photo_hw[0], size_hw[1] / photo_hw[1])
    scale = np.exp(rng.uniform(*np.log(augmentation.scale)) * rng.random())
    if face is not None:
        side = fit_scale * np.sqrt(face.w * photo_hw[1] * face.h * photo_hw[0])
        scale = np.clip(
            scale, min(1, MIN_FACE_SIDE_PX / side), max(1, MAX_FACE_SHARE * min(size_hw) / side)
        )
    aspect = np.exp(rng.uniform(-1, 1) * np.log1p(augmentation.aspect) / 2)
    angle = np.deg2rad(augmentation.rotation) * rng.uniform(-1, 1) * (rng.random() < 0.5)
    mirror = -1.0 if rng.random() < augmentation.flip else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    sides = np.array(photo_hw[::-1]) * fit_scale * scale
    linear = rotation @ np.diag([mirror * aspect * sides[0], sides[1] / aspect])
    centred_view = View(linear, np.array(size_hw[::-1]) / 2 - linear @ (0.5, 0.5))
    # A larger photo may be cropped anywhere; a smaller one may be anywhere in the input.
    view = centred_view.shifted(rng.uniform(-0.5, 0.5, 2) * np.abs(sides - size_hw[::-1]))
    if face is None:
        return view
    left, top, width, height = view.box(face)
    centre = np.array([left + width / 2, top + height / 2])
    margin = np.minimum(FACE_CORE_SHARE * np.array([width, height]), np.array(size_hw[::-1]) / 2)
    return view.shifted(np.clip(centre, margin, size_hw[::-1] - margin) - centre)


def visible_box(face: FaceBox, view: View, size_hw: Size) -> tuple[float, float, float, float]:
    """Returns top, left, height and width of the visible part of a face, as shares of the input."""
    left, top, width, height = view.box(face)
    first = np.clip((top, left), 0, size_hw)
    last = np.clip((top + height, left + width), 0, size_hw)
    top, left = first / size_hw
    height, width = (last - first) / size_hw
    return float(top), float(left), float(height), float(width)


def apply_view(layer: Image, view: View, size_hw: Size, border: int) -> Image:
    """Warps uint8 [H,W] or [H,W,3] by a view; pixels outside the photo get `border`.

    The layer is halved first where the warp would alias, as in the resize of the service.
    """
    scale = np.linalg.norm(view.linear / layer.shape[1::-1], axis=0).min()
    while scale <= 0.5:
        layer = resize(layer, (layer.shape[0] // 2, layer.shape[1] // 2))
        scale *= 2
    warped = cv2.warpAffine(
        layer,
        view.matrix(layer.shape[:2]),
        (size_hw[1], size_hw[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(border,) * 3,
    )
    return np.asarray(warped, np.uint8)


def read_multi_face_ids(data: Path) -> frozenset[str]:
    """Reads the ids of the photos in which the reference found several faces."""
    return frozenset(row["id"] for row in read_rows(data / "faces.csv") if int(row["faces"]) > 1)
