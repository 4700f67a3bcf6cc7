"""Tests of the optimisers: steps, restored state, and Muon's views of the model's weights."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from training.models import build_model
from training.optimiser import ScheduledOptimiser, build_optimiser
from training.recipe import Optimiser


def build_small_model(seed: int = 0) -> nn.Module:
    """A dense 3x3, a depthwise 3x3, a pointwise and a thin last convolution, with batch norm."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
        nn.Conv2d(16, 8, 1),
        nn.Conv2d(8, 2, 1),
    )
    return model.to(memory_format=torch.channels_last)


DENSE = {"0.weight", "3.weight"}
KERNELS = {*DENSE, "2.weight", "4.weight"}


def settings(kind: str = "muon", **more: Any) -> Optimiser:
    numbers = {"kind": kind, "rate": 0.01, "weight_decay": 0.0, "cool_down": 1}
    return Optimiser.model_validate(numbers | more)


def set_gradients(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def take_steps(model: nn.Module, optimiser: ScheduledOptimiser, seeds: range) -> None:
    for seed in seeds:
        set_gradients(model, seed)
        optimiser.step(0.5)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def change(model: nn.Module, before: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def changed_names(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


KINDS = ["muon", "adamw", "sgd"]


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_optimiser_step_moves_every_weight_and_clears_gradients(self, kind):
        model = build_small_model()
        before, addresses = weights(model), [p.data_ptr() for p in model.parameters()]
        take_steps(model, build_optimiser(model, settings(kind)), range(1))
        assert all(step.any() for step in change(model, before).values())
        assert [p.data_ptr() for p in model.parameters()] == addresses
        assert all(p.grad is None for p in model.parameters())

    def test_optimiser_step_at_rate_zero_moves_no_weight(self, kind):
        model = build_small_model()
        before = weights(model)
        optimiser = build_optimiser(model, settings(kind, weight_decay=0.1))
        set_gradients(model, 0)
        optimiser.step(0)
        assert not any(step.any() for step in change(model, before).values())

    def test_optimiser_rate_scales_the_step(self, kind):
        steps = []
        for rate in (1.0, 0.25):
            model = build_small_model()
            before = weights(model)
            set_gradients(model, 0)
            build_optimiser(model, settings(kind)).step(rate)
            steps.append(change(model, before))
        for name, full in steps[0].items():
            torch.testing.assert_close(steps[1][name], full / 4, rtol=1e-2, atol=1e-6)

    def test_restored_optimiser_continues_identically(self, kind):
        model = build_small_model()
        optimiser = build_optimiser(model, settings(kind))
        take_steps(model, optimiser, range(3))
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        restored_model = build_small_model(seed=9)
        restored = build_optimiser(restored_model, settings(kind))
        restored_model.load_state_dict(state["model"])
        restored.load_state_dict(state["optimiser"])
        for network, network_optimiser in ((model, optimiser), (restored_model, restored)):
            take_steps(network, network_optimiser, range(3, 6))
        for name, expected in weights(model).items():
            assert torch.equal(restored_model.get_parameter(name), expected), name

    def test_branched_optimiser_uses_the_rates_of_its_recipe(self, kind):
        model = build_small_model()
        optimiser = build_optimiser(model, settings(kind))
        take_steps(model, optimiser, range(1))
        final_weights = []
        for decay in (0.0, 0.5):
            branch = build_small_model()
            branch.load_state_dict(model.state_dict())
            branch_optimiser = build_optimiser(branch, settings(kind, weight_decay=decay))
            branch_optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))
            take_steps(branch, branch_optimiser, range(1, 2))
            final_weights.append(weights(branch))
        assert changed_names(*final_weights) == KERNELS

    def test_weight_decay_spares_batch_norm_and_biases(self, kind):
        steps = []
        for decay in (0.0, 0.5):
            model = build_small_model()
            before = weights(model)
            optimiser = build_optimiser(model, settings(kind, weight_decay=decay))
            take_steps(model, optimiser, range(1))
            steps.append(change(model, before))
        assert changed_names(*steps) == KERNELS


def as_matrix(kernel: torch.Tensor | None) -> torch.Tensor:
    """Outputs by inputs, the inputs in the order of channels-last memory."""
    assert kernel is not None
    return torch.stack([output.permute(1, 2, 0).reshape(-1) for output in kernel])


def test_muon_updates_of_dense_kernels_are_nearly_orthogonal():
    model = build_small_model()
    before = weights(model)
    optimiser = build_optimiser(model, settings())
    set_gradients(model, 0)
    for name in DENSE:
        # far from orthogonal: one direction a hundred times the others
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        gradient[0] *= 100
    gradients = {name: as_matrix(model.get_parameter(name).grad) for name in DENSE}
    optimiser.step(1)
    for name, gradient in gradients.items():
        update = as_matrix(change(model, before)[name])
        stretches = torch.linalg.svdvals(update)
        assert stretches.max() / stretches.min() < 2, name
        u, _, v = torch.linalg.svd(gradient, full_matrices=False)
        nearest = (u @ v).flatten()
        assert torch.cosine_similarity(-update.flatten(), nearest, dim=0) > 0.97, name


def test_muon_leaves_depthwise_thin_and_vectors_to_adamw():
    model = build_small_model()
    before = weights(model)
    take_steps(model, build_optimiser(model, settings(rate=0.0)), range(1))
    changed = {name for name, step in change(model, before).items() if step.any()}
    assert changed == DENSE


def test_muon_accepts_gradients_in_any_memory_layout():
    steps = []
    for layout in (torch.channels_last, torch.contiguous_format):
        model = build_small_model()
        before = weights(model)
        optimiser = build_optimiser(model, settings())
        set_gradients(model, 0)
        for parameter in model.parameters():
            assert parameter.grad is not None
            if parameter.ndim == 4:
                parameter.grad = parameter.grad.contiguous(memory_format=layout)
        optimiser.step(1)
        steps.append(change(model, before))
    for name, step in steps[0].items():
        assert torch.equal(step, steps[1][name]), name


def test_muon_rejects_kernels_without_channels_last_memory():
    contiguous = build_small_model().to(memory_format=torch.contiguous_format)
    with pytest.raises(ValueError, match="channels-last"):
        build_optimiser(contiguous, settings())


def test_muon_of_connectnet_has_all_but_depthwise_and_last_kernels():
    model = build_model("connectnet", {}).to(memory_format=torch.channels_last)
    before = weights(model)
    take_steps(model, build_optimiser(model, settings(rate=0.0)), range(1))
    convolutions = {
        f"{name}.weight": m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)
    }
    expected = {name for name, m in convolutions.items() if m.groups == 1 and m.out_channels > 2}
    assert {name for name, step in change(model, before).items() if step.any()} == expected
