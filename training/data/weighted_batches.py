"""Epochs of a fixed number of photos, drawn by the weight of their source."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Portrait
from training.data.samples import DrawnBatches, cut, draw


class WeightedBatches(DrawnBatches):
    """Batches of one rank for an epoch of `photos` samples.

    A photo of a source with weight 2 is drawn twice as often as one with weight 1. Within an epoch
    the number of draws of each photo differs from its expectation by less than one.
    """

    def __init__(
        self,
        portraits: Sequence[Portrait],
        weights: Mapping[str, float],
        *,
        photos: int,
        batch: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises ValueError where no photo has a weight, or `photos` do not fill a batch."""
        rng = np.random.default_rng([seed, epoch])
        weight = np.array([weights.get(portrait.source, 1.0) for portrait in portraits])
        whole = photos // (batch * world) * batch * world
        if not whole:
            raise ValueError(f"{photos} photos do not fill a batch of {batch * world}")
        if not weight.sum() > 0:
            raise ValueError("no photo has a weight above 0")
        drawn = systematic(whole * weight / weight.sum(), rng)
        rng.shuffle(drawn)
        self.batches = cut(draw(drawn, rng)[rank::world], batch)


def systematic(expected: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int_]:
    """Indices, each as often as expected, rounded up or down at random; their number is the sum.

    Source: systematic resampling, Kitagawa, "Monte Carlo filter and smoother" (1996). The order is
    drawn anew, or neighbours in the index would never be rounded up together.
    """
    order = rng.permutation(len(expected))
    ends = np.cumsum(expected[order]) + rng.random()
    times = np.diff(np.floor(ends), prepend=np.floor(ends[0] - expected[order[0]]))
    return np.repeat(order, times.astype(int))
