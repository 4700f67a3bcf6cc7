"""Trains one recipe; stop it at any time, the same command goes on from the last epoch.

python -m training.train training/recipes/connectnet.toml --data DATA --runs RUNS
torchrun --nproc-per-node 2 -m training.train ...        (several processes or GPUs)
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
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from training.data.portraits import Portrait, read_backgrounds, read_frame, read_portraits
from training.data.samples import Batches, Samples, single_threaded
from training.evaluate import OVERALL, by_network, evaluate
from training.losses.cross_entropy import cross_entropy, person_logit
from training.losses.jaccard import jaccard_loss
from training.losses.semantic_connectivity import semantic_connectivity_loss
from training.models import build_model
from training.optimiser import Stepper, build_optimiser
from training.recipe import LossWeights, Phase, Recipe, read_recipe
from training.report import plot_curve

Batch = tuple[Tensor, Tensor]
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Place:
    """This process among all that train together, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0


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


def train(recipe: Recipe, data: Path, run: Path, place: Place, *, start: Path | None) -> None:
    """Runs every epoch that is left; `start` is a checkpoint of another run to branch from."""
    torch.manual_seed(recipe.seed)
    progress = begin(recipe, run, place, start)
    validation = read_portraits(data, "val")
    samples: Samples | None = None
    while progress.epoch < recipe.epochs:
        phase = recipe.phase(progress.epoch)
        if samples is None or samples.size_hw != phase.size_hw:
            samples = read_samples(recipe, phase, data)
        began = time.monotonic()
        losses = train_epoch(recipe, phase, samples, progress, place)
        progress.epoch += 1
        if place.first:
            row = {"epoch": progress.epoch, "seconds": round(time.monotonic() - began, 1)} | losses
            row |= {"size": phase.size_hw[0], "rate": recipe.rate(progress.epoch)}
            if due(recipe, progress.epoch):
                row |= validate(recipe, phase, progress, validation)
            record(run, row)
            save(run / "last.pt", progress)
            plot_curve(run / "history.jsonl", run / "curve.png")


def begin(recipe: Recipe, run: Path, place: Place, start: Path | None) -> Progress:
    """A fresh start, a branch of another run, or where this run stopped."""
    model = build_model(recipe.model, recipe.options).to(place.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    progress = Progress(model, average, build_optimiser(model, recipe.optimiser))
    run.mkdir(parents=True, exist_ok=True)
    last = run / "last.pt"
    checkpoint = last if last.exists() else start
    if checkpoint is not None:
        progress.restore(torch.load(checkpoint, map_location=place.device, weights_only=True))
        console.print(f"going on from {checkpoint}, epoch {progress.epoch}")
    return progress


def read_samples(recipe: Recipe, phase: Phase, data: Path) -> Samples:
    backgrounds = [read_frame(path).rgb for path in read_backgrounds(data, "train")]
    return Samples(
        read_portraits(data, "train"),
        backgrounds,
        size_hw=phase.size_hw,
        augmentation=recipe.augmentation,
    )


def train_epoch(
    recipe: Recipe, phase: Phase, samples: Samples, progress: Progress, place: Place
) -> dict[str, float]:
    """One pass; returns the mean of each loss term."""
    progress.model.train()
    network = parallel(progress.model, place)
    batches = epoch_batches(recipe, phase, samples, progress.epoch, place)
    totals: dict[str, float] = {}
    for index, batch in enumerate(shown(batches, progress.epoch, recipe.epochs, place)):
        rate = recipe.rate(progress.epoch + index / len(batches))
        terms = train_step(network, batch, recipe, progress, place, rate=rate)
        for name, term in terms.items():
            totals[name] = totals.get(name, 0.0) + term.item() / len(batches)
    return totals


def epoch_batches(
    recipe: Recipe, phase: Phase, samples: Samples, epoch: int, place: Place
) -> DataLoader[Batch]:
    batches = Batches(
        samples.portraits,
        recipe.repeats,
        batch=phase.batch // place.world,
        seed=recipe.seed,
        epoch=epoch,
        rank=place.rank,
        world=place.world,
    )
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=1,
        prefetch_factor=4,
        worker_init_fn=single_threaded,
        multiprocessing_context="fork",
    )


def train_step(
    network: nn.Module,
    batch: Batch,
    recipe: Recipe,
    progress: Progress,
    place: Place,
    *,
    rate: float,
) -> dict[str, Tensor]:
    image, truth = (part.to(place.device) for part in batch)
    image = image.float().contiguous(memory_format=torch.channels_last)
    with torch.autocast(place.device.type, torch.bfloat16):
        logits = network(image)
    terms = losses(logits.float(), truth.float() / 255, recipe.loss)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(progress.model.parameters(), recipe.optimiser.clip)
    progress.optimiser.step(rate)
    progress.step += 1
    update_average(progress, recipe.average)
    return terms


def losses(logits: Tensor, truth: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """The weighted terms by name; a term without weight costs nothing."""
    terms = {"cross_entropy": weights.cross_entropy * cross_entropy(logits, truth)}
    person = person_logit(logits).sigmoid()
    if weights.semantic_connectivity:
        terms["semantic_connectivity"] = weights.semantic_connectivity * semantic_connectivity_loss(
            person, truth, cold_start=weights.cold_start, soften_lone=weights.soften_lone
        )
    if weights.jaccard:
        terms["jaccard"] = weights.jaccard * jaccard_loss(person, truth)
    return terms


@torch.no_grad()
def update_average(progress: Progress, decay: float) -> None:
    """Exponential moving average of weights and batch norm statistics; young averages move fast."""
    weight = 1 - min(decay, (1 + progress.step) / (10 + progress.step))
    current = progress.model.state_dict()
    for name, value in progress.average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], weight)
        else:
            value.copy_(current[name])


def due(recipe: Recipe, epoch: int) -> bool:
    return epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs


def validate(
    recipe: Recipe, phase: Phase, progress: Progress, portraits: list[Portrait]
) -> dict[str, float]:
    """The image mean of both classes' IoU, by source."""
    segment = by_network(progress.average, size_hw=phase.size_hw, resize=recipe.resize)
    summaries = evaluate(segment, portraits)
    scores = {f"val/{source}": s["miou_image_mean"] for source, s in summaries.items()}
    return scores | {"val/connectivity": summaries[OVERALL]["connectivity"]}


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


def parallel(model: nn.Module, place: Place) -> nn.Module:
    if place.world == 1:
        return model
    return DistributedDataParallel(model)


def shown(batches: DataLoader[Batch], epoch: int, epochs: int, place: Place) -> Iterator[Batch]:
    if not place.first or not console.is_terminal:
        return iter(batches)
    return iter(track(batches, f"epoch {epoch + 1}/{epochs}", console=console, transient=True))


def find_place() -> Place:
    """From torchrun's environment, or alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    gpu = torch.cuda.is_available()
    if world > 1:
        dist.init_process_group("nccl" if gpu else "gloo")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    return Place(rank, world, torch.device(f"cuda:{local}" if gpu else "cpu"))


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
    start: Annotated[
        Path | None, typer.Option("--branch-from", help="a checkpoint of another run")
    ] = None,
    threads: Annotated[int, typer.Option(help="of each process")] = 1,
) -> None:
    """Trains a recipe, or goes on where it stopped."""
    keep_freed_memory()
    cv2.setNumThreads(0)
    torch.set_num_threads(threads)
    numbers = read_recipe(recipe)
    place = find_place()
    train(numbers, data, runs.expanduser() / numbers.name, place, start=start)
    if place.world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    typer.run(main)
