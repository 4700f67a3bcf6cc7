"""Tasks of small recipes, with their networks and batches."""

from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from training.data.samplers import EpochPlan, SampleSpec
from training.data.samples import Sample
from training.models import build_model
from training.recipe import Recipe
from training.tasks import Task

SIZE = (64, 64)
PLAN = EpochPlan(batch=2, seed=0, epoch=0)


def make_recipe(model: str, loss: dict[str, float] | None = None, **extra: Any) -> Recipe:
    values = {
        "name": "made",
        "model": model,
        "seed": 1,
        "phases": [{"size_hw": SIZE, "epochs": 1, "batch": 4}],
        "optimiser": {"kind": "sgd", "rate": 0.1, "weight_decay": 0.0},
        "loss": loss or {},
    }
    return Recipe.model_validate(values | extra)


def training_model(task: Task, model_name: str, options: dict[str, Any] | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(model_name, options or {})
    task.prepare(model)
    return model


def make_batch(task: Task, photos: list[int]) -> Sample:
    samples = task.samples(SIZE)
    batch: Sample = default_collate([samples[SampleSpec(photo, photo)] for photo in photos])
    return batch


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.named_buffers()}


def equal_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def total_loss(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()
