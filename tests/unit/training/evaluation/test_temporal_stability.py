"""Golden values of the metrics of clips."""

import cv2
import numpy as np
import pytest

from training.evaluation.temporal_stability import dtssd, previous_positions, warped_iou

HW = (64, 96)


def level(value: int) -> np.ndarray:
    return np.full(HW, value, np.uint8)


def square(left: int, top: int = 16) -> np.ndarray:
    alpha = np.zeros(HW, np.uint8)
    alpha[top : top + 32, left : left + 32] = 255
    return alpha


def identity_positions(count: int) -> list[np.ndarray]:
    y, x = np.indices(HW, np.float32)
    return [np.dstack([x, y])] * count


def shifted_positions(columns: int) -> np.ndarray:
    """Returns positions of pixels that moved right by that many columns."""
    return identity_positions(1)[0] - np.array([columns, 0], np.float32)


class TestDtssd:
    def test_dtssd_of_equal_changes_is_zero(self):
        truths = [square(10), square(13), square(30)]
        assert dtssd(truths, truths) == 0

    def test_dtssd_of_a_constant_error_is_zero(self):
        assert dtssd([level(51), level(102)], [level(0), level(51)]) == pytest.approx(0, abs=1e-5)

    def test_dtssd_of_a_jump_by_a_fifth_is_20(self):
        assert dtssd([level(0), level(51)], [level(0), level(0)]) == pytest.approx(20)
        assert dtssd([level(0), level(0)], [level(51), level(0)]) == pytest.approx(20)

    def test_dtssd_adds_changes_of_opposite_sign(self):
        assert dtssd([level(0), level(51)], [level(51), level(0)]) == pytest.approx(40)

    def test_dtssd_takes_root_over_pixels_then_mean(self):
        """A quarter of the pixels jumps once: 50 for the first pair, 0 for the second."""
        corner = level(0)
        corner[:32, :48] = 255
        assert dtssd([level(0), corner, corner], [level(0)] * 3) == pytest.approx(25)

    @pytest.mark.parametrize(("masks", "truths"), [(1, 1), (3, 2), (0, 0)])
    def test_dtssd_of_unpaired_masks_raises(self, masks, truths):
        with pytest.raises(ValueError, match="references"):
            dtssd([level(0)] * masks, [level(0)] * truths)


class TestWarpedIou:
    def test_warped_iou_of_a_still_mask_is_100(self):
        assert warped_iou([square(10)] * 3, identity_positions(2)) == 100

    def test_warped_iou_of_half_an_overlap_is_a_third(self):
        assert warped_iou([square(10), square(26)], identity_positions(1)) == pytest.approx(100 / 3)

    def test_warped_iou_follows_the_motion_of_the_picture(self):
        assert warped_iou([square(10), square(26)], [shifted_positions(16)]) == 100
        assert warped_iou([square(10), square(10)], [shifted_positions(16)]) == pytest.approx(
            100 / 3
        )

    def test_warped_iou_of_empty_masks_is_100(self):
        empty = level(0)
        assert warped_iou([empty, empty], identity_positions(1)) == 100
        assert warped_iou([empty, empty, square(10)], identity_positions(2)) == 50

    @pytest.mark.parametrize(("masks", "positions"), [(1, 0), (2, 2), (3, 1)])
    def test_warped_iou_of_unpaired_positions_raises(self, masks, positions):
        with pytest.raises(ValueError, match=r"two frames|shorter|longer"):
            warped_iou([square(10)] * masks, identity_positions(positions))


def test_previous_positions_recover_a_known_shift():
    """The textured picture moves right by 3 and down by 2 pixels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, 24, 3), np.uint8)
    before = cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_CUBIC)
    image = np.roll(before, (2, 3), axis=(0, 1))
    inner = (slice(12, -12), slice(12, -12))
    found = previous_positions(image, before) - identity_positions(1)[0]
    assert found.dtype == np.float32
    assert np.median(found[inner], axis=(0, 1)) == pytest.approx([-3, -2], abs=0.2)
