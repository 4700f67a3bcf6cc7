"""Tests of pixel weights in the losses: zero, half and full weight."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.losses.cross_entropy import cross_entropy
from training.losses.edges import balanced_edge_loss, focal_edge_loss
from training.losses.jaccard import jaccard_loss

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def of_classes(loss: Loss) -> Loss:
    """The loss for person logits [N,H,W], given as two classes."""
    return lambda logits, truth, pixel_weight: loss(
        torch.stack([torch.zeros_like(logits), logits], 1), truth, pixel_weight
    )


LOSSES = [
    pytest.param(of_classes(cross_entropy), id="cross entropy"),
    pytest.param(
        lambda x, truth, pixel_weight: jaccard_loss(x.sigmoid(), truth, pixel_weight), id="jaccard"
    ),
    pytest.param(of_classes(focal_edge_loss), id="focal edges"),
    pytest.param(balanced_edge_loss, id="balanced edges"),
]


def example() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    truth = torch.zeros(2, 8, 8)
    truth[:, 2:6, 1:5] = 1
    return torch.randn(2, 8, 8), truth


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_with_full_pixel_weight_is_unchanged(loss):
    logits, truth = example()
    torch.testing.assert_close(
        loss(logits, truth, torch.ones_like(truth)), loss(logits, truth, None)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_pixels_without_weight_has_no_gradient(loss):
    logits, truth = example()
    logits.requires_grad_()
    pixel_weight = torch.ones_like(truth)
    pixel_weight[:, 3:5, :] = 0
    loss(logits, truth, pixel_weight).backward()
    assert logits.grad is not None
    assert not logits.grad[pixel_weight == 0].any()
    assert (logits.grad[pixel_weight == 1] != 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_a_photo_without_weight_is_zero(loss):
    logits, truth = example()
    logits.requires_grad_()
    value = loss(logits, truth, torch.zeros_like(truth))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_a_half_weighted_photo_is_halved(loss):
    logits, truth = example()
    pixel_weight = torch.ones_like(truth)
    pixel_weight[1] = 0.5

    def gradients(pixel_weight: Tensor | None) -> Tensor:
        inputs = logits.clone().requires_grad_()
        loss(inputs, truth, pixel_weight).backward()
        assert inputs.grad is not None
        return inputs.grad

    full, halved = gradients(None), gradients(pixel_weight)
    ratio = (halved[1] / halved[0]) / (full[1] / full[0])
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5), rtol=1e-3, atol=1e-3)
