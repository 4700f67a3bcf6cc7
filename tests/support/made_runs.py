"""A small recipe, and the files of its runs."""

import json
from pathlib import Path
from typing import Any

import torch

from training.process import ProcessRank

ALONE = ProcessRank(rank=0, world=1, device=torch.device("cpu"))
RECIPE = """
name = "made"
model = "connectnet"
options = { stem = 8, skip = 8, stages = [[16, 2]], decoder = 8, logits_relu = false }
seed = 1
repeats = { discs = 16, moons = 16 }
average = 0.8
evaluate_every = 1
phases = [
    { size_hw = [32, 32], epochs = 1, batch = 8 },
    { size_hw = [32, 40], epochs = 1, batch = 4 },
]
optimiser = { kind = "muon", rate = 0.01, weight_decay = 0.01, warm_up = 0.2, cool_down = 1 }
loss = {}
"""


def read_history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def read_checkpoint(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "last.pt", weights_only=True)
    return state


def assert_equal_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
