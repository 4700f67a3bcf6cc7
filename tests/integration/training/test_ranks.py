"""Tests of two processes that train one model, started as by torchrun."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from tests.support.made_runs import read_history
from training.process import ProcessRank, find_process_rank
from training.recipe import read_recipe
from training.train import StartingPoint, average_gradients, train

WORLD = 2

CLEAN_PROCESSES = multiprocessing.get_context("forkserver")
"""Starts processes without the objects and threads of earlier tests."""
CLEAN_PROCESSES.set_forkserver_preload(["training.train"])


def test_process_rank_without_torchrun_is_single(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    process = find_process_rank()
    assert (process.rank, process.world, process.is_main) == (0, 1, True)


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


def join_group(rank: int, port: int) -> ProcessRank:
    """Sets the environment of torchrun and returns the rank of the process, with one thread."""
    torch.set_num_threads(1)
    os.environ |= {
        "WORLD_SIZE": str(WORLD),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return find_process_rank()


def run_rank(rank: int, port: int, recipe: Path, data: Path, run: Path) -> None:
    """Trains in one process of torchrun."""
    process = join_group(rank, port)
    train(read_recipe(recipe), data, run, process, start=StartingPoint())
    dist.destroy_process_group()


def run_ranks(target: Callable[..., None], *arguments: object) -> None:
    """Calls `target` with rank, port and arguments in each process; all must exit with 0."""
    port = free_port()
    ranks = [
        CLEAN_PROCESSES.Process(target=target, args=(rank, port, *arguments))
        for rank in range(WORLD)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
    left = [process for process in ranks if process.is_alive()]
    for process in left:
        process.kill()
    assert [process.exitcode for process in ranks] == [0, 0]


def test_training_on_ranks_yields_one_model(data, recipe_file, tmp_path):
    run = tmp_path / "run"
    run_ranks(run_rank, recipe_file, data, run)
    rows = read_history(run)
    assert [row["epoch"] for row in rows] == [1, 2], "only the first of them writes"
    assert rows[1]["val/all"] > 75
    state = torch.load(run / "last.pt", weights_only=True)
    assert state["step"] == 24 + 48, "as many steps as alone, of which both ranks compute a half"


def average_in_rank(rank: int, port: int) -> None:
    process = join_group(rank, port)
    model = nn.ModuleList([nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Linear(2, 2)])
    seen, unseen = model[0].weight, model[1].weight
    seen.data = seen.data.contiguous(memory_format=torch.channels_last)
    seen.grad = torch.full_like(seen, 1.0 + 2 * rank)
    model[2].weight.grad = torch.eye(2) * rank
    average_gradients(model, process)
    assert (seen.grad == 2).all()
    assert unseen.grad is None
    assert torch.equal(model[2].weight.grad, torch.eye(2) / 2)
    dist.destroy_process_group()


def test_gradients_are_averaged_over_ranks_except_absent_ones():
    run_ranks(average_in_rank)
