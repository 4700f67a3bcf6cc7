"""Batch samplers of one epoch: each batch is a list of photos with a seed for each sample.

Every sampler computes its batches when it is built, from a seed and the number of the epoch.
Ranks that train together build the same epoch, and each takes a part of it.
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
        count = photos // self.global_batch * self.global_batch
        if not count:
            raise ValueError(f"{photos} photos do not fill a batch of {self.global_batch}")
        return count


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
        count = plan.whole_batches(len(specs))
        self.batches = split_batches(specs[plan.rank : count : plan.world], plan.batch)


class SingleDomainSampler(PrecomputedSampler):
    """Forms batches of one domain; the domains alternate, and all ranks have the same domain.

    An epoch is about as long as that of `EpochSampler`. A domain with a share s of the photos gets
    a share of the batches proportional to s ** `balance`: 1 keeps the shares, 0 makes them equal.
    """

    def __init__(self, portraits: Sequence[Portrait], plan: EpochPlan, *, balance: float) -> None:
        rng = plan.rng()
        weight = photo_repeats(portraits, plan.repeats)
        domains = np.array([portrait.domain for portrait in portraits])
        _, domain_index = np.unique(domains, return_inverse=True)
        domain_weight = np.bincount(domain_index, weights=weight)
        domain_share = domain_weight**balance / (domain_weight**balance).sum()
        batch_counts = np.maximum(
            1, np.rint(domain_share * weight.sum() / plan.global_batch)
        ).astype(int)
        self.batches = []
        for domain in interleave(batch_counts):
            members = np.flatnonzero(domain_index == domain)
            probability = weight[members] / weight[members].sum()
            photos = rng.choice(members, size=plan.global_batch, p=probability)
            self.batches.append(make_specs(photos, rng)[plan.rank :: plan.world])


class DomainBalancedSampler(PrecomputedSampler):
    """Samples photos with replacement; an epoch has as many samples as there are photos.

    A domain with a share s of the photos gets a share of the samples proportional to
    s ** `balance`: 1 keeps the shares, 0 makes them equal. `plan.repeats` weights the photos.
    """

    def __init__(self, portraits: Sequence[Portrait], plan: EpochPlan, *, balance: float) -> None:
        """Raises ValueError if the photos do not fill a batch."""
        rng = plan.rng()
        count = plan.whole_batches(len(portraits))
        probability = photo_repeats(portraits, plan.repeats).astype(float)
        domains = np.array([portrait.domain for portrait in portraits])
        for domain in np.unique(domains):
            probability[domains == domain] *= probability[domains == domain].sum() ** (balance - 1)
        photos = rng.choice(len(portraits), count, p=probability / probability.sum())
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
        count = plan.whole_batches(photos)
        if not weight.sum() > 0:
            raise ValueError("no photo has a weight above 0")
        indices = systematic_resampling(count * weight / weight.sum(), rng)
        rng.shuffle(indices)
        self.batches = split_batches(make_specs(indices, rng)[plan.rank :: plan.world], plan.batch)


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


def interleave(counts: NDArray[np.int_]) -> list[int]:
    """Returns every index k exactly `counts[k]` times, spread evenly over the list."""
    positions = [(np.arange(count) + 0.5) / count for count in counts]
    order = np.argsort(np.concatenate(positions), kind="stable")
    return [int(k) for k in np.repeat(np.arange(len(counts)), counts)[order]]


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
    counts = np.diff(np.floor(ends), prepend=np.floor(ends[0] - expected[order[0]]))
    return np.repeat(order, counts.astype(int))
