"""Tests of a run's time limit and of the number format of a device."""

import pytest
import torch

from tests.support.made_runs import ALONE, read_checkpoint, read_history
from training.process import ProcessRank
from training.train import (
    StartingPoint,
    TimeLimit,
    is_finished,
    restore_or_start,
    schedule_epoch,
    train,
)


@pytest.mark.parametrize(
    ("device", "capabilities", "expected"),
    [
        ("cpu", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ("cpu", {"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, True),
        ("cuda", {"avx512_bf16": False}, True),
    ],
)
def test_bfloat16_is_used_only_with_hardware_support(monkeypatch, device, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert ProcessRank(rank=0, world=1, device=torch.device(device)).bfloat16 is expected


class CountedLimit:
    """Time limit that expires after a number of reads, independent of the clock."""

    def __init__(self, reads: int) -> None:
        self.reads = self.left = reads

    def start(self) -> None:
        """Has no effect: the limit counts reads from its construction."""

    @property
    def elapsed_share(self) -> float:
        self.left = max(0, self.left - 1)
        return 1 - self.left / self.reads

    @property
    def expired(self) -> bool:
        return self.elapsed_share >= 1


class TestTimeLimit:
    @pytest.fixture
    def clock(self, monkeypatch):
        """Returns a clock in seconds that the test sets."""
        now = [100.0]
        monkeypatch.setattr("training.train.time.monotonic", lambda: now[0])
        return now

    def test_time_limit_starts_once_with_training(self, clock):
        limit = TimeLimit(60)
        clock[0] = 130
        assert limit.elapsed_share == 0
        limit.start()
        clock[0] = 145
        limit.start()
        assert limit.elapsed_share == 0.25

    def test_schedule_is_stretched_over_the_time_limit(self, clock, recipe):
        limit = TimeLimit(60, started=100)
        assert schedule_epoch(recipe, 1.25, limit) == 0
        clock[0] = 130
        assert schedule_epoch(recipe, 1.25, limit) == 1, "half of the recipe's two epochs"
        clock[0] = 500
        assert schedule_epoch(recipe, 1.25, limit) == 2

    def test_schedule_without_a_limit_follows_epochs(self, recipe):
        assert schedule_epoch(recipe, 1.25, None) == 1.25

    def test_run_is_finished_at_the_time_limit(self, clock, recipe, tmp_path):
        state = restore_or_start(recipe, tmp_path, ALONE, StartingPoint())
        limit = TimeLimit(60, started=100)
        state.epoch = 1000
        assert not is_finished(recipe, state, limit)
        assert is_finished(recipe, state, None)
        clock[0] = 160
        assert is_finished(recipe, state, limit)

    def test_limited_run_saves_weights_without_validation(self, recipe, data, tmp_path):
        train(recipe, data, tmp_path, ALONE, start=StartingPoint(), limit=CountedLimit(20))
        assert read_history(tmp_path)[-1]["rate"] == 0
        assert not any(name.startswith("val/") for row in read_history(tmp_path) for name in row)
        assert read_checkpoint(tmp_path)["average"]
