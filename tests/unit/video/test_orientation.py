"""Tests of the orientation and the shape of video frames."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.errors import ServiceError
from silhouette_seg.video.orientation import FrameShape, fit_into, rotate_upright
from silhouette_seg.video.reader import DecodedFrame, VideoInfo, VideoReader
from silhouette_seg.vision.codec.header import ImageLimits
from tests.support.videos import disc_frame, make_turned_video

ONE = 65536
STORED = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)

sides = st.integers(1, 60)
aspects = st.sampled_from([Fraction(1), Fraction(16, 11), Fraction(12, 11), Fraction(1, 2)])
shapes = st.builds(FrameShape, st.tuples(sides, sides), aspects)


@pytest.mark.parametrize(
    ("abcd", "wanted"),
    [
        ((1, 0, 0, 1), STORED),
        ((-1, 0, 0, 1), STORED[:, ::-1]),
        ((1, 0, 0, -1), STORED[::-1]),
        ((-1, 0, 0, -1), STORED[::-1, ::-1]),
        ((0, -1, 1, 0), np.rot90(STORED)),
        ((0, 1, -1, 0), np.rot90(STORED, -1)),
        ((0, 1, 1, 0), STORED.transpose(1, 0, 2)),
        ((0, -1, -1, 0), np.rot90(STORED, 2).transpose(1, 0, 2)),
    ],
)
def test_display_matrix_turns_stored_image_upright(abcd, wanted):
    a, b, c, d = (ONE * share for share in abcd)
    assert np.array_equal(rotate_upright(STORED, (a, b, 0, c, d, 0, 0, 0, 1 << 30)), wanted)


def test_image_without_display_matrix_stays_unchanged():
    assert rotate_upright(STORED, None) is STORED


@given(shapes, shapes)
def test_fitted_image_is_whole_centred_and_not_stretched(own, shape):
    fitted = fit_into(np.full((*own.size_hw, 3), 255, np.uint8), own, shape)
    assert fitted.shape == (*shape.size_hw, 3)
    rows, columns = np.nonzero(fitted[..., 0])
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert fitted.any(2).sum() == height * width
    assert height == shape.size_hw[0] or width == shape.size_hw[1]
    assert abs(rows[0] - (shape.size_hw[0] - 1 - rows[-1])) <= 1
    assert abs(columns.min() - (shape.size_hw[1] - 1 - columns.max())) <= 1
    # The displayed aspect ratio is the same, up to the rounding of both sides; none is below 1.
    ratio = own.size_hw[1] * own.pixel_aspect / shape.pixel_aspect / own.size_hw[0]
    height_error, width_error = (1 if side == 1 else 0.5 for side in (height, width))
    assert abs(width - int(height) * ratio) <= width_error + height_error * ratio


def test_image_of_the_shape_is_returned_unchanged():
    shape = FrameShape((48, 64))
    image = disc_frame((48, 64))
    assert fit_into(image, shape, shape) is image


@pytest.mark.parametrize(
    "turned_hw", [(96, 64), (32, 48), (128, 192)], ids=["turned", "smaller", "larger"]
)
def test_frames_after_turn_keep_first_size_and_round_disc(tmp_path, turned_hw):
    make_turned_video(tmp_path / "a.mkv", [(64, 96), turned_hw])
    reader = VideoReader(tmp_path / "a.mkv", ImageLimits(), None)
    read = list(reader)
    reader.close()
    (info,) = (item for item in read if isinstance(item, VideoInfo))
    frames = [item.rgb() for item in read if isinstance(item, DecodedFrame)]
    assert info.shape == FrameShape((64, 96))
    assert {frame.shape for frame in frames} == {(64, 96, 3)}
    assert len(frames) == 8
    for frame in frames:
        disc = frame[..., 0] > 127
        height, width = disc.any(1).sum(), disc.any(0).sum()
        assert height == pytest.approx(width, abs=2)


def test_frame_that_grows_over_limits_raises(tmp_path):
    make_turned_video(tmp_path / "a.mkv", [(64, 96), (128, 192)])
    with pytest.raises(ServiceError):
        list(VideoReader(tmp_path / "a.mkv", ImageLimits(pixels=64 * 96), None))
