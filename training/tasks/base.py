"""What the training loop asks of whatever is trained."""

from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from silhouette_seg.vision.geometry import Size
from training.data.samplers import EpochPlan, SampleSpec

Batch = Any
"""A NamedTuple of tensors, whichever the task's samples are."""


class Task(Protocol):
    """One kind of network with its samples, losses and validation. A function of a recipe."""

    def samples(self, size_hw: Size) -> Dataset[Any]:
        """Draws to NamedTuples of tensors, for one phase."""
        ...

    def batch_sampler(self, plan: EpochPlan) -> Sampler[list[SampleSpec]]:
        """Returns the batches of one rank in one epoch."""
        ...

    def prepare(self, model: nn.Module) -> None:
        """Puts the model into training mode."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of a batch by name; their sum is what is minimised."""
        ...

    def validate(self, model: nn.Module, size_hw: Size) -> dict[str, float]:
        """Figures on the validation split, by name; `val/...` ones are plotted."""
        ...
