"""Tests of the batch samplers: counts, seeds, shares of domains and sources, and ranks."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.pipeline.faces import Domain
from training.data.dataset import FaceBox, Portrait
from training.data.samplers import (
    DomainBalancedSampler,
    EpochPlan,
    EpochSampler,
    PrecomputedSampler,
    SampleSpec,
    SingleDomainSampler,
    WeightedSourceSampler,
    systematic_resampling,
)


def portraits(count: int, source: str = "discs", face: FaceBox | None = None) -> list[Portrait]:
    """Returns photos without files: samplers read only sources and faces."""
    absent = Path("absent")
    return [
        Portrait(f"{source}{n}", source, f"group{n}", absent, absent, face) for n in range(count)
    ]


def plan(*, batch: int = 4, seed: int = 0, epoch: int = 0, **settings: Any) -> EpochPlan:
    return EpochPlan(batch=batch, seed=seed, epoch=epoch, **settings)


def epoch_sampler(count: int = 20, **settings: Any) -> EpochSampler:
    return EpochSampler(portraits(count), plan(**settings))


def specs_of(sampler: PrecomputedSampler) -> list[SampleSpec]:
    return [spec for batch in sampler for spec in batch]


class TestEpochSampler:
    def test_epoch_sampler_without_repeats_yields_every_photo_once(self):
        assert sorted(spec.photo for spec in specs_of(epoch_sampler())) == list(range(20))

    def test_epoch_sampler_repeats_photos_by_their_source(self):
        mixed = portraits(4, "discs") + portraits(2, "moons") + portraits(3, "rest")
        sampler = EpochSampler(mixed, plan(batch=1, repeats={"discs": 3, "moons": 0}))
        counts = Counter(spec.photo for spec in specs_of(sampler))
        assert counts == {0: 3, 1: 3, 2: 3, 3: 3, 6: 1, 7: 1, 8: 1}

    def test_epoch_sampler_gives_repeated_photos_different_seeds(self):
        repeated = specs_of(epoch_sampler(5, batch=5, repeats={"discs": 4}))
        assert len({spec.seed for spec in repeated}) == 20

    def test_epoch_sampler_with_equal_seed_and_epoch_is_equal(self):
        assert list(epoch_sampler(seed=3, epoch=7)) == list(epoch_sampler(seed=3, epoch=7))

    @pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}])
    def test_epoch_sampler_with_another_epoch_or_seed_differs(self, other):
        one, two = specs_of(epoch_sampler()), specs_of(epoch_sampler(**other))
        assert [spec.photo for spec in one] != [spec.photo for spec in two]
        assert {spec.seed for spec in one}.isdisjoint(spec.seed for spec in two)

    @given(
        count=st.integers(8, 60),
        world=st.integers(1, 4),
        batch=st.integers(1, 2),
        repeats=st.integers(1, 3),
        epoch=st.integers(0, 5),
    )
    def test_epoch_sampler_splits_each_step_between_ranks(
        self, count, world, batch, repeats, epoch
    ):
        settings = {"repeats": {"discs": repeats}, "epoch": epoch}
        single = epoch_sampler(count, batch=batch * world, **settings)
        ranks = [
            epoch_sampler(count, batch=batch, rank=rank, world=world, **settings)
            for rank in range(world)
        ]
        assert {len(rank) for rank in ranks} == {len(single)}
        for whole, *parts in zip(single, *ranks, strict=True):
            assert [len(part) for part in parts] == [batch] * world
            joined = [spec for part in parts for spec in part]
            assert Counter(joined) == Counter(whole)
            assert len(set(joined)) == len(joined), "no spec occurs in two ranks"

    @given(count=st.integers(4, 50), batch=st.integers(1, 4))
    def test_epoch_sampler_drops_only_an_incomplete_last_batch(self, count, batch):
        sampler = epoch_sampler(count, batch=batch)
        assert len(list(sampler)) == len(sampler) == count // batch
        assert all(len(specs) == batch for specs in sampler)

    def test_epoch_sampler_with_too_few_photos_raises(self):
        with pytest.raises(ValueError, match="0 photos do not fill a batch of 8"):
            EpochSampler([], plan(batch=4, world=2))


PHOTOS_BY_DOMAIN = {
    Domain.FAR_SHOT: 8,
    Domain.HALF_BODY: 128,
    Domain.HEAD_SHOT: 32,
    Domain.NO_FACE: 72,
}
"""Number of photos of each domain; two domains have none."""

FACE_RATIOS = {
    Domain.FAR_SHOT: 0.001,
    Domain.HALF_BODY: 0.07,
    Domain.HEAD_SHOT: 0.5,
    Domain.NO_FACE: 0.0,
}
"""Share of the photo's area that the face covers."""

MIXED_DOMAINS = [
    portrait
    for domain, count in PHOTOS_BY_DOMAIN.items()
    for portrait in portraits(
        count, domain.label, FaceBox(0, 0, 1, FACE_RATIOS[domain]) if FACE_RATIOS[domain] else None
    )
]


def single_domain_sampler(
    people: list[Portrait] = MIXED_DOMAINS, *, balance: float = 1.0, **settings: Any
) -> SingleDomainSampler:
    return SingleDomainSampler(people, plan(**settings), balance=balance)


def batch_domains(sampler: SingleDomainSampler) -> list[Domain]:
    """Returns the domain of each batch; fails for a batch of several domains."""
    found = []
    for batch in sampler:
        (domain,) = {MIXED_DOMAINS[spec.photo].domain for spec in batch}
        found.append(domain)
    return found


class TestSingleDomainSampler:
    def test_mixed_domain_photos_have_the_stated_domains(self):
        assert Counter(portrait.domain for portrait in MIXED_DOMAINS) == PHOTOS_BY_DOMAIN

    @given(
        balance=st.floats(0, 1),
        batch=st.integers(1, 9),
        world=st.integers(1, 4),
        epoch=st.integers(0, 9),
    )
    def test_single_domain_sampler_uses_one_domain_on_all_ranks(self, balance, batch, world, epoch):
        settings = {"balance": balance, "epoch": epoch}
        single = single_domain_sampler(batch=batch * world, **settings)
        ranks = [
            single_domain_sampler(batch=batch, rank=rank, world=world, **settings)
            for rank in range(world)
        ]
        assert {len(rank) for rank in ranks} == {len(single)} == {len(list(single))}
        for whole, *parts in zip(single, *ranks, strict=True):
            assert [len(part) for part in parts] == [batch] * world
            joined = [spec for part in parts for spec in part]
            assert Counter(joined) == Counter(whole)
            assert len(set(joined)) == len(joined), "all samples of a step differ"
            assert len({MIXED_DOMAINS[spec.photo].domain for spec in joined}) == 1
        assert set(batch_domains(single)) == set(PHOTOS_BY_DOMAIN), "every domain occurs"

    @pytest.mark.parametrize(
        ("balance", "expected"),
        [
            pytest.param(1.0, [2, 32, 8, 18], id="shares of the photos"),
            # square roots: 2.83, 11.31, 5.66, 8.49 of 28.28
            pytest.param(0.5, [6, 24, 12, 18], id="between"),
            pytest.param(0.0, [15, 15, 15, 15], id="equal shares"),
        ],
    )
    def test_single_domain_sampler_divides_batches_by_balance(self, balance, expected):
        assert Counter(batch_domains(single_domain_sampler(balance=balance))) == dict(
            zip(PHOTOS_BY_DOMAIN, expected, strict=True)
        )

    def test_single_domain_sampler_counts_repeats_as_photos(self):
        repeated = single_domain_sampler(repeats={"far_shot": 11})
        assert len(repeated) == 80
        assert Counter(batch_domains(repeated))[Domain.FAR_SHOT] == 22

    def test_single_domain_sampler_prefers_repeated_photos_within_a_domain(self):
        people = portraits(10, "discs") + portraits(10, "moons")
        sampler = single_domain_sampler(people, repeats={"discs": 9}, batch=10)
        counts = Counter(people[spec.photo].source for spec in specs_of(sampler))
        assert counts["discs"] > 4 * counts["moons"] > 0

    def test_single_domain_sampler_with_equal_seed_and_epoch_is_equal(self):
        one, two = (list(single_domain_sampler(seed=3, epoch=7)) for _ in range(2))
        assert one == two

    @pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}])
    def test_single_domain_sampler_with_another_epoch_or_seed_differs(self, other):
        one, two = specs_of(single_domain_sampler()), specs_of(single_domain_sampler(**other))
        assert [spec.photo for spec in one] != [spec.photo for spec in two]
        assert {spec.seed for spec in one}.isdisjoint(spec.seed for spec in two)

    @pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
    def test_single_domain_sampler_spreads_domains_evenly_over_the_epoch(self, balance):
        order = batch_domains(single_domain_sampler(balance=balance))
        for domain, count in Counter(order).items():
            so_far = np.cumsum([other == domain for other in order])
            expected = np.arange(1, len(order) + 1) * count / len(order)
            # four domains displace each other by at most this much
            assert np.abs(so_far - expected).max() <= 1.5, domain


NEAR_FACES = portraits(90, face=FaceBox(0, 0, 0.4, 0.4))
FAR_FACES = portraits(10, face=FaceBox(0, 0, 0.02, 0.02))


def domain_balanced_sampler(
    people: list[Portrait], *, balance: float = 0.5, **settings: Any
) -> DomainBalancedSampler:
    return DomainBalancedSampler(people, plan(**settings), balance=balance)


class TestDomainBalancedSampler:
    @pytest.mark.parametrize(("balance", "share"), [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)])
    def test_domain_balanced_sampler_divides_samples_by_balance(self, balance, share):
        far: Counter[bool] = Counter()
        for epoch in range(40):
            sampler = domain_balanced_sampler(
                NEAR_FACES + FAR_FACES, balance=balance, batch=10, epoch=epoch
            )
            far.update(spec.photo >= len(NEAR_FACES) for spec in specs_of(sampler))
        assert far[True] / far.total() == pytest.approx(share, abs=0.03)

    def test_domain_balanced_sampler_splits_an_epoch_between_ranks(self):
        ranks = [
            domain_balanced_sampler(NEAR_FACES, batch=5, seed=1, epoch=2, rank=rank, world=2)
            for rank in range(2)
        ]
        single = domain_balanced_sampler(NEAR_FACES, batch=10, seed=1, epoch=2)
        joined = [spec for sampler in ranks for spec in specs_of(sampler)]
        assert Counter(joined) == Counter(specs_of(single))
        assert len(ranks[0]) == len(ranks[1]) == len(single) == 9

    def test_domain_balanced_sampler_with_too_few_photos_raises(self):
        with pytest.raises(ValueError, match="10 photos do not fill a batch of 16"):
            domain_balanced_sampler(FAR_FACES, batch=16)


MIXED_SOURCES = portraits(6, "discs") + portraits(4, "moons")


def weighted_sampler(
    weights: dict[str, float] | None = None, *, photos: int = 40, **settings: Any
) -> WeightedSourceSampler:
    return WeightedSourceSampler(
        MIXED_SOURCES, plan(**settings), weights=weights or {}, photos=photos
    )


def source_counts(sampler: WeightedSourceSampler) -> Counter[str]:
    return Counter(MIXED_SOURCES[spec.photo].source for spec in specs_of(sampler))


class TestWeightedSourceSampler:
    def test_weighted_sampler_with_equal_weights_yields_equal_counts(self):
        counts = Counter(spec.photo for spec in specs_of(weighted_sampler()))
        assert set(counts.values()) == {4}

    def test_weighted_sampler_multiplies_counts_by_source_weight(self):
        # 6 x 1 + 4 x 3.5 = 20 shares of 40 samples
        assert source_counts(weighted_sampler({"moons": 3.5})) == {"discs": 12, "moons": 28}

    def test_weighted_sampler_never_yields_a_source_of_weight_zero(self):
        assert set(source_counts(weighted_sampler({"moons": 0}))) == {"discs"}

    def test_weighted_sampler_gives_every_sample_its_own_seed(self):
        assert len({spec.seed for spec in specs_of(weighted_sampler())}) == 40

    def test_weighted_sampler_drops_only_an_incomplete_last_batch(self):
        assert len(weighted_sampler(photos=43, batch=4)) == 10

    @given(world=st.integers(1, 4), epoch=st.integers(0, 5))
    def test_weighted_sampler_splits_an_epoch_between_ranks(self, world, epoch):
        single = specs_of(weighted_sampler(photos=48, batch=12, epoch=epoch))
        joined = [
            spec
            for rank in range(world)
            for spec in specs_of(
                weighted_sampler(photos=48, batch=12 // world, epoch=epoch, rank=rank, world=world)
            )
        ]
        assert Counter(joined) == Counter(single)

    @pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}])
    def test_weighted_sampler_differs_only_with_epoch_or_seed(self, other):
        assert specs_of(weighted_sampler()) != specs_of(weighted_sampler(**other))
        assert specs_of(weighted_sampler(**other)) == specs_of(weighted_sampler(**other))

    def test_weighted_sampler_with_too_few_photos_raises(self):
        with pytest.raises(ValueError, match="3 photos do not fill a batch of 8"):
            weighted_sampler(photos=3, batch=4, world=2)

    def test_weighted_sampler_with_all_weights_zero_raises(self):
        with pytest.raises(ValueError, match="no photo has a weight above 0"):
            weighted_sampler({"discs": 0, "moons": 0})


@given(
    expected=st.lists(st.floats(0, 5), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
)
def test_systematic_resampling_differs_from_expectation_by_less_than_one(expected, seed):
    share = np.array(expected)
    indices = systematic_resampling(share, np.random.default_rng(seed))
    times = np.bincount(indices, minlength=len(share))
    assert np.abs(times - share).max() < 1 + 1e-6
    assert abs(len(indices) - share.sum()) < 1 + 1e-6
