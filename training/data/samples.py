"""The training set: cached photos in, augmented samples out, every sample a function of a seed."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from service.vision.geometry import Size, shrink
from training.data.augmentation import Augmentation, compose, distort, random_crop, warp
from training.data.portraits import Portrait

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Draw:
    """What one sample is made of: which photo, and the seed of everything random about it."""

    photo: int
    seed: int


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Draws to (image uint8 [3,H,W], truth uint8 [H,W], 255 = person)."""

    def __init__(
        self,
        portraits: Sequence[Portrait],
        backgrounds: Sequence[Image],
        *,
        size_hw: Size,
        augmentation: Augmentation,
    ) -> None:
        self.size_hw = size_hw
        self.augmentation = augmentation
        self.backgrounds = backgrounds
        self.portraits = portraits
        with ThreadPoolExecutor(2) as pool:
            self.photos = list(pool.map(self._load, portraits))

    def _load(self, portrait: Portrait) -> tuple[Image, Image]:
        """Photo and mask at no more than the detail that the largest zoom needs."""
        rgb, mask = portrait.rgb(), portrait.truth()
        largest = 1.5 * max(self.size_hw) / max(rgb.shape[:2])
        if largest < 1:
            small = (round(rgb.shape[0] * largest), round(rgb.shape[1] * largest))
            rgb, mask = shrink(rgb, small), shrink(mask, small)
        return rgb, mask

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        # draws instead of plain indices keep a sample independent of the worker that makes it
        rng = np.random.default_rng(draw.seed)
        rgb, mask = self._compose(draw, rng)
        rgb = distort(rgb, self.augmentation, rng)
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        return image, torch.from_numpy(mask)

    def _compose(self, draw: Draw, rng: np.random.Generator) -> tuple[Image, Image]:
        if rng.random() < self.augmentation.empty:
            return self._background(rng), np.zeros(self.size_hw, np.uint8)
        rgb, mask = warp(*self.photos[draw.photo], self.size_hw, self.augmentation, rng)
        if rng.random() < self.augmentation.composite:
            return compose(rgb, mask, self._background(rng))
        return rgb, mask

    def _background(self, rng: np.random.Generator) -> Image:
        photo = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return random_crop(photo, self.size_hw, rng)


class Batches(Sampler[list[Draw]]):
    """Batches of draws for one epoch of one rank; an epoch repeats a source `repeats` times."""

    def __init__(
        self,
        portraits: Sequence[Portrait],
        repeats: Mapping[str, int],
        *,
        batch: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        rng = np.random.default_rng([seed, epoch])
        photos = np.repeat(
            np.arange(len(portraits)), [repeats.get(portrait.source, 1) for portrait in portraits]
        )
        rng.shuffle(photos)
        seeds = rng.integers(2**63, size=len(photos))
        draws = [Draw(int(photo), int(s)) for photo, s in zip(photos, seeds, strict=True)]
        whole = len(draws) // (batch * world) * batch * world
        if not whole:
            raise ValueError(f"{len(draws)} photos do not fill a batch of {batch * world}")
        mine = draws[rank:whole:world]
        self.batches = [mine[start : start + batch] for start in range(0, len(mine), batch)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.batches)


def single_threaded(_worker: int) -> None:
    """For DataLoader workers: one core each, whatever OpenCV and torch would take."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
