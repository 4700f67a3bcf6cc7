"""Batch samplers of one epoch: each batch is a list of photos with a seed for each sample.

Every sampler computes its batches when it is built, from a seed and the number of the epoch.
Ranks that train together build the same epoch and take turns in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from training.data.dataset import Portrait


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """Index of a sample's photo and seed of all random choices in the sample."""

    photo: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPlan:
    """Size of a batch, seeds, and the rank of the process in one epoch."""

    batch: int
    """Photos of a batch of one rank."""
    seed: int
    epoch: int
    repeats: Mapping[str, int] = field(default_factory=dict)
    """Number of times that an epoch shows each photo of a source; 1 for a source without entry."""
    rank: int = 0
    world: int = 1

    @property
    def global_batch(self) -> int:
        """Photos of a step over all ranks."""
        return self.batch * self.world

    def rng(self) -> np.random.Generator:
        """Returns the generator of the epoch, which is the same on all ranks."""
        return np.random.default_rng([self.seed, self.epoch])

    def whole_batches(self, photos: int) -> int:
        """Returns the largest multiple of the global batch up to `photos`.

        Raises ValueError if the photos do not fill one batch.
        """
        whole = photos // self.global_batch * self.global_batch
        if not whole:
            raise ValueError(f"{photos} photos do not fill a batch of {self.global_batch}")
        return whole


class PrecomputedSampler(Sampler[list[SampleSpec]]):
    """Base of the samplers, which iterate over a list of batches that is complete at the start."""

    batches: list[list[SampleSpec]]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SampleSpec]]:
        return iter(self.batches)


class EpochSampler(PrecomputedSampler):
    """Shuffles the photos, each as often as `plan.repeats` states for its source."""

    def __init__(self, portraits: Sequence[Portrait], plan: EpochPlan) -> None:
        """Raises ValueError if the photos do not fill a batch."""
        rng = plan.rng()
        photos = np.repeat(np.arange(len(portraits)), photo_repeats(portraits, plan.repeats))
        rng.shuffle(photos)
        specs = make_specs(photos, rng)
        whole = plan.whole_batches(len(specs))
        self.batches = split_batches(specs[plan.rank : whole : plan.world], plan.batch)


class SingleDomainSampler(PrecomputedSampler):
    """Forms batches of photos of one domain, with domains in turn and equal turns on all ranks.

    An epoch is about as long as that of `EpochSampler`. A domain with a share s of the photos gets
    a share of the batches proportional to s ** `balance`: 1 keeps the shares, 0 makes them equal.
    """

    def __init__(self, portraits: Sequence[Portrait], plan: EpochPlan, *, balance: float) -> None:
        rng = plan.rng()
        weight = photo_repeats(portraits, plan.repeats)
        domain = np.array([portrait.domain for portrait in portraits])
        _, index = np.unique(domain, return_inverse=True)
        mass = np.bincount(index, weights=weight)
        share = mass**balance / (mass**balance).sum()
        turns = np.maximum(1, np.rint(share * weight.sum() / plan.global_batch)).astype(int)
        self.batches = []
        for turn in interleave(turns):
            members = np.flatnonzero(index == turn)
            chance = weight[members] / weight[members].sum()
            photos = rng.choice(members, size=plan.global_batch, p=chance)
            self.batches.append(make_specs(photos, rng)[plan.rank :: plan.world])


class DomainBalancedSampler(PrecomputedSampler):
    """Samples photos with replacement; an epoch has as many samples as there are photos.

    A domain with a share s of the photos gets a share of the samples proportional to
    s ** `balance`: 1 keeps the shares, 0 makes them equal. `plan.repeats` weights the photos.
    """

    def __init__(self, portraits: Sequence[Portrait], plan: EpochPlan, *, balance: float) -> None:
        """Raises ValueError if the photos do not fill a batch."""
        rng = plan.rng()
        whole = plan.whole_batches(len(portraits))
        chance = photo_repeats(portraits, plan.repeats).astype(float)
        domains = np.array([portrait.domain for portrait in portraits])
        for domain in np.unique(domains):
            chance[domains == domain] *= chance[domains == domain].sum() ** (balance - 1)
        photos = rng.choice(len(portraits), whole, p=chance / chance.sum())
        self.batches = split_batches(make_specs(photos, rng)[plan.rank :: plan.world], plan.batch)


class WeightedSourceSampler(PrecomputedSampler):
    """Samples a fixed number of photos per epoch, in proportion to the weight of their source.

    A photo of a source with weight 2 occurs twice as often as one with weight 1. Within an epoch
    the count of each photo differs from its expectation by less than one. `plan.repeats` is not
    used.
    """

    def __init__(
        self,
        portraits: Sequence[Portrait],
        plan: EpochPlan,
        *,
        weights: Mapping[str, float],
        photos: int,
    ) -> None:
        """Raises ValueError if no photo has a weight, or `photos` do not fill a batch."""
        rng = plan.rng()
        weight = np.array([weights.get(portrait.source, 1.0) for portrait in portraits])
        whole = plan.whole_batches(photos)
        if not weight.sum() > 0:
            raise ValueError("no photo has a weight above 0")
        chosen = systematic_resampling(whole * weight / weight.sum(), rng)
        rng.shuffle(chosen)
        self.batches = split_batches(make_specs(chosen, rng)[plan.rank :: plan.world], plan.batch)


def photo_repeats(portraits: Sequence[Portrait], repeats: Mapping[str, int]) -> NDArray[np.int_]:
    """Returns the count of each photo in an epoch, int [N]: the entry of its source, else 1."""
    return np.array([repeats.get(portrait.source, 1) for portrait in portraits], int)


def make_specs(photos: NDArray[np.int_], rng: np.random.Generator) -> list[SampleSpec]:
    """Returns one spec per photo index, each with a random seed in 0..2**63-1."""
    seeds = rng.integers(2**63, size=len(photos))
    return [SampleSpec(int(photo), int(seed)) for photo, seed in zip(photos, seeds, strict=True)]


def split_batches(specs: list[SampleSpec], batch: int) -> list[list[SampleSpec]]:
    """Splits the specs into consecutive batches; the last one may be shorter."""
    return [specs[start : start + batch] for start in range(0, len(specs), batch)]


def interleave(turns: NDArray[np.int_]) -> list[int]:
    """Returns each index k exactly `turns[k]` times, spread evenly over the list."""
    at = [(np.arange(count) + 0.5) / count for count in turns]
    order = np.argsort(np.concatenate(at), kind="stable")
    return [int(k) for k in np.repeat(np.arange(len(turns)), turns)[order]]


def systematic_resampling(
    expected: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int_]:
    """Returns indices, each `expected` times, rounded up or down at random.

    The number of indices is the sum of `expected`. The order is random in each call; otherwise
    neighbours in the index would never be rounded up together.

    Source: Kitagawa, "Monte Carlo filter and smoother" (1996).
    """
    order = rng.permutation(len(expected))
    ends = np.cumsum(expected[order]) + rng.random()
    times = np.diff(np.floor(ends), prepend=np.floor(ends[0] - expected[order[0]]))
    return np.repeat(order, times.astype(int))
