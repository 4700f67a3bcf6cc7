"""Tests of the self-supervised loss: golden values, and a gradient of one branch alone."""

import pytest
import torch

from training.losses.self_supervised import self_supervised_loss

OWN = ((1.0, -1.0), (0.0, 0.5))
OTHERS = (((0.2, 0.1), (-1.0, 1.0)), ((2.0, 0.0), (0.3, 0.3)))


def logits(pixels) -> torch.Tensor:
    """Pairs of logits as [1,2,1,N]."""
    return torch.tensor(pixels, dtype=torch.float64).T[None, :, None]


def test_self_supervised_loss_equals_its_golden_value():
    loss = self_supervised_loss(logits(OWN), [logits(other) for other in OTHERS])
    assert loss.item() == pytest.approx(0.675015, abs=5e-7)


@pytest.mark.parametrize(("pixel", "expected"), [(0, 0.721152), (1, 0.628878)])
def test_self_supervised_pixels_equal_their_golden_values(pixel, expected):
    others = [logits([other[pixel]]) for other in OTHERS]
    assert self_supervised_loss(logits([OWN[pixel]]), others).item() == pytest.approx(
        expected, abs=5e-7
    )


def test_self_supervised_target_is_the_mean_of_probabilities():
    confident, uncertain = logits([(20.0, -20.0)]), logits([(-1.0, 1.0)])
    own = logits([(0.5, 0.0)]).requires_grad_()
    self_supervised_loss(own, [confident, uncertain]).backward()
    assert own.grad is not None
    share = (1 + uncertain.softmax(1)[0, 0, 0, 0]) / 2
    expected = own.softmax(1)[0, 0, 0, 0] - share
    torch.testing.assert_close(own.grad[0, 0, 0, 0], expected)


def test_self_supervised_loss_gives_other_branches_no_gradient():
    own, *others = (logits(pixels).requires_grad_() for pixels in (OWN, *OTHERS))
    self_supervised_loss(own, others).backward()
    assert [other.grad for other in others] == [None, None]
    assert own.grad is not None
    assert own.grad.all()


def test_self_supervised_loss_of_agreement_is_the_entropy():
    own = logits(OWN)
    shares = own.softmax(1)
    entropy = -(shares * shares.log()).sum(1).mean()
    torch.testing.assert_close(self_supervised_loss(own, [own, own]), entropy)
    loss = self_supervised_loss(own + 0.1 * logits(((1.0, -1.0), (-1.0, 1.0))), [own])
    assert loss > entropy, "and nothing costs less"
