"""Protocol between the training loop and the tasks."""

from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from silhouette_seg.vision.geometry import Size
from training.data.samplers import EpochPlan, SampleSpec

Batch = Any
"""NamedTuple of tensors; its class is that of the task's samples."""


class Task(Protocol):
    """One kind of network with its samples, losses and validation, built from a recipe."""

    def samples(self, size_hw: Size) -> Dataset[Any]:
        """Returns the dataset of one phase: NamedTuples of tensors, indexed by a SampleSpec."""
        ...

    def batch_sampler(self, plan: EpochPlan) -> Sampler[list[SampleSpec]]:
        """Returns the batches of one rank in one epoch."""
        ...

    def prepare(self, model: nn.Module) -> None:
        """Puts the model into training mode."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted loss terms of a batch by name; training minimises their sum."""
        ...

    def validate(self, model: nn.Module, size_hw: Size) -> dict[str, float]:
        """Measures the model on the validation split; figures named `val/...` are plotted."""
        ...
