"""Samples for the face detector: photos with the dominant face's box, at every distance."""

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
"""Pixels that a face's side keeps when the photo is made smaller."""
MAX_FACE_SHARE = 0.9
"""Share of the input's shorter side up to which a face is magnified."""
FACE_CORE_SHARE = 0.35
"""Share of a face's side, from its centre either way, that no crop cuts off."""


class FaceCount(IntEnum):
    """What a sample's box says about the rest of the photo."""

    NONE = 0
    """There is no face at all."""
    ONE = 1
    SEVERAL = 2
    """The box is the dominant one's; where the others are is not known."""


class FaceSample(NamedTuple):
    """One training sample; with a leading axis, a batch of them."""

    image: Tensor
    """uint8 [3,H,W]."""
    box: Tensor
    """float32 [4]: top, left, height, width as shares of the image; zeros without a face."""
    faces: int | Tensor
    """One of Faces."""


@dataclass(frozen=True, slots=True)
class View:
    """An affine map from shares (x, y) of the photo to pixels (x, y) of the input."""

    linear: NDArray[np.float64]
    """[2,2]."""
    offset: NDArray[np.float64]
    """[2]."""

    def point(self, x: float, y: float) -> NDArray[np.float64]:
        return np.asarray(self.linear @ (x, y) + self.offset)

    def shifted(self, pixels: NDArray[np.float64]) -> "View":
        return View(self.linear, self.offset + pixels)

    def matrix(self, photo_hw: Size) -> NDArray[np.float64]:
        """[2,3] between pixel centres, as OpenCV has it, for a photo of this many pixels."""
        linear = self.linear / photo_hw[::-1]
        return np.column_stack([linear, self.offset + linear @ (0.5, 0.5) - 0.5])

    def box(self, face: FaceBox) -> tuple[float, float, float, float]:
        """Left, top, width and height in pixels, upright: a turned head's box is no larger."""
        x, y = self.point(face.x + face.w / 2, face.y + face.h / 2)
        width, height = np.linalg.norm(self.linear, axis=0) * (face.w, face.h)
        return float(x - width / 2), float(y - height / 2), float(width), float(height)


class FaceDataset(Dataset[FaceSample]):
    """Draws to samples of one size."""

    def __init__(
        self,
        portraits: Sequence[Portrait],
        multi_face_ids: frozenset[str],
        backgrounds: Sequence[Image],
        *,
        size_hw: Size,
        augmentation: Augmentation,
    ) -> None:
        """`multi_face_ids` holds the ids of the photos with several faces."""
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
            behind = random_crop(self._background(rng), self.size_hw, rng)
            image, _ = compose(image, apply_view(mask, view, self.size_hw, 0), behind)
        if portrait.face is None:
            return self._sample(image, (0.0, 0.0, 0.0, 0.0), FaceCount.NONE, rng)
        # On a new background nobody else is left.
        several = portrait.id in self.multi_face_ids and not new_scene
        box = visible_box(portrait.face, view, self.size_hw)
        return self._sample(image, box, FaceCount.SEVERAL if several else FaceCount.ONE, rng)

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
    """In the letterbox's scale, then scaled, turned, mirrored and moved, the face in the picture.

    Most views are near the letterboxed photo; the ends of the scale range are rare.
    """
    fitted = min(size_hw[0] / photo_hw[0], size_hw[1] / photo_hw[1])
    scale = np.exp(rng.uniform(*np.log(augmentation.scale)) * rng.random())
    if face is not None:
        side = fitted * np.sqrt(face.w * photo_hw[1] * face.h * photo_hw[0])
        scale = np.clip(
            scale, min(1, MIN_FACE_SIDE_PX / side), max(1, MAX_FACE_SHARE * min(size_hw) / side)
        )
    aspect = np.exp(rng.uniform(-1, 1) * np.log1p(augmentation.aspect) / 2)
    angle = np.deg2rad(augmentation.rotation) * rng.uniform(-1, 1) * (rng.random() < 0.5)
    mirror = -1.0 if rng.random() < augmentation.flip else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    sides = np.array(photo_hw[::-1]) * fitted * scale
    linear = turn @ np.diag([mirror * aspect * sides[0], sides[1] / aspect])
    centred = View(linear, np.array(size_hw[::-1]) / 2 - linear @ (0.5, 0.5))
    # Free play: a larger photo may be cropped anywhere, a smaller one may lie anywhere.
    view = centred.shifted(rng.uniform(-0.5, 0.5, 2) * np.abs(sides - size_hw[::-1]))
    if face is None:
        return view
    left, top, width, height = view.box(face)
    centre = np.array([left + width / 2, top + height / 2])
    margin = np.minimum(FACE_CORE_SHARE * np.array([width, height]), np.array(size_hw[::-1]) / 2)
    return view.shifted(np.clip(centre, margin, size_hw[::-1] - margin) - centre)


def visible_box(face: FaceBox, view: View, size_hw: Size) -> tuple[float, float, float, float]:
    """Top, left, height and width of what is seen of a face, as shares of the input."""
    left, top, width, height = view.box(face)
    first = np.clip((top, left), 0, size_hw)
    last = np.clip((top + height, left + width), 0, size_hw)
    tall, wide = (last - first) / size_hw
    return float(first[0] / size_hw[0]), float(first[1] / size_hw[1]), float(tall), float(wide)


def apply_view(layer: Image, view: View, size_hw: Size, border: int) -> Image:
    """uint8 [H,W] or [H,W,3] through a view, `border` outside; halved first where it would alias,
    as the service's own resize does.
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
    """The ids of the photos in which the reference found several faces."""
    return frozenset(row["id"] for row in read_rows(data / "faces.csv") if int(row["faces"]) > 1)
