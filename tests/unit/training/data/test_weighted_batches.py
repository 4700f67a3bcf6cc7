"""A source's weight is how often its photos are drawn, to less than one draw a photo."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.data.test_samples import draws, portraits
from training.data.weighted_batches import WeightedBatches, systematic

MIXED = portraits(6, "discs") + portraits(4, "moons")


def deal(weights=None, *, photos=40, batch=4, seed=0, epoch=0, **place) -> WeightedBatches:
    return WeightedBatches(
        MIXED, weights or {}, photos=photos, batch=batch, seed=seed, epoch=epoch, **place
    )


def test_equal_weights_draw_each_photo_as_often():
    assert set(Counter(draw.photo for draw in draws(deal())).values()) == {4}


def test_weight_multiplies_the_draws_of_a_source():
    # 6 x 1 + 4 x 3.5 = 20 shares of 40 draws
    shown = Counter(MIXED[draw.photo].source for draw in draws(deal({"moons": 3.5})))
    assert shown == {"discs": 12, "moons": 28}


def test_source_with_weight_zero_is_never_drawn():
    shown = {MIXED[draw.photo].source for draw in draws(deal({"moons": 0}))}
    assert shown == {"discs"}


def test_repeated_photo_has_a_seed_of_its_own_each_time():
    assert len({draw.seed for draw in draws(deal())}) == 40


def test_only_a_tail_shorter_than_a_batch_is_left_out():
    assert len(deal(photos=43, batch=4)) == 10


@given(world=st.integers(1, 4), epoch=st.integers(0, 5))
def test_ranks_share_the_draws_of_one_process(world, epoch):
    alone = draws(deal(photos=48, batch=12, epoch=epoch))
    ranks = [
        draws(deal(photos=48, batch=12 // world, epoch=epoch, rank=rank, world=world))
        for rank in range(world)
    ]
    assert Counter(draw for rank in ranks for draw in rank) == Counter(alone)


@pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}])
def test_another_epoch_or_seed_draws_otherwise(other):
    assert draws(deal()) != draws(deal(**other))
    assert draws(deal(**other)) == draws(deal(**other))


def test_too_few_photos_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="3 photos do not fill a batch of 8"):
        deal(photos=3, batch=4, world=2)


def test_weights_of_zero_alone_are_refused():
    with pytest.raises(ValueError, match="no photo has a weight above 0"):
        deal({"discs": 0, "moons": 0})


@given(
    expected=st.lists(st.floats(0, 5), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
)
def test_systematic_draws_differ_from_expectation_by_less_than_one(expected, seed):
    share = np.array(expected)
    drawn = systematic(share, np.random.default_rng(seed))
    times = np.bincount(drawn, minlength=len(share))
    assert np.abs(times - share).max() < 1 + 1e-6
    assert abs(len(drawn) - share.sum()) < 1 + 1e-6
