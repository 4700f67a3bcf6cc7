"""Tests of the face detector's losses against golden values, and of the cells with gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses.faces import BOX_HEAT_THRESHOLD, box_loss, generalised_iou, heat_loss, heat_map

HAS_FACE = torch.tensor([True])

sides = st.floats(0.01, 1)
corners = st.floats(-1, 1)
boxes = st.tuples(corners, corners, sides, sides)


def box(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


class TestHeatMap:
    def test_heat_map_is_one_only_in_the_centre_cell(self):
        # Centre at row 0.45 x 10 = 4.5, column 0.75 x 20 = 15.
        heat = heat_map(box(0.3, 0.7, 0.3, 0.1), HAS_FACE, (10, 20))
        assert heat.shape == (1, 10, 20)
        assert (heat == 1).nonzero().tolist() == [[0, 4, 15]]

    def test_heat_map_falls_with_the_size_of_the_face(self):
        heat = heat_map(box(0, 0, 0.7, 0.35), HAS_FACE, (40, 40))
        # One standard deviation is a seventh of the side: 4 cells down, 2 across.
        row, column = 14, 7
        assert heat[0, row, column] == 1
        assert heat[0, row + 4, column].item() == pytest.approx(math.exp(-0.5), abs=1e-6)
        assert heat[0, row, column + 2].item() == pytest.approx(math.exp(-0.5), abs=1e-6)

    def test_heat_map_of_a_tiny_face_stays_in_one_cell(self):
        heat = heat_map(box(0.5, 0.5, 0.01, 0.01), HAS_FACE, (10, 10))
        assert (heat > BOX_HEAT_THRESHOLD).sum() == 1

    def test_heat_map_without_a_face_is_zero(self):
        assert not heat_map(torch.zeros(1, 4), torch.tensor([False]), (10, 10)).any()

    def test_heat_map_keeps_a_centre_on_the_far_border(self):
        assert heat_map(box(1, 1, 0, 0), HAS_FACE, (10, 10))[0, 9, 9] == 1


class TestHeatLoss:
    def test_heat_loss_equals_its_golden_values(self):
        # p = 0.5 in both cells: (1 - p)^2 log 2 at the centre, (1 - heat)^4 p^2 log 2 beside it.
        loss = heat_loss(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.5]]]), torch.ones(1, 1, 2))
        assert loss.item() == pytest.approx(0.25 * math.log(2) * (1 + 0.5**4))

    def test_heat_loss_ignores_uncounted_cells_except_centres(self):
        logits = torch.tensor([[[9.0, 0.0]]], requires_grad=True)
        heat_loss(logits, torch.tensor([[[0.0, 1.0]]]), torch.zeros(1, 1, 2)).backward()
        assert logits.grad is not None
        assert logits.grad[0, 0, 0] == 0
        assert logits.grad[0, 0, 1] < 0

    def test_heat_loss_without_a_face_penalises_every_cell(self):
        loss_without_alarm, loss_with_alarm = (
            heat_loss(torch.full((1, 4, 4), logit), torch.zeros(1, 4, 4), torch.ones(1, 4, 4))
            for logit in (-6.0, 2.0)
        )
        assert 0 <= loss_without_alarm < 1e-3 < loss_with_alarm


class TestGeneralisedIou:
    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            pytest.param((0, 0, 1, 1), (0, 0, 1, 1), 1.0, id="the same"),
            pytest.param((0, 0, 2, 2), (0, 1, 2, 2), 1 / 3, id="half over half, a full hull"),
            pytest.param((0, 0, 1, 1), (0, 2, 1, 1), -1 / 3, id="apart by their own width"),
            pytest.param((0, 0, 2, 2), (1, 1, 2, 2), 1 / 7 - 2 / 9, id="across a corner"),
        ],
    )
    def test_generalised_iou_equals_its_golden_values(self, one, other, expected):
        assert generalised_iou(box(*one), box(*other)).item() == pytest.approx(expected, abs=1e-6)

    @given(one=boxes, other=boxes)
    def test_generalised_iou_is_symmetric_and_bounded(self, one, other):
        value = generalised_iou(box(*one), box(*other)).item()
        assert value == pytest.approx(generalised_iou(box(*other), box(*one)).item(), abs=1e-5)
        assert -1 - 1e-5 <= value <= 1 + 1e-5


class TestBoxLoss:
    def test_box_loss_has_gradients_only_near_the_centre(self):
        truth = box(0.2, 0.2, 0.5, 0.5)
        heat = heat_map(truth, HAS_FACE, (16, 16))
        guesses = box(0.1, 0.3, 0.5, 0.4).expand(1, 256, 4).clone().requires_grad_()
        box_loss(guesses, truth, heat).backward()
        assert guesses.grad is not None
        has_gradient = guesses.grad.abs().sum(-1)[0] > 0
        assert torch.equal(has_gradient, heat.flatten() > BOX_HEAT_THRESHOLD)
        assert 1 < has_gradient.sum() < 40

    def test_box_loss_weights_large_and_small_faces_equally(self):
        truth = torch.tensor([[0.1, 0.1, 0.8, 0.8], [0.5, 0.5, 0.02, 0.02]])
        heat = heat_map(truth, torch.tensor([True, True]), (16, 16))
        right = truth[:, None].expand(2, 256, 4)
        wrong = torch.zeros(2, 256, 4)
        losses = [
            box_loss(torch.stack([first, second]), truth, heat).item()
            for first, second in [(right[0], right[1]), (wrong[0], right[1]), (right[0], wrong[1])]
        ]
        assert losses[0] == pytest.approx(0, abs=1e-6)
        assert 0.45 < losses[1] <= 1
        assert 0.45 < losses[2] <= 1

    def test_box_loss_without_a_face_is_zero(self):
        assert box_loss(torch.zeros(1, 16, 4), torch.zeros(1, 4), torch.zeros(1, 4, 4)) == 0
