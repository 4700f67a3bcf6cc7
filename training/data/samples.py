"""The training set: cached photos in, augmented samples out, every sample a function of a seed."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from silhouette_seg.vision.geometry import Size, resize
from training.data.augmentation import Augmentation, compose, distort, random_crop, warp
from training.data.dataset import Portrait
from training.data.scenes import Layers, SceneComposer
from training.data.simulated_prior import previous_mask

Image = NDArray[np.uint8]

EMPTY_SCENE = 0.7
"""Share of the scenes whose background is empty; the others add people to a labelled photo."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What one sample is made of: which photo, and the seed of everything random about it."""

    photo: int
    seed: int


class Sample(NamedTuple):
    """One training sample; with a leading axis, a batch of them. `image` is what the network is to
    segment; 255 is person in masks.
    """

    image: Tensor
    """uint8 [3,H,W]."""
    plain: Tensor
    """The same view before its colours were changed."""
    prior: Tensor
    """uint8 [H,W], what a video's previous mask might have been; all 0 as for a first frame."""
    truth: Tensor
    """uint8 [H,W]."""
    trust: Tensor
    """uint8 [H,W], weight of each pixel in the losses: 255 is full, 0 is ignored."""
    domain: int | Tensor
    """Of the photo, see silhouette_seg.pipeline.faces."""


class Samples(Dataset[Sample]):
    """Draws to samples of one size."""

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
        """Without `priors` all of them are empty, which saves their making.

        `soft_weight` in 0..1 is the weight of the certain pixels of soft masks.
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
        """Photo, mask and trust at no more than the detail that the largest zoom needs."""
        rgb, mask = portrait.rgb(), portrait.truth()
        if portrait.soft:
            mask = resize(mask, (rgb.shape[0], rgb.shape[1]))
        largest = 1.5 * max(self.size_hw) / max(rgb.shape[:2])
        if largest < 1:
            small = (round(rgb.shape[0] * largest), round(rgb.shape[1] * largest))
            rgb, mask = resize(rgb, small), resize(mask, small)
        trust = portrait.trust(mask)
        if portrait.soft:
            trust = np.asarray(trust * self.soft_weight, np.uint8)
        return Layers(rgb, mask, trust)

    def __getitem__(self, draw: Draw) -> Sample:
        # draws instead of plain indices keep a sample independent of the worker that makes it
        rng = np.random.default_rng(draw.seed)
        layers = self._compose(draw, rng)
        plain, mask = layers.rgb, layers.mask
        image = distort(plain, self.augmentation, rng, mask=mask)
        return Sample(
            image=channels_first(image),
            plain=channels_first(plain),
            prior=torch.from_numpy(
                previous_mask(mask, rng) if self.priors else np.zeros_like(mask)
            ),
            truth=torch.from_numpy(mask),
            trust=torch.from_numpy(layers.trust),
            domain=int(self.portraits[draw.photo].domain),
        )

    def _compose(self, draw: Draw, rng: np.random.Generator) -> Layers:
        if rng.random() < self.augmentation.empty:
            return self._empty(rng)
        photo = self.photos[draw.photo]
        if self.augmentation.scene and rng.random() < self.augmentation.scene:
            behind = self._empty(rng) if rng.random() < EMPTY_SCENE else self._view(photo, rng)
            return self.scenes.compose(behind, draw.photo, rng)
        view = self._view(photo, rng)
        if rng.random() < self.augmentation.composite and not self.portraits[draw.photo].soft:
            rgb, mask = compose(view.rgb, view.mask, self._background(rng))
            return Layers(rgb, mask, np.full_like(mask, 255))
        return view

    def _view(self, photo: Layers, rng: np.random.Generator) -> Layers:
        layers = (photo.rgb, photo.mask, photo.trust)
        return Layers(*warp(layers, self.size_hw, self.augmentation, rng))

    def _empty(self, rng: np.random.Generator) -> Layers:
        """A scene without a person."""
        nobody = np.zeros(self.size_hw, np.uint8)
        return Layers(self._background(rng), nobody, np.full_like(nobody, 255))

    def _background(self, rng: np.random.Generator) -> Image:
        photo = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return random_crop(photo, self.size_hw, rng)


def channels_first(rgb: Image) -> Tensor:
    """uint8 [H,W,3] to a tensor [3,H,W]."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


class DrawnBatches(Sampler[list[Draw]]):
    """Batches that are decided when an epoch begins."""

    batches: list[list[Draw]]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.batches)


class Batches(DrawnBatches):
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
        photos = np.repeat(np.arange(len(portraits)), times_shown(portraits, repeats))
        rng.shuffle(photos)
        draws = draw(photos, rng)
        whole = len(draws) // (batch * world) * batch * world
        if not whole:
            raise ValueError(f"{len(draws)} photos do not fill a batch of {batch * world}")
        self.batches = cut(draws[rank:whole:world], batch)


class SingleDomainBatches(DrawnBatches):
    """Batches whose photos share a domain, domains taking turns; all ranks have the same turn.

    An epoch is about as long as `Batches` would make it. A domain with a share s of the photos
    gets a share proportional to s ** `balance` of the turns: 1 keeps the shares, 0 makes all equal.
    """

    def __init__(
        self,
        portraits: Sequence[Portrait],
        repeats: Mapping[str, int],
        *,
        balance: float,
        batch: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        rng = np.random.default_rng([seed, epoch])
        weight = times_shown(portraits, repeats)
        domain = np.array([portrait.domain for portrait in portraits])
        _, index = np.unique(domain, return_inverse=True)
        mass = np.bincount(index, weights=weight)
        share = mass**balance / (mass**balance).sum()
        turns = np.maximum(1, np.rint(share * weight.sum() / (batch * world))).astype(int)
        self.batches = []
        for turn in _interleaved(turns):
            members = np.flatnonzero(index == turn)
            chance = weight[members] / weight[members].sum()
            photos = rng.choice(members, size=batch * world, p=chance)
            self.batches.append(draw(photos, rng)[rank::world])


def times_shown(portraits: Sequence[Portrait], repeats: Mapping[str, int]) -> NDArray[np.int_]:
    """How often an epoch shows each photo: as `repeats` says of its source, else once."""
    return np.array([repeats.get(portrait.source, 1) for portrait in portraits], int)


def draw(photos: NDArray[np.int_], rng: np.random.Generator) -> list[Draw]:
    """A draw of each photo, with a seed of its own."""
    seeds = rng.integers(2**63, size=len(photos))
    return [Draw(int(photo), int(seed)) for photo, seed in zip(photos, seeds, strict=True)]


def cut(draws: list[Draw], batch: int) -> list[list[Draw]]:
    """In batches, in order."""
    return [draws[start : start + batch] for start in range(0, len(draws), batch)]


def _interleaved(turns: NDArray[np.int_]) -> list[int]:
    """Each index as often as `turns` says, spread evenly over the whole."""
    at = [(np.arange(count) + 0.5) / count for count in turns]
    order = np.argsort(np.concatenate(at), kind="stable")
    return [int(k) for k in np.repeat(np.arange(len(turns)), turns)[order]]


def single_threaded(_worker: int) -> None:
    """For DataLoader workers: one core each, whatever OpenCV and torch would take."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
