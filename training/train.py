"""Trains one recipe. After an interruption the same command continues from the last epoch.

python -m training.train training/recipes/connectnet/01_base.toml --data DATA --runs RUNS
torchrun --nproc-per-node 2 -m training.train ...        (several processes or GPUs)
python -m training.train ... --minutes 8 --workers 15    (a machine rented for a limited time)
"""

import copy
import json
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
from training.data.samplers import EpochPlan
from training.data.samples import limit_worker_threads
from training.models import adapt_weights, build_model
from training.models.checkpoint import read_average
from training.optimiser import ScheduledOptimiser, build_optimiser
from training.options import DataPack
from training.process import ProcessRank, find_process_rank, reuse_freed_memory
from training.recipe import Phase, Recipe, check_recipe, read_recipe
from training.report.history_plot import plot_curve
from training.tasks import Task, build_task
from training.tasks.base import Batch

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """Initial weights of a run without a checkpoint; random if both are None."""

    branch: Path | None = None
    """Checkpoint of another run, with weights, optimiser and epoch."""
    weights: Path | None = None
    """Checkpoint or file of `training/weights`: its averaged weights, at epoch 0."""


@dataclass(slots=True)
class TimeLimit:
    """Duration of a run that ends after a time instead of a number of epochs.

    The schedule of rates and phases is stretched over that time, however many photos it allows.
    Such a run is not validated.
    """

    seconds: float
    started: float | None = None
    """Start in seconds of time.monotonic(); None before training has started."""

    def start(self) -> None:
        """Starts the clock at the first call, which follows the first loading of photos."""
        if self.started is None:
            self.started = time.monotonic()

    @property
    def elapsed_share(self) -> float:
        """Elapsed share of the time, 0..1."""
        if self.started is None:
            return 0.0
        return min(1.0, (time.monotonic() - self.started) / self.seconds)

    @property
    def expired(self) -> bool:
        """True after the time."""
        return self.elapsed_share >= 1


@dataclass(slots=True)
class TrainingState:
    """Mutable state of a training run, and the content of a checkpoint."""

    model: nn.Module
    average: nn.Module
    optimiser: ScheduledOptimiser
    epoch: int = 0
    step: int = 0

    def state(self) -> dict[str, Any]:
        """Returns the content of a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Loads the content of a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step = state["epoch"], state["step"]


def train(
    recipe: Recipe,
    data: Path,
    run: Path,
    process: ProcessRank,
    *,
    start: StartingPoint,
    limit: TimeLimit | None = None,
) -> None:
    """Trains the remaining epochs, or until the time limit.

    Raises PackError for a data pack with a problem.
    """
    check_pack(data)
    torch.manual_seed(recipe.seed)
    state = restore_or_start(recipe, run, process, start)
    task = build_task(recipe, data)
    samples, size_hw = None, None
    while not is_finished(recipe, state, limit):
        phase = recipe.phase(
            min(int(schedule_epoch(recipe, state.epoch, limit)), recipe.epochs - 1)
        )
        if samples is None or size_hw != phase.size_hw:
            samples = None  # The photos at both sizes together may exceed the memory.
            samples, size_hw = task.samples(phase.size_hw), phase.size_hw
        if limit is not None:
            limit.start()
        started = time.monotonic()
        losses = train_epoch(recipe, task, phase, samples, state, process, limit)
        state.epoch += 1
        if process.is_main:
            row = {"epoch": state.epoch, "seconds": round(time.monotonic() - started, 1)} | losses
            position = schedule_epoch(recipe, state.epoch, limit)
            row |= {"size": phase.size_hw[0], "rate": recipe.rate(position)}
            if limit is None and is_validation_epoch(recipe, state.epoch):
                row |= task.validate(state.average, phase.size_hw)
            append_history(run, row)
            save_checkpoint(run / "last.pt", state)
            plot_curve(run / "history.jsonl", run / "curve.png")


def is_finished(recipe: Recipe, state: TrainingState, limit: TimeLimit | None) -> bool:
    """True after the last epoch of the recipe, or after the time limit if there is one."""
    return state.epoch >= recipe.epochs if limit is None else limit.expired


def schedule_epoch(recipe: Recipe, epoch: float, limit: TimeLimit | None) -> float:
    """Returns the position in the recipe's schedule, in epochs of the recipe."""
    return epoch if limit is None else limit.elapsed_share * recipe.epochs


def restore_or_start(
    recipe: Recipe, run: Path, process: ProcessRank, start: StartingPoint
) -> TrainingState:
    """Restores the last checkpoint of the run, or else starts from `start`."""
    model = build_model(recipe.model, recipe.options).to(process.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    state = TrainingState(model, average, build_optimiser(model, recipe.optimiser))
    run.mkdir(parents=True, exist_ok=True)
    last = run / "last.pt"
    checkpoint = last if last.exists() else start.branch
    if checkpoint is not None:
        state.restore(torch.load(checkpoint, map_location=process.device, weights_only=True))
        console.print(f"continuing from {checkpoint}, epoch {state.epoch}")
    elif start.weights is not None:
        weights = read_average(start.weights, process.device)
        for network in (model, average):
            network.load_state_dict(adapt_weights(network, weights))
        console.print(f"starting with the weights of {start.weights}")
    return state


def train_epoch(
    recipe: Recipe,
    task: Task,
    phase: Phase,
    samples: Dataset[Any],
    state: TrainingState,
    process: ProcessRank,
    limit: TimeLimit | None = None,
) -> dict[str, float]:
    """Trains one epoch, or a part of it up to the time limit; returns the mean loss terms."""
    task.prepare(state.model)
    batches = epoch_loader(recipe, task, phase, samples, state.epoch, process)
    totals: dict[str, Tensor] = {}
    steps = 0
    for index, batch in enumerate(with_progress_bar(batches, state.epoch, recipe.epochs, process)):
        if limit is not None and limit.expired:
            break
        rate = recipe.rate(schedule_epoch(recipe, state.epoch + index / len(batches), limit))
        terms = train_step(task, batch, recipe, state, process, rate=rate)
        for name, term in terms.items():
            # Summed on the device: reading a number would wait for it.
            totals[name] = totals.get(name, torch.zeros_like(term)) + term.detach()
        steps += 1
    return {name: total.item() / max(1, steps) for name, total in totals.items()}


def epoch_loader(
    recipe: Recipe,
    task: Task,
    phase: Phase,
    samples: Dataset[Any],
    epoch: int,
    process: ProcessRank,
) -> DataLoader[Batch]:
    """Builds the loader of this rank's batches in one epoch."""
    plan = EpochPlan(
        batch=phase.batch // process.world,
        seed=recipe.seed,
        epoch=epoch,
        repeats=recipe.repeats,
        rank=process.rank,
        world=process.world,
    )
    return DataLoader(
        samples,
        batch_sampler=task.batch_sampler(plan),
        num_workers=process.workers,
        prefetch_factor=4,
        worker_init_fn=limit_worker_threads,
        multiprocessing_context="fork",
    )


def train_step(
    task: Task,
    batch: Batch,
    recipe: Recipe,
    state: TrainingState,
    process: ProcessRank,
    *,
    rate: float,
) -> dict[str, Tensor]:
    """Computes one step on a batch and returns its loss terms; `rate` is a share 0..1."""
    batch = type(batch)(*(part.to(process.device) for part in batch))
    with torch.autocast(process.device.type, torch.bfloat16, enabled=process.bfloat16):
        terms = task.losses(state.model, batch)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    average_gradients(state.model, process)
    nn.utils.clip_grad_norm_(state.model.parameters(), recipe.optimiser.clip)
    state.optimiser.step(rate)
    state.step += 1
    update_average(state, recipe.average)
    return terms


def average_gradients(model: nn.Module, process: ProcessRank) -> None:
    """Replaces gradients by their mean over all processes, with one all-reduce.

    A parameter without a gradient (the branch of another domain) has none in any process.
    """
    if process.world == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= process.world
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def update_average(state: TrainingState, decay: float) -> None:
    """Updates the exponential moving average of weights and batch norm statistics.

    The decay is smaller in the first steps, so that the initial weights fade quickly.
    """
    weight = 1 - min(decay, (1 + state.step) / (10 + state.step))
    current = state.model.state_dict()
    average = state.average.state_dict()
    averaged_names = [name for name, value in average.items() if value.is_floating_point()]
    # One call for all of them: single calls take longer to launch on a GPU than to compute.
    torch._foreach_lerp_(
        [average[n] for n in averaged_names], [current[n] for n in averaged_names], weight
    )
    for name in average.keys() - set(averaged_names):
        average[name].copy_(current[name])


def is_validation_epoch(recipe: Recipe, epoch: int) -> bool:
    """True every `evaluate_every` epochs and after the last epoch."""
    return epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs


def append_history(run: Path, row: dict[str, float]) -> None:
    """Appends one line of JSON to history.jsonl and prints the same figures."""
    rounded = {name: round(value, 5) for name, value in row.items()}
    with (run / "history.jsonl").open("a") as history:
        history.write(json.dumps(rounded) + "\n")
    console.print(" ".join(f"{name}={value}" for name, value in rounded.items()), soft_wrap=True)


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Writes a checkpoint atomically: to a temporary file that is then renamed."""
    temporary = path.with_suffix(".new")
    torch.save(state.state(), temporary)
    temporary.replace(path)


def with_progress_bar(
    batches: DataLoader[Batch], epoch: int, epochs: int, process: ProcessRank
) -> Iterator[Batch]:
    """Iterates over the batches, with a progress bar on the terminal of the main process."""
    if not process.is_main or not console.is_terminal:
        return iter(batches)
    return iter(track(batches, f"epoch {epoch + 1}/{epochs}", console=console, transient=True))


def main(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="Recipe: a file of training/recipes/ or its name.", callback=check_recipe
        ),
    ],
    data: DataPack,
    runs: Annotated[Path, typer.Option(help="Folder for checkpoints and learning curves.")],
    branch: Annotated[
        Path | None,
        typer.Option("--branch-from", help="Checkpoint of another run to continue from."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Initial weights: a file of training/weights/ or a checkpoint."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Number of threads of each process.")] = 1,
    workers: Annotated[int, typer.Option(help="Number of processes that load samples.", min=1)] = 1,
    minutes: Annotated[
        float | None,
        typer.Option(help="Duration of the run, over which the schedule is stretched.", min=0.01),
    ] = None,
) -> None:
    """Trains a recipe, or continues an interrupted run."""
    limit = TimeLimit(60 * minutes) if minutes else None
    reuse_freed_memory()
    cv2.setNumThreads(0)
    torch.set_num_threads(threads)
    loaded_recipe = read_recipe(recipe)
    process = find_process_rank(workers)
    if limit is not None and process.world > 1:
        raise typer.BadParameter("--minutes is for one process: several would not stop together")
    run = runs.expanduser() / loaded_recipe.name
    train(loaded_recipe, data, run, process, start=StartingPoint(branch, weights), limit=limit)
    if process.world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    typer.run(main)
