"""Arrays of any shape and type, and any bytes: an image of the right size, or InvalidArgument."""

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from silhouette_seg import InvalidArgument
from tests.support.images import make_jpeg, make_png, quadrants

SHAPES = st.one_of(
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=20),
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4])),
)
ARRAYS = arrays.scalar_dtypes().flatmap(lambda dtype: arrays.arrays(dtype, SHAPES))
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F")
FILES = (make_jpeg(quadrants(32, 32)), make_png(quadrants(32, 32)))
# The session is the same for all examples, as it is for all calls of a program.
any_input = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_input
@given(array=ARRAYS)
def test_array_has_a_mask_of_its_size_or_is_refused(session, array):
    before = array.copy()
    mask = result_of(session.segment, array)
    assert mask is None or (mask.dtype, mask.shape) == (np.uint8, array.shape[:2])
    np.testing.assert_array_equal(array, before)


@any_input
@given(mode=st.sampled_from(MODES), size=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_pil_image_has_a_cutout_of_its_size_or_is_refused(session, mode, size):
    cutout = result_of(session.cut_out, Image.new(mode, size))
    assert cutout is None or (cutout.mode, cutout.size) == ("RGBA", size)


@any_input
@given(
    file=st.sampled_from(FILES),
    position=st.integers(0, 600),
    replacement=st.binary(max_size=8),
    length=st.integers(0, 8),
)
def test_damaged_file_has_a_result_or_is_refused(session, file, position, replacement, length):
    damaged = file[:position] + replacement + file[position + length :]
    for photo in (damaged, _opened(damaged)):
        mask = result_of(partial(session.segment, as_="pil"), photo)
        assert mask is None or mask.mode == "L"


def result_of(function: Callable[[Any], Any], photo: object) -> Any:
    """Returns the result of a function, or None if it refuses the photo by name."""
    try:
        return function(photo)
    except InvalidArgument as error:
        if error.argument != "photo":
            raise
        return None


def _opened(file: bytes) -> object:
    """Returns the PIL image of a file, or its bytes if PIL does not open it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return Image.open(io.BytesIO(file))
    except (OSError, SyntaxError, ValueError):
        return file
