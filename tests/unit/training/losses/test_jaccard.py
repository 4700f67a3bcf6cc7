"""Tests of the soft Jaccard loss against areas counted by hand."""

import pytest
import torch

from training.losses.jaccard import jaccard_loss


def box(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    picture = torch.zeros(1, 8, 8)
    picture[:, top:bottom, left:right] = 1
    return picture


def test_jaccard_weights_both_classes_equally():
    truth, prediction = box(0, 0, 8, 6), box(0, 0, 8, 7)
    person, background = 48 / 56, 8 / 16
    assert jaccard_loss(prediction, truth).item() == pytest.approx(1 - (person + background) / 2)


def test_jaccard_sums_soft_probabilities_as_areas():
    truth = box(0, 0, 8, 4)
    prediction = 0.25 + 0.5 * truth
    person = 32 * 0.75 / (32 * 1 + 32 * 0.25)
    assert jaccard_loss(prediction, truth).item() == pytest.approx(1 - person)


def test_jaccard_weights_every_photo_equally():
    truth = torch.cat([box(0, 0, 8, 4), box(0, 0, 8, 4)])
    prediction = torch.cat([box(0, 0, 8, 4), box(0, 4, 8, 8)])
    assert jaccard_loss(prediction, truth).item() == pytest.approx(0.5)


def test_jaccard_of_an_empty_photo_is_zero_with_finite_gradient():
    prediction = torch.zeros(1, 8, 8, requires_grad=True)
    loss = jaccard_loss(prediction, torch.zeros(1, 8, 8))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_jaccard_gradient_raises_the_person_and_lowers_the_rest():
    truth = box(2, 2, 6, 6)
    prediction = torch.full((1, 8, 8), 0.5, requires_grad=True)
    jaccard_loss(prediction, truth).backward()
    assert prediction.grad is not None
    assert (prediction.grad[truth > 0] < 0).all()
    assert (prediction.grad[truth == 0] > 0).all()
