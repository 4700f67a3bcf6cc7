"""Trains one recipe; stop it at any time, the same command goes on from the last epoch.

python -m training.train training/recipes/connectnet.toml --data DATA --runs RUNS
torchrun --nproc-per-node 2 -m training.train ...        (several processes or GPUs)
python -m training.train ... --minutes 8 --workers 15    (a machine that is lent for a while)
"""

import copy
import ctypes
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import torch
import torch.distributed as dist
import typer
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.data.pack_check import check_pack
from training.data.samples import single_threaded
from training.models import adapt_weights, build_model
from training.models.checkpoint import read_average
from training.optimiser import Stepper, build_optimiser
from training.recipe import Phase, Recipe, read_recipe
from training.report.history_plot import plot_curve
from training.tasks import Task, build_task
from training.tasks.base import Batch

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Place:
    """This process among all that train together, and the device it computes on."""

    rank: int
    world: int
    device: torch.device
    workers: int = 1
    """Processes that make samples."""

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def bfloat16(self) -> bool:
        """Whether the device computes in it. A CPU that does not emulates it, at 1.5 times the time
        that float32 takes.
        """
        if self.device.type != "cpu":
            return True
        abilities = torch.cpu.get_capabilities()
        return any(has for name, has in abilities.items() if "bf16" in name)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run that has no checkpoint of its own begins; nowhere: with new weights."""

    branch: Path | None = None
    """A checkpoint of another run: weights, optimiser and epoch."""
    weights: Path | None = None
    """The averaged weights of a checkpoint or of `training/weights`, at epoch 0."""


@dataclass(slots=True)
class TimeLimit:
    """A run that ends after a time instead of a number of epochs.

    The schedule of rates and phases is stretched over that time, however many photos it allows.
    Such a run is not validated.
    """

    seconds: float
    began: float | None = None
    """Of time.monotonic(); None before training has started."""

    def start(self) -> None:
        """Starts the clock, once: loading photos is not a part of the time."""
        if self.began is None:
            self.began = time.monotonic()

    @property
    def passed(self) -> float:
        """Share of the time, 0..1."""
        if self.began is None:
            return 0.0
        return min(1.0, (time.monotonic() - self.began) / self.seconds)

    @property
    def over(self) -> bool:
        return self.passed >= 1


@dataclass(slots=True)
class Progress:
    """Everything that changes while training, and all that a checkpoint holds."""

    model: nn.Module
    average: nn.Module
    optimiser: Stepper
    epoch: int = 0
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step = state["epoch"], state["step"]


def train(
    recipe: Recipe,
    data: Path,
    run: Path,
    place: Place,
    *,
    start: Start,
    limit: TimeLimit | None = None,
) -> None:
    """Runs every epoch that is left, or until the time is over.

    Raises PackError for a data pack with a wrong file.
    """
    check_pack(data)
    torch.manual_seed(recipe.seed)
    progress = begin(recipe, run, place, start)
    task = build_task(recipe, data)
    samples, size_hw = None, None
    while not finished(recipe, progress, limit):
        phase = recipe.phase(min(int(position(recipe, progress.epoch, limit)), recipe.epochs - 1))
        if samples is None or size_hw != phase.size_hw:
            samples, size_hw = task.samples(phase.size_hw), phase.size_hw
        if limit is not None:
            limit.start()
        began = time.monotonic()
        losses = train_epoch(recipe, task, phase, samples, progress, place, limit)
        progress.epoch += 1
        if place.first:
            row = {"epoch": progress.epoch, "seconds": round(time.monotonic() - began, 1)} | losses
            at = position(recipe, progress.epoch, limit)
            row |= {"size": phase.size_hw[0], "rate": recipe.rate(at)}
            if limit is None and due(recipe, progress.epoch):
                row |= task.validate(progress.average, phase.size_hw)
            record(run, row)
            save(run / "last.pt", progress)
            plot_curve(run / "history.jsonl", run / "curve.png")


def finished(recipe: Recipe, progress: Progress, limit: TimeLimit | None) -> bool:
    return progress.epoch >= recipe.epochs if limit is None else limit.over


def position(recipe: Recipe, epoch: float, limit: TimeLimit | None) -> float:
    """Where the run is in the recipe's schedule, in epochs of the recipe."""
    return epoch if limit is None else limit.passed * recipe.epochs


def begin(recipe: Recipe, run: Path, place: Place, start: Start) -> Progress:
    """Where this run stopped; else a branch of another run, its weights alone, or nothing."""
    model = build_model(recipe.model, recipe.options).to(place.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    progress = Progress(model, average, build_optimiser(model, recipe.optimiser))
    run.mkdir(parents=True, exist_ok=True)
    last = run / "last.pt"
    checkpoint = last if last.exists() else start.branch
    if checkpoint is not None:
        progress.restore(torch.load(checkpoint, map_location=place.device, weights_only=True))
        console.print(f"going on from {checkpoint}, epoch {progress.epoch}")
    elif start.weights is not None:
        weights = read_average(start.weights, place.device)
        for each in (model, average):
            each.load_state_dict(adapt_weights(each, weights))
        console.print(f"beginning with the weights of {start.weights}")
    return progress


def train_epoch(
    recipe: Recipe,
    task: Task,
    phase: Phase,
    samples: Dataset[Any],
    progress: Progress,
    place: Place,
    limit: TimeLimit | None = None,
) -> dict[str, float]:
    """One pass, or a part of it where the time is over; returns the mean of each loss term."""
    task.prepare(progress.model)
    batches = epoch_batches(task, phase, samples, progress.epoch, place)
    totals: dict[str, Tensor] = {}
    steps = 0
    for index, batch in enumerate(shown(batches, progress.epoch, recipe.epochs, place)):
        if limit is not None and limit.over:
            break
        rate = recipe.rate(position(recipe, progress.epoch + index / len(batches), limit))
        terms = train_step(task, batch, recipe, progress, place, rate=rate)
        for name, term in terms.items():
            # summed where they are: reading a number waits for the device
            totals[name] = totals.get(name, torch.zeros_like(term)) + term.detach()
        steps += 1
    return {name: total.item() / max(1, steps) for name, total in totals.items()}


def epoch_batches(
    task: Task, phase: Phase, samples: Dataset[Any], epoch: int, place: Place
) -> DataLoader[Batch]:
    return DataLoader(
        samples,
        batch_sampler=task.batches(phase, epoch, place.rank, place.world),
        num_workers=place.workers,
        prefetch_factor=4,
        worker_init_fn=single_threaded,
        multiprocessing_context="fork",
    )


def train_step(
    task: Task,
    batch: Batch,
    recipe: Recipe,
    progress: Progress,
    place: Place,
    *,
    rate: float,
) -> dict[str, Tensor]:
    batch = type(batch)(*(part.to(place.device) for part in batch))
    with torch.autocast(place.device.type, torch.bfloat16, enabled=place.bfloat16):
        terms = task.losses(progress.model, batch)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    average_gradients(progress.model, place)
    nn.utils.clip_grad_norm_(progress.model.parameters(), recipe.optimiser.clip)
    progress.optimiser.step(rate)
    progress.step += 1
    update_average(progress, recipe.average)
    return terms


def average_gradients(model: nn.Module, place: Place) -> None:
    """Makes them the mean over all processes, in one message.

    A parameter without a gradient (another domain's branch) has none in any process.
    """
    if place.world == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    message = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(message)
    message /= place.world
    parts = torch.split(message, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def update_average(progress: Progress, decay: float) -> None:
    """Exponential moving average of weights and batch norm statistics; young averages move fast."""
    weight = 1 - min(decay, (1 + progress.step) / (10 + progress.step))
    current = progress.model.state_dict()
    average = progress.average.state_dict()
    moving = [name for name, value in average.items() if value.is_floating_point()]
    # one call for all of them: each by itself costs a GPU more time to start than to compute
    torch._foreach_lerp_([average[n] for n in moving], [current[n] for n in moving], weight)
    for name in average.keys() - set(moving):
        average[name].copy_(current[name])


def due(recipe: Recipe, epoch: int) -> bool:
    return epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs


def record(run: Path, row: dict[str, float]) -> None:
    """One line of JSON an epoch, to the file and to the eye."""
    rounded = {name: round(value, 5) for name, value in row.items()}
    with (run / "history.jsonl").open("a") as history:
        history.write(json.dumps(rounded) + "\n")
    console.print(" ".join(f"{name}={value}" for name, value in rounded.items()), soft_wrap=True)


def save(path: Path, progress: Progress) -> None:
    """Whole or not at all: written beside, then moved into place."""
    beside = path.with_suffix(".new")
    torch.save(progress.state(), beside)
    beside.replace(path)


def shown(batches: DataLoader[Batch], epoch: int, epochs: int, place: Place) -> Iterator[Batch]:
    if not place.first or not console.is_terminal:
        return iter(batches)
    return iter(track(batches, f"epoch {epoch + 1}/{epochs}", console=console, transient=True))


def find_place(workers: int = 1) -> Place:
    """From torchrun's environment, or alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    gpu = torch.cuda.is_available()
    if world > 1:
        dist.init_process_group("nccl" if gpu else "gloo")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    return Place(rank, world, torch.device(f"cuda:{local}" if gpu else "cpu"), workers)


def keep_freed_memory() -> None:
    """Asks glibc to reuse freed buffers instead of returning them to the kernel each step.

    Page faults on large activations cost a third of the time on a CPU otherwise.
    """
    mmap_max, trim_threshold, top_pad, arena_max = -4, -1, -2, -8
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 2**28)
    libc.mallopt(arena_max, 1)


def main(
    recipe: Annotated[Path, typer.Argument(help="a file of training/recipes/")],
    data: Annotated[Path, typer.Option(help="the data pack")],
    runs: Annotated[Path, typer.Option(help="where checkpoints and curves go")],
    branch: Annotated[
        Path | None, typer.Option("--branch-from", help="a checkpoint of another run")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="begin with these, a file of training/weights/ or a checkpoint"),
    ] = None,
    threads: Annotated[int, typer.Option(help="of each process")] = 1,
    workers: Annotated[int, typer.Option(help="processes that make samples", min=1)] = 1,
    minutes: Annotated[
        float | None, typer.Option(help="stretch the schedule over this time, then stop", min=0.01)
    ] = None,
) -> None:
    """Trains a recipe, or goes on where it stopped."""
    limit = TimeLimit(60 * minutes) if minutes else None
    keep_freed_memory()
    cv2.setNumThreads(0)
    torch.set_num_threads(threads)
    numbers = read_recipe(recipe)
    place = find_place(workers)
    if limit is not None and place.world > 1:
        raise typer.BadParameter("--minutes is for one process: several would not stop together")
    run = runs.expanduser() / numbers.name
    train(numbers, data, run, place, start=Start(branch, weights), limit=limit)
    if place.world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    typer.run(main)
