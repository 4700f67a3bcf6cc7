"""JSON with tensors: numbers, and documents around them."""

import json
from math import prod

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette_seg.api.open_inference.json_tensors import (
    CHUNK_BYTES,
    MAX_NON_TENSOR_BYTES,
    UnparsedArray,
    read_document,
    read_numbers,
    write_numbers,
)
from tests.unit.api.open_inference.random_tensors import DTYPES, random_tensor

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
LARGE = (2, 60, 60, 3)
"""Shape of a tensor with text for several chunks."""


@given(SHAPES, st.sampled_from(DTYPES), st.integers(0, 99), st.booleans(), st.booleans())
@example(LARGE, "uint8", 1, True, True)
@example(LARGE, "uint8", 1, False, False)
@example(LARGE, "float32", 30, True, False)
def test_numbers_are_read_as_json_spells_them(shape, dtype, seed, nested, spaced):
    tensor = random_tensor(shape, dtype, seed)
    values = tensor.tolist() if nested else tensor.ravel().tolist()
    text = json.dumps(values, indent="\t\r" if spaced else None).encode()
    read = read_numbers(UnparsedArray(text), shape, dtype)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, tensor)


@given(SHAPES, st.sampled_from(DTYPES), st.integers(0, 99))
@example(LARGE, "uint8", 2)
@example(LARGE, "float32", 2)
def test_numbers_are_written_as_json_reads_them(shape, dtype, seed):
    tensor = random_tensor(shape, dtype, seed)
    written = write_numbers(tensor)
    np.testing.assert_array_equal(np.array(json.loads(written), dtype), tensor.ravel())
    np.testing.assert_array_equal(read_numbers(UnparsedArray(written), shape, dtype), tensor)


def test_large_tensor_spans_several_chunks():
    assert len(write_numbers(random_tensor(LARGE, "uint8", 1))) > CHUNK_BYTES


@given(
    st.sampled_from([(3,), (1, 3), (2, 2), (2, 1), (1, 1), (2, 1, 2)]),
    st.sampled_from(["uint8", "int64"]),
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 2), st.sampled_from([*"[],0-.1e +\n", "256"])),
        max_size=3,
    ),
)
@example((2, 2), "uint8", True, [(0, 0, "[")])
def test_numbers_are_accepted_where_json_accepts_them(shape, dtype, nested, damage):
    tensor = np.arange(prod(shape), dtype=dtype).reshape(shape)
    text = json.dumps(tensor.tolist() if nested else tensor.ravel().tolist())
    for start, length, inserted in damage:
        text = text[:start] + inserted + text[start + length :]
    text = f"[{text[1:]}"
    expected = parse_with_json(text, shape, dtype)
    try:
        read = read_numbers(UnparsedArray(text.encode()), shape, dtype)
    except ValueError:
        assert expected is None, text
    else:
        assert expected is not None, text
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("[256,0]", "uint8"),
        ("[-1,0]", "uint8"),
        ("[1.0,0]", "uint8"),
        ("[1e0,0]", "uint8"),
        (f"[{2**63},0]", "int64"),
        (f"[{2**64},-1]", "int64"),
        ("[%s,0]" % ("9" * 5000), "int64"),
        ("[0.5,0]", "int64"),
        ("[1e39,0]", "float32"),
        ("[1e999,0]", "float32"),
        ("[%s,0]" % ("9" * 400), "float32"),
        ("[NaN,0]", "float32"),
        ("[Infinity,0]", "float32"),
        ("[true,0]", "uint8"),
        ("[null,0]", "float32"),
        ("[1,,]", "uint8"),
        ("[1]", "uint8"),
        ("[1,2,3]", "uint8"),
        ("[[1],[2]]", "uint8"),
        ("[[1,2]]", "uint8"),
        ("[01,2]", "uint8"),
        ("[1 1,2]", "uint8"),
    ],
)
def test_invalid_numbers_are_rejected(text, dtype):
    with pytest.raises(ValueError, match=r"^(has|is|contains) "):
        read_numbers(UnparsedArray(text.encode()), (2,), dtype)


def test_numbers_that_are_not_finite_are_not_written():
    with pytest.raises(ValueError, match="JSON"):
        write_numbers(np.array([1, np.nan], np.float32))


def parse_with_json(text: str, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """Returns the tensor as Python's parser reads it, or None for anything else."""
    try:
        values = json.loads(text)
        array = np.array(values, dtype=object)
    except ValueError:
        return None
    flat = list(array.ravel())
    bounds = np.iinfo(dtype)
    if any(type(number) is not int or not bounds.min <= number <= bounds.max for number in flat):
        return None
    if array.shape not in (shape, (prod(shape),)):
        return None
    return np.array(flat, dtype).reshape(shape)


def restore_array(value: object) -> object:
    """Returns a document with its unparsed arrays parsed."""
    if isinstance(value, UnparsedArray):
        return json.loads(value.text)
    if isinstance(value, dict):
        return {key: restore_array(item) for key, item in value.items()}
    return [restore_array(item) for item in value] if isinstance(value, list) else value


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\[]{}:,data1é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", 'x"data', "y"]), inner, max_size=3)
        | st.lists(st.integers(0, 9), max_size=3).map(lambda numbers: {"data": numbers})
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_document_equals_json_except_for_arrays(value, ascii, indent):
    """An array under `data` with anything but integers may be rejected."""
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    try:
        read = restore_array(read_document(text.encode()))
    except ValueError:
        assert has_other_data(value), text
    else:
        assert read == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]]",
        '{"a":NaN}',
        '{"data":[1,2],}',
        '{"data":[1,2],,"a":1}',
        '{"data":[1],"data":[2]}',
        '{"a":"\\ud800',
        "[" * 60_000,
        '{"data":["',
        '{"data":[1',
        '{"data":[1,"data":[2',
    ],
    ids=lambda text: text[:20],
)
def test_invalid_json_is_rejected(text):
    with pytest.raises(ValueError, match="JSON"):
        read_document(text.encode())


def test_invalid_utf8_is_rejected():
    with pytest.raises(ValueError, match="JSON"):
        read_document(b'{"a":"\xff"}')


def test_data_under_escaped_key_is_no_tensor():
    assert read_document(b'{"d\\u0061ta":[0,1]}') == {"data": [0, 1]}


def test_large_document_besides_tensors_is_rejected():
    numbers = "[" + "1," * MAX_NON_TENSOR_BYTES + "1]"
    assert read_document(b'{"data":%s}' % numbers.encode()) == {
        "data": UnparsedArray(numbers.encode())
    }
    with pytest.raises(ValueError, match="besides its tensors"):
        read_document(b'{"more":%s}' % numbers.encode())


def test_many_unclosed_arrays_are_rejected_in_one_pass():
    """A search to the end of the text for each array would take minutes."""
    with pytest.raises(ValueError, match="besides its tensors"):
        read_document(b'{"data":[1,' * 2**20)


def has_other_data(value: object) -> bool:
    """Returns whether an array under `data` contains anything but integers."""
    if isinstance(value, list):
        return any(map(has_other_data, value))
    if not isinstance(value, dict):
        return False
    data = value.get("data")
    if isinstance(data, list) and not all(type(item) is int for item in data):
        return True
    return any(map(has_other_data, value.values()))
