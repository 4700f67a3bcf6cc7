"""Tests of semantic connectivity: a table of golden values, and properties of the loss."""

import numpy as np
import pytest
import torch

from training.losses.semantic_connectivity import (
    semantic_connectivity,
    semantic_connectivity_loss,
)

Boxes = list[tuple[int, int, int, int]]


def mask(boxes: Boxes) -> np.ndarray:
    picture = np.zeros((16, 16), bool)
    for top, left, bottom, right in boxes:
        picture[top:bottom, left:right] = True
    return picture


BIG, SPECK = (2, 2, 8, 8), (12, 12, 14, 14)

GOLDEN = [
    pytest.param([BIG], [BIG], 1.0, 0.0, 0.1, id="identical"),
    pytest.param([(2, 3, 8, 9)], [BIG], 0.714286, 0.285714, 0.347826, id="shifted"),
    pytest.param([(2, 2, 8, 4), (2, 6, 8, 8)], [BIG], 0.333333, 0.666667, 0.7, id="split"),
    pytest.param([BIG, SPECK], [BIG], 0.5, 0.5, 0.55, id="lone prediction"),
    pytest.param([BIG], [BIG, SPECK], 0.5, 0.5, 0.55, id="missed truth"),
    pytest.param(
        [(2, 2, 8, 14)], [(2, 2, 8, 6), (2, 10, 8, 14)], 0.333333, 0.666667, 0.678572, id="bridge"
    ),
    pytest.param([SPECK], [BIG], 0.0, 0.15625, 0.239062, id="disjoint"),
    pytest.param([], [BIG], 0.0, 0.140625, 0.226562, id="empty prediction"),
    pytest.param([BIG], [], 0.0, 0.140625, 0.2125, id="empty truth"),
    pytest.param([], [], 1.0, 0.0, 0.1, id="both empty"),
    pytest.param([(2, 2, 4, 4), (4, 4, 6, 6)], [(2, 2, 6, 6)], 0.5, 0.5, 0.55, id="diagonal touch"),
]


@pytest.mark.parametrize(("prediction", "truth", "sc", "hard", "soft"), GOLDEN)
def test_connectivity_equals_its_golden_values(
    prediction: Boxes, truth: Boxes, sc: float, hard: float, soft: float
) -> None:
    p, g = mask(prediction), mask(truth)
    probability = torch.from_numpy(p).float()[None]
    target = torch.from_numpy(g).float()[None]
    assert semantic_connectivity(p, g) == pytest.approx(sc, abs=1e-6)
    assert semantic_connectivity_loss(probability, target).item() == pytest.approx(hard, abs=1e-6)
    softened = 0.1 + 0.8 * probability
    assert semantic_connectivity_loss(softened, target).item() == pytest.approx(soft, abs=1e-6)


@pytest.mark.parametrize("prediction", [[SPECK], []])
def test_cold_start_missed_counts_the_missed_person(prediction: Boxes) -> None:
    probability = torch.where(torch.from_numpy(mask(prediction)), 0.9, 0.1)[None]
    truth = torch.from_numpy(mask([BIG])).float()[None]
    loss = semantic_connectivity_loss(probability, truth, cold_start="missed")
    assert loss.item() == pytest.approx(1.126562, abs=1e-6)


def test_connectivity_loss_of_a_batch_is_its_mean() -> None:
    probability = torch.stack([torch.from_numpy(mask(b)).float() for b in ([BIG], [BIG, SPECK])])
    truth = torch.from_numpy(mask([BIG])).float().expand(2, -1, -1)
    assert semantic_connectivity_loss(probability, truth).item() == pytest.approx(0.25)


def test_connectivity_gradient_raises_the_person_and_lowers_the_rest() -> None:
    probability = torch.where(torch.from_numpy(mask([(2, 3, 8, 9)])), 0.9, 0.1)[None]
    probability.requires_grad_()
    semantic_connectivity_loss(probability, torch.from_numpy(mask([BIG])).float()[None]).backward()
    assert probability.grad is not None
    assert (probability.grad[0, 3:7, 4:7] < 0).all(), "inside both, more is better"
    assert (probability.grad[0, 3:7, 8] > 0).all(), "predicted outside the truth, less is better"


def test_softened_lone_components_equal_the_paper_when_hard() -> None:
    hard = torch.from_numpy(mask([BIG, SPECK])).float()[None]
    truth = torch.from_numpy(mask([BIG])).float()[None]
    assert semantic_connectivity_loss(hard, truth, soften_lone=True).item() == pytest.approx(0.5)
    soft = (0.1 + 0.8 * hard).requires_grad_()
    semantic_connectivity_loss(soft, truth, soften_lone=True).backward()
    assert soft.grad is not None
    assert (soft.grad[0, 12:14, 12:14] > 0).all()


def test_connectivity_counts_the_nine_largest_of_many_specks() -> None:
    specks = [
        (row, column, row + 1, column + 1) for row in (10, 12, 14) for column in range(0, 16, 2)
    ]
    sc = semantic_connectivity(mask([BIG, *specks]), mask([BIG]))
    assert sc == pytest.approx(1 / 9)
