"""Batches are a shuffled deck dealt to ranks; samples are functions of their draw."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.pipeline.faces import Domain
from tests.support.made_data import SIDE, make_portrait, write_data_pack
from tests.unit.training.data.test_augmentation import STILL
from training.data.augmentation import Augmentation
from training.data.dataset import FaceBox, Portrait, read_backgrounds, read_frame, read_portraits
from training.data.samples import Batches, Draw, Samples, SingleDomainBatches


def portraits(count: int, source: str = "discs", face: FaceBox | None = None) -> list[Portrait]:
    """Never read: batches look at sources and faces alone."""
    nowhere = Path("nowhere")
    return [
        Portrait(f"{source}{n}", source, f"group{n}", nowhere, nowhere, face) for n in range(count)
    ]


def deal(count: int = 20, *, batch: int = 4, seed: int = 0, epoch: int = 0, **more) -> Batches:
    repeats = more.pop("repeats", {})
    return Batches(portraits(count), repeats, batch=batch, seed=seed, epoch=epoch, **more)


def draws(batches: Batches) -> list[Draw]:
    return [draw for batch in batches for draw in batch]


class TestBatches:
    def test_every_photo_once(self):
        assert sorted(draw.photo for draw in draws(deal(20, batch=4))) == list(range(20))

    def test_repeats_are_per_source(self):
        mixed = portraits(4, "discs") + portraits(2, "moons") + portraits(3, "rest")
        batches = Batches(mixed, {"discs": 3, "moons": 0}, batch=1, seed=0, epoch=0)
        shown = Counter(draw.photo for draw in draws(batches))
        assert shown == {0: 3, 1: 3, 2: 3, 3: 3, 6: 1, 7: 1, 8: 1}

    def test_a_repeated_photo_is_drawn_otherwise_each_time(self):
        repeated = draws(deal(5, batch=5, repeats={"discs": 4}))
        assert len({draw.seed for draw in repeated}) == 20

    def test_same_seed_and_epoch_deal_the_same(self):
        assert list(deal(seed=3, epoch=7)) == list(deal(seed=3, epoch=7))

    @pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}])
    def test_another_epoch_or_seed_deals_otherwise(self, other):
        one, two = draws(deal()), draws(deal(**other))
        assert [draw.photo for draw in one] != [draw.photo for draw in two]
        assert {draw.seed for draw in one}.isdisjoint(draw.seed for draw in two)

    @given(
        count=st.integers(8, 60),
        world=st.integers(1, 4),
        batch=st.integers(1, 2),
        repeats=st.integers(1, 3),
        epoch=st.integers(0, 5),
    )
    def test_ranks_share_what_one_process_would_see_step_by_step(
        self, count, world, batch, repeats, epoch
    ):
        settings = {"repeats": {"discs": repeats}, "epoch": epoch}
        alone = deal(count, batch=batch * world, **settings)
        ranks = [
            deal(count, batch=batch, rank=rank, world=world, **settings) for rank in range(world)
        ]
        assert {len(rank) for rank in ranks} == {len(alone)}
        for together, *parts in zip(alone, *ranks, strict=True):
            assert [len(part) for part in parts] == [batch] * world
            dealt = [draw for part in parts for draw in part]
            assert Counter(dealt) == Counter(together)
            assert len(set(dealt)) == len(dealt), "ranks share no draw"

    @given(count=st.integers(4, 50), batch=st.integers(1, 4))
    def test_only_a_tail_shorter_than_a_batch_is_left_out(self, count, batch):
        batches = deal(count, batch=batch)
        assert len(list(batches)) == len(batches) == count // batch
        assert all(len(each) == batch for each in batches)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_pack(tmp_path_factory.mktemp("data"))


class TestPortraits:
    def test_splits_are_those_of_the_index_and_share_no_group(self, data):
        train, val = read_portraits(data, "train"), read_portraits(data, "val")
        assert [len(train), len(val)] == [12, 4]
        assert {p.source for p in train} == {p.source for p in val} == {"discs", "moons"}
        assert {p.group for p in train}.isdisjoint(p.group for p in val)

    def test_photo_and_truth_are_those_on_disk(self, data):
        portrait = read_portraits(data, "train")[5]
        rgb, mask = make_portrait(5)
        np.testing.assert_array_equal(portrait.truth(), mask)
        # JPEG: near, and red is red
        assert np.abs(portrait.rgb().astype(int) - rgb).mean() < 4

    def test_a_mask_that_is_no_image_says_which(self, tmp_path):
        broken = tmp_path / "mask.png"
        broken.write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"mask\.png is not an image"):
            Portrait("a", "discs", "group", broken, broken, None).truth()

    def test_backgrounds_of_a_split_have_nobody_and_can_be_read(self, data):
        assert read_backgrounds(data, "val") == []
        shapes = [read_frame(path).rgb.shape for path in read_backgrounds(data, "train")]
        assert shapes == [(SIDE, SIDE, 3)] * 3


def samples(data: Path, size_hw: tuple[int, int], augmentation: Augmentation) -> Samples:
    scenes = [read_frame(path).rgb for path in read_backgrounds(data, "train")]
    people = read_portraits(data, "train")
    return Samples(people, scenes, size_hw=size_hw, augmentation=augmentation)


class TestSamples:
    @pytest.fixture
    def varied(self, data):
        return samples(data, (24, 40), Augmentation(composite=0.5, empty=0.2))

    def test_shapes_and_types(self, varied):
        for seed in range(20):
            *tensors, domain = varied[Draw(seed % 12, seed)]
            shapes = [tuple(tensor.shape) for tensor in tensors]
            assert shapes == [(3, 24, 40), (3, 24, 40), (24, 40), (24, 40), (24, 40)]
            assert {tensor.dtype for tensor in tensors} == {torch.uint8}
            assert domain == varied.portraits[seed % 12].domain

    def test_a_sample_is_a_function_of_its_draw(self, varied, data):
        again = samples(data, (24, 40), varied.augmentation)
        for seed in range(20):
            draw = Draw(seed % 12, seed)
            for one, same in zip(varied[draw], again[draw], strict=True):
                assert torch.equal(torch.as_tensor(one), torch.as_tensor(same))

    def test_another_seed_is_another_sample(self, varied):
        assert not torch.equal(varied[Draw(0, 1)].image, varied[Draw(0, 2)].image)

    def test_the_plain_view_is_the_image_before_its_colours_changed(self, data):
        geometry = replace(STILL, flip=0.5, composite=0.5)
        still = samples(data, (32, 32), geometry)
        dimmed = samples(data, (32, 32), replace(geometry, colour=0.4))
        changes = []
        for seed in range(20):
            before, sample = still[Draw(3, seed)], dimmed[Draw(3, seed)]
            # a trip through HSV rounds
            assert (before.plain.int() - before.image.int()).abs().max() <= 4
            assert torch.equal(before.plain, sample.plain)
            assert torch.equal(before.truth, sample.truth)
            changes.append((sample.plain.int() - sample.image.int()).abs().max())
        assert sum(change > 4 for change in changes) > 10

    def test_priors_change_nothing_else(self, varied, data):
        given = Samples(
            varied.portraits,
            varied.backgrounds,
            size_hw=varied.size_hw,
            augmentation=varied.augmentation,
            priors=True,
        )
        some = 0
        for seed in range(40):
            without, with_one = varied[Draw(seed % 12, seed)], given[Draw(seed % 12, seed)]
            assert not without.prior.any()
            some += bool(with_one.prior.any())
            assert torch.equal(without.image, with_one.image)
            assert torch.equal(without.truth, with_one.truth)
        assert 5 < some < 35

    def test_unaugmented_it_is_the_photo_in_rgb(self, data):
        plain = samples(data, (SIDE, SIDE), STILL)
        portrait = plain.portraits[3]
        sample = plain[Draw(3, 0)]
        shown = sample.image.permute(1, 2, 0).numpy().astype(int)
        assert np.abs(shown - portrait.rgb()).max() <= 6
        np.testing.assert_array_equal(sample.truth.numpy(), portrait.truth())

    def test_empty_shows_a_background_and_nobody(self, data):
        empty = samples(data, (32, 32), Augmentation(empty=1))
        for seed in range(4):
            assert not empty[Draw(0, seed)].truth.any()

    def test_composite_keeps_the_person_and_changes_what_is_behind(self, data):
        plain = samples(data, (SIDE, SIDE), STILL)
        moved = samples(data, (SIDE, SIDE), replace(STILL, composite=1))
        draw = Draw(3, 0)
        before, truth = plain[draw].image, plain[draw].truth
        after, kept = moved[draw].image, moved[draw].truth
        behind = truth == 0
        assert torch.equal(kept == 255, truth == 255)
        assert (kept[behind] == 0).all()
        change = (before.int() - after.int()).abs()
        assert change[:, truth == 255].float().mean() < 6
        assert change[:, behind].float().mean() > 10

    def test_photos_are_kept_no_larger_than_the_largest_zoom_needs(self, data):
        kept = samples(data, (20, 16), STILL).photos
        shapes = {(each.rgb.shape, each.mask.shape, each.trust.shape) for each in kept}
        assert shapes == {((30, 30, 3), (30, 30), (30, 30))}


def test_photos_that_do_not_fill_a_batch_are_no_epoch():
    with pytest.raises(ValueError, match="do not fill a batch of 8"):
        Batches([], {}, batch=4, seed=0, epoch=0, world=2)


SHARES = {
    Domain.FAR_SHOT: 8,
    Domain.HALF_BODY: 128,
    Domain.HEAD_SHOT: 32,
    Domain.NO_FACE: 72,
}
"""Photos by domain; two domains have none."""

RATIOS = {
    Domain.FAR_SHOT: 0.001,
    Domain.HALF_BODY: 0.07,
    Domain.HEAD_SHOT: 0.5,
    Domain.NO_FACE: 0.0,
}

CROWD = [
    portrait
    for domain, count in SHARES.items()
    for portrait in portraits(
        count, domain.label, FaceBox(0, 0, 1, RATIOS[domain]) if RATIOS[domain] else None
    )
]


def deal_by_domain(
    people: list[Portrait] = CROWD,
    *,
    balance: float = 1.0,
    batch: int = 4,
    seed: int = 0,
    epoch: int = 0,
    repeats: dict[str, int] | None = None,
    **place: int,
) -> SingleDomainBatches:
    return SingleDomainBatches(
        people, repeats or {}, balance=balance, batch=batch, seed=seed, epoch=epoch, **place
    )


def turns(batches: SingleDomainBatches) -> list[Domain]:
    """The domain of each batch, of which there must be one."""
    found = []
    for batch in batches:
        (domain,) = {CROWD[draw.photo].domain for draw in batch}
        found.append(domain)
    return found


class TestSingleDomainBatches:
    def test_the_crowd_is_of_the_domains_it_says(self):
        assert Counter(portrait.domain for portrait in CROWD) == SHARES

    @given(
        balance=st.floats(0, 1),
        batch=st.integers(1, 9),
        world=st.integers(1, 4),
        epoch=st.integers(0, 9),
    )
    def test_each_step_has_one_domain_in_all_ranks_and_draws_of_its_own(
        self, balance, batch, world, epoch
    ):
        settings = {"balance": balance, "epoch": epoch}
        alone = deal_by_domain(batch=batch * world, **settings)
        ranks = [
            deal_by_domain(batch=batch, rank=rank, world=world, **settings) for rank in range(world)
        ]
        assert {len(rank) for rank in ranks} == {len(alone)} == {len(list(alone))}
        for together, *parts in zip(alone, *ranks, strict=True):
            assert [len(part) for part in parts] == [batch] * world
            dealt = [draw for part in parts for draw in part]
            assert Counter(dealt) == Counter(together)
            assert len(set(dealt)) == len(dealt), "no two samples of a step are the same"
            assert len({CROWD[draw.photo].domain for draw in dealt}) == 1
        assert set(turns(alone)) == set(SHARES), "every domain has its turn"

    @pytest.mark.parametrize(
        ("balance", "expected"),
        [
            pytest.param(1.0, [2, 32, 8, 18], id="as the photos"),
            # square roots: 2.83, 11.31, 5.66, 8.49 of 28.28
            pytest.param(0.5, [6, 24, 12, 18], id="between"),
            pytest.param(0.0, [15, 15, 15, 15], id="all equal"),
        ],
    )
    def test_turns_go_by_the_balance(self, balance, expected):
        assert Counter(turns(deal_by_domain(balance=balance))) == dict(
            zip(SHARES, expected, strict=True)
        )

    def test_repeats_count_as_photos(self):
        repeated = deal_by_domain(repeats={"far_shot": 11})
        assert len(repeated) == 80
        assert Counter(turns(repeated))[Domain.FAR_SHOT] == 22

    def test_a_photo_repeated_more_is_seen_more(self):
        people = portraits(10, "discs") + portraits(10, "moons")
        batches = deal_by_domain(people, repeats={"discs": 9}, batch=10)
        shown = Counter(people[draw.photo].source for batch in batches for draw in batch)
        assert shown["discs"] > 4 * shown["moons"] > 0

    def test_same_seed_and_epoch_deal_the_same(self):
        assert list(deal_by_domain(seed=3, epoch=7)) == list(deal_by_domain(seed=3, epoch=7))

    @pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}])
    def test_another_epoch_or_seed_deals_otherwise(self, other):
        one, two = (
            [draw for batch in deal_by_domain(**which) for draw in batch] for which in ({}, other)
        )
        assert [draw.photo for draw in one] != [draw.photo for draw in two]
        assert {draw.seed for draw in one}.isdisjoint(draw.seed for draw in two)

    @pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
    def test_turns_of_a_domain_are_spread_evenly_over_the_epoch(self, balance):
        order = turns(deal_by_domain(balance=balance))
        for domain, count in Counter(order).items():
            taken = np.cumsum([turn == domain for turn in order])
            due = np.arange(1, len(order) + 1) * count / len(order)
            # at most as far from its due as the four domains can crowd each other
            assert np.abs(taken - due).max() <= 1.5, domain
