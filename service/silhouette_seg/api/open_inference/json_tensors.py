"""Reads and writes JSON with large arrays of numbers (tensors), one chunk at a time.

A JSON parser or writer in C blocks all other threads until it is done. Python's list of numbers
takes up to forty times the memory of the tensor. One chunk costs little of either.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

MAX_NON_TENSOR_BYTES = 64 * 1024
"""Maximum bytes of a JSON document, its tensors not counted."""
CHUNK_BYTES = 1 << 16
"""Minimum bytes of text that are parsed together."""
CHUNK_NUMBERS = 1 << 14
"""Number of array elements that are written together."""

DATA = "data"
"""Key of the JSON member that holds the numbers of a tensor."""

_DATA = re.compile(rb'"data"\s*:\s*\[')
_SPACE = b" \t\r\n"
_ALLOWED = b"0123456789+-.eE,[]" + _SPACE
_MISPLACED = re.compile(rb"[0-9]\s*\[|\]\s*[-0-9]|\]\s*\[|\[\s*\]")
_BRACKETS_TO_SPACES = bytes.maketrans(b"[]", b"  ")


@dataclass(frozen=True, slots=True)
class UnparsedArray:
    """Text of a JSON array under the key `data`, not validated yet."""

    text: bytes


def read_document(text: bytes) -> object:
    """Parses the JSON document `text` and returns it, without parsing its tensors.

    Each array under the key `data` becomes an `UnparsedArray`. Raises ValueError, with a message
    for the client, if the rest is invalid JSON or too large.
    """
    arrays: dict[str, UnparsedArray] = {}
    rest = _extract_arrays(text, arrays)

    def restore_array(members: dict[str, Any]) -> dict[str, Any]:
        data = members.get(DATA)
        if isinstance(data, str) and data in arrays:
            members[DATA] = arrays.pop(data)
        return members

    try:
        document: object = json.loads(
            rest.decode(), object_hook=restore_array, parse_constant=_reject_constant
        )
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None
    except ValueError:
        raise ValueError("The JSON cannot be parsed.") from None
    if arrays:  # of two arrays under one key, the parser keeps the second
        raise ValueError("The JSON has data twice.")
    return document


def _extract_arrays(text: bytes, arrays: dict[str, UnparsedArray]) -> bytes:
    """Returns the JSON `text` with every array under `data` replaced by a string.

    The string is a random name, which a document cannot contain, and the array is stored in
    `arrays` under it. Raises ValueError if the rest is larger than `MAX_NON_TENSOR_BYTES`.
    """
    secret = secrets.token_hex(16)
    rest: list[bytes] = []
    rest_bytes = position = 0
    while position < len(text):
        start, end = _next_array(text, position)
        name = f"{secret}-{len(arrays)}"
        rest.append(text[position:start])
        if start < end:
            arrays[name] = UnparsedArray(text[start:end])
            rest.append(b'"%s"' % name.encode())
        rest_bytes += start - position
        if rest_bytes > MAX_NON_TENSOR_BYTES:
            raise ValueError(
                f"The JSON has more than {MAX_NON_TENSOR_BYTES} bytes besides its tensors."
            )
        position = end
    return b"".join(rest)


def _next_array(text: bytes, position: int) -> tuple[int, int]:
    """Returns the offsets of the first and past the last byte of the next array under `data`.

    The search begins at offset `position`. Without an array both are the length of the text.
    """
    while match := _DATA.search(text, position):
        if text[match.start() - 1 : match.start()] != b"\\":
            start = match.end() - 1
            return start, _end_of_numbers(text, start)
        position = match.end()  # this was the end of a string that contains a quote
    return len(text), len(text)


def _end_of_numbers(text: bytes, start: int) -> int:
    """Returns the offset past the array that begins at `start`.

    An array of numbers contains neither `}` nor a quote, so it ends before the first of them.
    """
    quote = text.find(b'"', start)
    last = len(text) if quote < 0 else quote
    brace = text.find(b"}", start, last)
    end = last if brace < 0 else brace
    return start + len(text[start:end].rstrip(_SPACE + b","))


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_numbers(array: UnparsedArray, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Parses the numbers of a JSON array to an array of this shape and dtype.

    They are one row-major list, or lists nested like the shape. Raises ValueError, with a message
    for the client, for another count or nesting, and for a number that the dtype cannot hold.
    """
    text, total = array.text, prod(shape)
    count = text.count(b",") + 1
    if count != total:
        raise ValueError(f"has {count} numbers; the shape {list(shape)} needs {total}")
    block_sizes = [] if _is_flat(text) else [prod(shape[axis:]) for axis in range(len(shape))]
    tensor = np.empty(total, dtype)
    first = 0
    for chunk in _chunks(text):
        numbers = _read_chunk(chunk, first, block_sizes)
        tensor[first : first + len(numbers)] = _to_dtype(numbers, tensor.dtype)
        first += len(numbers)
    return tensor.reshape(shape)


def _is_flat(text: bytes) -> bool:
    """Returns True if the array is one list without nested lists."""
    single = text.count(b"[") == text.count(b"]") == 1
    return single and not text[text.find(b"]") + 1 :].strip(_SPACE)


def _chunks(text: bytes) -> Iterator[bytes]:
    """Yields the text in chunks of at least `CHUNK_BYTES` bytes, split at commas.

    The commas at the splits are dropped.
    """
    start = 0
    while (end := text.find(b",", start + CHUNK_BYTES)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _read_chunk(chunk: bytes, first: int, block_sizes: list[int]) -> list[int | float]:
    """Parses and returns the numbers of one chunk of a JSON array.

    `first` is the index of its first number in the tensor. Its brackets are checked against
    `block_sizes`, unless that is empty. Raises ValueError for other text or nesting.
    """
    if chunk.translate(None, _ALLOWED):
        raise ValueError("contains something that is not a number")
    count = chunk.count(b",") + 1
    if block_sizes and not _is_nested(chunk, first, count, block_sizes):
        raise ValueError("is neither one list of numbers nor nested like its shape")
    try:
        numbers: list[int | float] = json.loads(
            f"[{chunk.translate(_BRACKETS_TO_SPACES).decode()}]", parse_constant=_reject_constant
        )
    except ValueError:
        raise ValueError("contains something that is not a number") from None
    if len(numbers) != count:
        raise ValueError("has a comma without a number")
    return numbers


def _is_nested(chunk: bytes, first: int, count: int, block_sizes: list[int]) -> bool:
    """Returns True if the brackets in a chunk of `count` numbers match the shape of the tensor.

    A list must open before the first number of each block and close after its last. `block_sizes`
    has the numbers per list, from the whole tensor to the innermost list.
    """
    if _MISPLACED.search(chunk):
        return False
    characters = np.frombuffer(chunk, np.uint8)
    number = np.cumsum(characters == ord(","))
    opened = np.bincount(number[characters == ord("[")], minlength=count)
    closed = np.bincount(number[characters == ord("]")], minlength=count)
    index = np.arange(first, first + count)
    opens = sum((index % size == 0).astype(np.int64) for size in block_sizes)
    closes = sum(((index + 1) % size == 0).astype(np.int64) for size in block_sizes)
    return np.array_equal(opened, opens) and np.array_equal(closed, closes)


def _to_dtype(numbers: list[int | float], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns the numbers as an array. Raises ValueError for one that the dtype cannot hold."""
    if dtype.kind == "f":
        return _to_float(numbers, dtype)
    array, bounds = np.array(numbers), np.iinfo(dtype)
    are_integers = array.dtype.kind in "iu"
    if not are_integers or int(array.min()) < bounds.min or int(array.max()) > bounds.max:
        raise ValueError(f"contains a number that is not {dtype}")
    return array.astype(dtype)


def _to_float(numbers: list[int | float], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            array = np.array(numbers, np.float64).astype(dtype)
    except OverflowError:  # an integer of more than 308 digits
        array = np.array([np.inf], dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"contains a number that is too large for {dtype}")
    return array


def write_numbers(tensor: NDArray[Any]) -> bytes:
    """Returns the JSON text of one row-major list of all numbers of a tensor.

    Raises ValueError for a number that is not finite.
    """
    flat = tensor.reshape(-1)
    chunks = (flat[at : at + CHUNK_NUMBERS] for at in range(0, len(flat), CHUNK_NUMBERS))
    lists = (json.dumps(chunk.tolist(), separators=(",", ":"), allow_nan=False) for chunk in chunks)
    return b"[%s]" % b",".join(text[1:-1].encode() for text in lists)
