"""Optimisers by name: Muon for dense kernels with AdamW for the rest, AdamW alone, SGD."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon

from training.recipe import Optimiser


class ScheduledOptimiser(Protocol):
    """Protocol of an optimiser for the training loop."""

    def step(self, rate: float) -> None:
        """Updates the weights at `rate` times the recipe's rates, then clears the gradients."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class TorchOptimiser:
    """Adapts an optimiser of torch to scheduled rates."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self.optimiser = optimiser
        self.rates = [group["lr"] for group in optimiser.param_groups]

    def step(self, rate: float) -> None:
        for group, base_rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = base_rate * rate
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # Rates, decay and momentum are those of the recipe: a branch may have another recipe.
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict(state | {"param_groups": groups})


class MuonAndAdamW:
    """Muon (Jordan 2024, kellerjordan.github.io/posts/muon) on every dense convolution.

    Muon orthogonalises the update of a matrix: kernels as outputs x inputs. Depthwise kernels and
    batch norm go to AdamW.
    """

    def __init__(self, model: nn.Module, settings: Optimiser) -> None:
        self.dense = [p for p in model.parameters() if _is_dense(p)]
        # Muon accepts only matrices: two-dimensional views that share the weights' memory.
        self.matrices = [_as_matrix(p.detach()) for p in self.dense]
        if any(
            m.data_ptr() != p.data_ptr() for m, p in zip(self.matrices, self.dense, strict=True)
        ):
            raise ValueError("the model's kernels must lie in channels-last memory")
        others = [p for p in model.parameters() if not _is_dense(p)]
        self.muon = TorchOptimiser(
            Muon(self.matrices, lr=settings.muon_rate, weight_decay=settings.weight_decay)
        )
        self.adamw = TorchOptimiser(AdamW(_decay_groups(others, settings), lr=settings.rate))

    def step(self, rate: float) -> None:
        for matrix, weight in zip(self.matrices, self.dense, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)
        self.muon.step(rate)
        self.adamw.step(rate)
        for weight in self.dense:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def build_optimiser(model: nn.Module, settings: Optimiser) -> ScheduledOptimiser:
    """Builds the optimiser of the recipe over all parameters of the model."""
    builders: Mapping[str, Callable[[], ScheduledOptimiser]] = {
        "muon": lambda: MuonAndAdamW(model, settings),
        "adamw": lambda: TorchOptimiser(
            AdamW(_decay_groups(list(model.parameters()), settings), lr=settings.rate)
        ),
        "sgd": lambda: TorchOptimiser(
            SGD(
                _decay_groups(list(model.parameters()), settings),
                lr=settings.rate,
                momentum=settings.momentum,
            )
        ),
    }
    return builders[settings.kind]()


def _is_dense(parameter: Tensor) -> bool:
    """Returns True for a convolution across channels with more than two inputs and outputs."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) > 2


def _as_matrix(kernel: Tensor) -> Tensor:
    """Returns a view [O, H*W*I] of a kernel [O,I,H,W] in channels-last memory."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _decay_groups(parameters: list[nn.Parameter], settings: Optimiser) -> list[dict[str, Any]]:
    """Returns parameter groups with weight decay on kernels, not on biases and batch norm."""
    return [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
