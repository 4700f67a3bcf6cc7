"""Dataset of segmentation samples: cached photos, augmented as a function of a seed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from silhouette_seg.vision.geometry import Size, resize
from training.data.augmentation import Augmentation, compose, distort, random_crop, warp
from training.data.dataset import Portrait
from training.data.samplers import SampleSpec
from training.data.scenes import Layers, SceneComposer
from training.data.simulated_prior import previous_mask

Image = NDArray[np.uint8]

EMPTY_SCENE = 0.7
"""Share of the scenes on an empty background; the others add people to a labelled photo."""


class Sample(NamedTuple):
    """One training sample, or a batch with a leading axis; 255 is person in masks."""

    image: Tensor
    """uint8 [3,H,W], the input of the network."""
    plain: Tensor
    """uint8 [3,H,W], the same view before the change of its colours."""
    prior: Tensor
    """uint8 [H,W], simulated mask of the previous video frame; all 0 as for a first frame."""
    truth: Tensor
    """uint8 [H,W], mask of the label."""
    pixel_weight: Tensor
    """uint8 [H,W], weight of each pixel in the losses: 255 is full weight, 0 is ignored."""
    domain: int | Tensor
    """Domain of the photo, see silhouette_seg.pipeline.faces; int64 [N] in a batch."""


class SegmentationDataset(Dataset[Sample]):
    """Segmentation samples of one size, indexed by a SampleSpec."""

    def __init__(
        self,
        portraits: Sequence[Portrait],
        backgrounds: Sequence[Image],
        *,
        size_hw: Size,
        augmentation: Augmentation,
        priors: bool = False,
        soft_weight: float = 1.0,
    ) -> None:
        """Reads all photos.

        Without `priors` all priors are empty, which saves their computation. `soft_weight` in 0..1
        is the weight of the certain pixels of soft masks.
        """
        self.size_hw = size_hw
        self.priors = priors
        self.augmentation = augmentation
        self.backgrounds = backgrounds
        self.portraits = portraits
        self.soft_weight = soft_weight
        with ThreadPoolExecutor(2) as pool:
            self.photos = list(pool.map(self._load, portraits))
        self.scenes = SceneComposer(
            self.photos if augmentation.scene else [],
            [not portrait.soft for portrait in portraits] if augmentation.scene else [],
        )

    def _load(self, portrait: Portrait) -> Layers:
        """Reads photo, mask and weights, reduced to the detail that the largest zoom needs."""
        rgb, mask = portrait.rgb(), portrait.truth()
        if portrait.soft:
            mask = resize(mask, (rgb.shape[0], rgb.shape[1]))
        scale = 1.5 * max(self.size_hw) / max(rgb.shape[:2])
        if scale < 1:
            reduced_hw = (round(rgb.shape[0] * scale), round(rgb.shape[1] * scale))
            rgb, mask = resize(rgb, reduced_hw), resize(mask, reduced_hw)
        pixel_weight = portrait.pixel_weight(mask)
        if portrait.soft:
            pixel_weight = np.asarray(pixel_weight * self.soft_weight, np.uint8)
        return Layers(rgb, mask, pixel_weight)

    def __getitem__(self, spec: SampleSpec) -> Sample:
        # A spec instead of a plain index makes a sample independent of its worker process.
        rng = np.random.default_rng(spec.seed)
        layers = self._compose(spec, rng)
        plain, mask = layers.rgb, layers.mask
        image = distort(plain, self.augmentation, rng, mask=mask)
        return Sample(
            image=channels_first(image),
            plain=channels_first(plain),
            prior=torch.from_numpy(
                previous_mask(mask, rng) if self.priors else np.zeros_like(mask)
            ),
            truth=torch.from_numpy(mask),
            pixel_weight=torch.from_numpy(layers.pixel_weight),
            domain=int(self.portraits[spec.photo].domain),
        )

    def _compose(self, spec: SampleSpec, rng: np.random.Generator) -> Layers:
        if rng.random() < self.augmentation.empty:
            return self._empty(rng)
        photo = self.photos[spec.photo]
        if self.augmentation.scene and rng.random() < self.augmentation.scene:
            scene = self._empty(rng) if rng.random() < EMPTY_SCENE else self._view(photo, rng)
            return self.scenes.compose(scene, spec.photo, rng)
        view = self._view(photo, rng)
        if rng.random() < self.augmentation.composite and not self.portraits[spec.photo].soft:
            rgb, mask = compose(view.rgb, view.mask, self._background(rng))
            return Layers(rgb, mask, np.full_like(mask, 255))
        return view

    def _view(self, photo: Layers, rng: np.random.Generator) -> Layers:
        layers = (photo.rgb, photo.mask, photo.pixel_weight)
        return Layers(*warp(layers, self.size_hw, self.augmentation, rng))

    def _empty(self, rng: np.random.Generator) -> Layers:
        """Returns a random background without a person."""
        empty_mask = np.zeros(self.size_hw, np.uint8)
        return Layers(self._background(rng), empty_mask, np.full_like(empty_mask, 255))

    def _background(self, rng: np.random.Generator) -> Image:
        photo = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return random_crop(photo, self.size_hw, rng)


def channels_first(rgb: Image) -> Tensor:
    """Converts uint8 [H,W,3] to a tensor uint8 [3,H,W]."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


def limit_worker_threads(_worker: int) -> None:
    """Limits OpenCV and torch to one thread in a DataLoader worker."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
