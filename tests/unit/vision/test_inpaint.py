import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.inpaint import fill_hidden
from tests.support.images import person

BLUE, RED = (20, 40, 200), (250, 10, 0)


def covered(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a ramp from dark to bright blue with a red middle, and the mask of the red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = np.linspace(50, 250, width)
    hidden = np.zeros((height, width), np.uint8)
    hidden[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    image[hidden > 0] = RED
    return image, hidden


@pytest.mark.parametrize("hw", [(60, 80), (300, 200), (901, 1203)])
def test_hidden_pixels_are_filled_with_surrounding_colours(hw):
    image, hidden = covered(*hw)
    filled = fill_hidden(image, hidden)
    assert filled[..., :2].max() <= 2
    ramp = np.linspace(50, 250, hw[1])
    assert np.abs(filled[hw[0] // 2, :, 2] - ramp).max() < 50


def test_pixels_away_from_hidden_part_stay_unchanged():
    image, hidden = covered(200, 300)
    far = np.ones((200, 300), bool)
    far[48:152, 73:227] = False
    np.testing.assert_array_equal(fill_hidden(image, hidden)[far], image[far])


def test_rim_around_hidden_part_is_filled_too():
    """The mask is one pixel smaller than the red part."""
    image, hidden = covered(200, 300)
    narrow = np.zeros_like(hidden)
    narrow[51:149, 76:224] = 255
    assert fill_hidden(image, narrow)[..., 0].max() <= 2


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_image_without_hidden_part_stays_unchanged(image):
    same = fill_hidden(image, np.zeros(image.shape[:2], np.uint8))
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)


def test_image_hidden_everywhere_stays_unchanged():
    hidden = np.full((240, 320), 255, np.uint8)
    np.testing.assert_array_equal(fill_hidden(person(), hidden), person())


@given(
    npst.arrays(np.uint8, st.tuples(st.integers(1, 300), st.integers(1, 40))),
    npst.arrays(np.uint8, st.just(3)),
)
def test_image_of_one_colour_keeps_its_colour(hidden, colour):
    """The difference is at most the rounding of a product and a sum, for any mask."""
    filled = fill_hidden(np.full((*hidden.shape, 3), colour, np.uint8), hidden)
    assert np.abs(filled.astype(int) - colour).max() <= 2


def test_single_plane_is_filled_like_a_channel():
    image, hidden = covered(100, 140)
    np.testing.assert_array_equal(
        fill_hidden(image[..., 2], hidden), fill_hidden(image, hidden)[..., 2]
    )
