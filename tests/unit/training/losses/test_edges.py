"""Tests of edge labels against counts by hand, and of edge losses against golden values."""

import math

import cv2
import numpy as np
import pytest
import torch

from training.losses.edges import (
    balanced_edge_loss,
    contour_bands,
    focal_edge_loss,
    gradient_edges,
)

SIDE = 32


def box(top: int, left: int, bottom: int, right: int, *, side: int = SIDE) -> torch.Tensor:
    """uint8 [1,side,side], 255 inside."""
    mask = torch.zeros(1, side, side, dtype=torch.uint8)
    mask[:, top:bottom, left:right] = 255
    return mask


class TestFocal:
    LOGITS = torch.tensor([(2.0, 0.0), (0.0, 1.0), (-1.0, 1.0), (0.5, 0.5)], dtype=torch.float64)
    EDGES = torch.tensor([0, 0, 1, 1])

    def test_focal_loss_equals_its_golden_mean(self):
        loss = focal_edge_loss(self.LOGITS.T[None, :, None], self.EDGES[None, None])
        assert loss.item() == pytest.approx(0.219691, abs=5e-7)

    @pytest.mark.parametrize(
        ("pixel", "expected"), list(enumerate([0.001804, 0.701868, 0.001804, 0.173287]))
    )
    def test_focal_loss_equals_its_golden_pixels(self, pixel, expected):
        logits = self.LOGITS[pixel].view(1, 2, 1, 1)
        loss = focal_edge_loss(logits, self.EDGES[pixel].view(1, 1, 1))
        assert loss.item() == pytest.approx(expected, abs=5e-7)

    def test_focal_loss_without_focus_is_cross_entropy(self):
        logits, edges = self.LOGITS.T[None, :, None], self.EDGES[None, None]
        plain = torch.nn.functional.cross_entropy(logits, edges)
        torch.testing.assert_close(focal_edge_loss(logits, edges, gamma=0), plain)

    def test_focal_factor_is_constant_for_the_gradient(self):
        logits = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).requires_grad_()
        focal_edge_loss(logits, torch.zeros(1, 1, 1)).backward()
        p = 1 / (1 + math.e)
        # of cross entropy: softmax minus the label; times the factor and nothing else
        expected = (1 - p) ** 2 * torch.tensor([p - 1, 1 - p])
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad.flatten(), expected)


class TestBalanced:
    LOGITS = torch.tensor([2.0, -1.0, 0.0, -3.0, 0.5, -2.0], dtype=torch.float64)
    EDGES = torch.tensor([1, 0, 0, 0, 1, 0])

    def test_balanced_loss_equals_its_golden_value(self):
        loss = balanced_edge_loss(self.LOGITS.view(1, 2, 3), self.EDGES.view(1, 2, 3))
        assert loss.item() == pytest.approx(0.132441, abs=5e-7)
        assert loss.item() * 6 == pytest.approx(0.794645, abs=5e-6)

    def test_balanced_beta_is_computed_for_each_photo(self):
        logits = torch.stack([self.LOGITS, -self.LOGITS]).view(2, 2, 3)
        edges = torch.stack([self.EDGES, torch.tensor([1, 1, 1, 1, 0, 1])]).view(2, 2, 3)
        alone = [balanced_edge_loss(logits[[n]], edges[[n]]) for n in range(2)]
        assert abs(alone[0] - alone[1]) > 0.01
        torch.testing.assert_close(balanced_edge_loss(logits, edges), sum(alone) / 2)

    def test_balanced_loss_weights_edge_and_rest_equally(self):
        logits = torch.zeros(1, SIDE, SIDE, requires_grad=True)
        edges = gradient_edges(box(4, 4, 20, 12))
        balanced_edge_loss(logits, edges).backward()
        assert logits.grad is not None
        assert logits.grad[edges > 0].sum() < 0
        assert logits.grad.sum().item() == pytest.approx(0, abs=1e-6)

    def test_balanced_loss_without_an_edge_is_zero_and_finite(self):
        logits = torch.randn(1, 4, 4, requires_grad=True)
        loss = balanced_edge_loss(logits, torch.zeros(1, 4, 4, dtype=torch.uint8))
        loss.backward()
        assert loss.item() == 0
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


class TestGradientEdges:
    def test_gradient_edge_is_one_pixel_on_either_side(self):
        expected = box(7, 9, 21, 25) - box(9, 11, 19, 23)
        assert torch.equal(gradient_edges(box(8, 10, 20, 24)), expected // 255)

    def test_gradient_edges_ignore_the_border_of_the_photo(self):
        edges = gradient_edges(box(0, 0, SIDE, 10))
        assert edges.sum(2).tolist() == [[2] * SIDE]
        assert edges[0, :, 9:11].all()

    def test_gradient_edges_include_holes(self):
        ring = box(4, 4, 28, 28) - box(12, 12, 20, 20)
        hole = box(11, 11, 21, 21) - box(13, 13, 19, 19)
        outer = box(3, 3, 29, 29) - box(5, 5, 27, 27)
        assert torch.equal(gradient_edges(ring), (hole + outer) // 255)

    @pytest.mark.parametrize("level", [0, 255])
    def test_gradient_edges_of_a_flat_mask_are_empty(self, level):
        edges = gradient_edges(torch.full((2, 8, 8), level, dtype=torch.uint8))
        assert edges.dtype == torch.uint8
        assert not edges.any()

    def test_gradient_edges_threshold_soft_masks_at_half(self):
        soft = box(8, 10, 20, 24)
        soft[soft > 0] = 128
        assert torch.equal(gradient_edges(soft), gradient_edges(box(8, 10, 20, 24)))
        soft[soft > 0] = 127
        assert not gradient_edges(soft).any()


def boundary_distance(mask: torch.Tensor) -> np.ndarray:
    """Returns the distance of each pixel to the nearest person pixel next to background."""
    person = mask[0].numpy()
    contour = person - cv2.erode(person, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    return np.asarray(cv2.distanceTransform(255 - contour, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


class TestContourBands:
    @pytest.mark.parametrize("row", [12, 16, 20])
    def test_contour_band_of_a_straight_side_is_about_four_pixels(self, row):
        band = contour_bands(box(8, 10, 24, 24))[0]
        columns = torch.nonzero(band[row])[:, 0]
        left, right = columns[columns < 16], columns[columns > 18]
        for side, contour in ((left, 10), (right, 23)):
            assert 4 <= len(side) <= 5, "OpenCV draws an even thickness one wider"
            assert contour - 2 <= side.min() <= contour <= side.max() <= contour + 2

    def test_contour_bands_include_outer_and_inner_contours(self):
        ring = box(4, 4, 28, 28) - box(12, 12, 20, 20)
        band = contour_bands(ring)[0].numpy()
        distance = boundary_distance(ring)
        assert band[distance == 0].all()
        assert not band[distance > 3].any()
        hole = band[10:22, 10:22]
        assert hole.any()
        assert not hole[5:7, 5:7].any(), "the middle of the hole"

    def test_contour_bands_include_every_person_of_every_photo(self):
        masks = torch.cat([box(2, 2, 10, 10) | box(18, 18, 30, 30), box(8, 8, 24, 24)])
        bands = contour_bands(masks)
        assert (bands.shape, bands.dtype) == (masks.shape, torch.uint8)
        assert set(bands.unique().tolist()) == {0, 1}
        assert bands[0, 2:10, 2].all()
        assert bands[0, 18:30, 29].all()
        assert not bands[0, 12:16, 12:16].any()
        assert torch.equal(bands[1:], contour_bands(masks[1:]))

    def test_contour_bands_of_an_empty_mask_are_empty(self):
        assert not contour_bands(torch.zeros(2, 16, 16, dtype=torch.uint8)).any()

    def test_contour_bands_threshold_soft_masks_at_half(self):
        soft = box(8, 10, 20, 24)
        soft[soft > 0] = 128
        assert torch.equal(contour_bands(soft), contour_bands(box(8, 10, 20, 24)))
        soft[soft > 0] = 127
        assert not contour_bands(soft).any()
