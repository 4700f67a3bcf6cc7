"""Batches are a shuffled deck dealt to ranks; samples are functions of their draw."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.made_data import SIDE, made_portrait, write_data_pack
from tests.unit.training.test_augmentation import STILL
from training.data.augmentation import Augmentation
from training.data.portraits import Portrait, read_backgrounds, read_frame, read_portraits
from training.data.samples import Batches, Draw, Samples


def portraits(count: int, source: str = "discs") -> list[Portrait]:
    """Never read: Batches looks at sources alone."""
    nowhere = Path("nowhere")
    return [Portrait(f"{source}{n}", source, f"group{n}", nowhere, nowhere) for n in range(count)]


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
        rgb, mask = made_portrait(5)
        np.testing.assert_array_equal(portrait.truth(), mask)
        # JPEG: near, and red is red
        assert np.abs(portrait.rgb().astype(int) - rgb).mean() < 4

    def test_a_mask_that_is_no_image_says_which(self, tmp_path):
        broken = tmp_path / "mask.png"
        broken.write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"mask\.png is not an image"):
            Portrait("a", "discs", "group", broken, broken).truth()

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
            image, truth = varied[Draw(seed % 12, seed)]
            assert image.shape == (3, 24, 40)
            assert truth.shape == (24, 40)
            assert image.dtype == truth.dtype == torch.uint8

    def test_a_sample_is_a_function_of_its_draw(self, varied, data):
        again = samples(data, (24, 40), varied.augmentation)
        for seed in range(20):
            draw = Draw(seed % 12, seed)
            for one, same in zip(varied[draw], again[draw], strict=True):
                assert torch.equal(one, same)

    def test_another_seed_is_another_sample(self, varied):
        assert not torch.equal(varied[Draw(0, 1)][0], varied[Draw(0, 2)][0])

    def test_unaugmented_it_is_the_photo_in_rgb(self, data):
        plain = samples(data, (SIDE, SIDE), STILL)
        portrait = plain.portraits[3]
        image, truth = plain[Draw(3, 0)]
        assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - portrait.rgb()).max() <= 6
        np.testing.assert_array_equal(truth.numpy(), portrait.truth())

    def test_empty_shows_a_background_and_nobody(self, data):
        empty = samples(data, (32, 32), Augmentation(empty=1))
        for seed in range(4):
            assert not empty[Draw(0, seed)][1].any()

    def test_composite_keeps_the_person_and_changes_what_is_behind(self, data):
        plain = samples(data, (SIDE, SIDE), STILL)
        moved = samples(data, (SIDE, SIDE), replace(STILL, composite=1))
        draw = Draw(3, 0)
        (before, truth), (after, kept) = plain[draw], moved[draw]
        behind = truth == 0
        assert torch.equal(kept == 255, truth == 255)
        assert (kept[behind] == 0).all()
        change = (before.int() - after.int()).abs()
        assert change[:, truth == 255].float().mean() < 6
        assert change[:, behind].float().mean() > 10

    def test_photos_are_kept_no_larger_than_the_largest_zoom_needs(self, data):
        kept = samples(data, (20, 16), STILL).photos
        assert {(rgb.shape, mask.shape) for rgb, mask in kept} == {((30, 30, 3), (30, 30))}


def test_photos_that_do_not_fill_a_batch_are_no_epoch():
    with pytest.raises(ValueError, match="do not fill a batch of 8"):
        Batches([], {}, batch=4, seed=0, epoch=0, world=2)
