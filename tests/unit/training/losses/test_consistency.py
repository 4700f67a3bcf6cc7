"""Tests of the consistency loss: golden values, and a gradient of the student alone."""

import pytest
import torch

from training.losses.consistency import consistency

STUDENT = ((1.0, -1.0), (0.0, 0.0))
TEACHER = ((0.5, 0.2), (2.0, -1.0))


def logits(pixels) -> torch.Tensor:
    """Pairs of logits as [1,2,1,N]."""
    return torch.tensor(pixels, dtype=torch.float64).T[None, :, None]


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.199576), (2.0, 0.303585)])
def test_consistency_equals_its_golden_values(temperature, expected):
    loss = consistency(logits(STUDENT), logits(TEACHER), temperature=temperature)
    assert loss.item() == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("pixel", "expected"), [(0, 0.296020), (1, 0.502282)])
def test_consistency_is_half_the_divergence_of_a_pixel(pixel, expected):
    loss = consistency(logits([STUDENT[pixel]]), logits([TEACHER[pixel]]))
    assert loss.item() == pytest.approx(expected / 2, abs=5e-7)


def test_consistency_is_independent_of_the_number_of_pixels():
    loss = consistency(logits(STUDENT), logits(TEACHER))
    repeated_loss = consistency(logits(STUDENT * 6), logits(TEACHER * 6))
    torch.testing.assert_close(repeated_loss, loss)


def test_consistency_of_logits_equal_up_to_a_constant_is_zero():
    views = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    assert consistency(views, views).item() == pytest.approx(0, abs=1e-12)
    assert consistency(views + 3, views).item() == pytest.approx(0, abs=1e-12)


def test_consistency_gradient_moves_only_the_student():
    student, teacher = (logits(p).requires_grad_() for p in (STUDENT, TEACHER))
    consistency(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    towards = teacher.softmax(1) - student.softmax(1)
    assert torch.equal(student.grad.sign(), -towards.sign())
