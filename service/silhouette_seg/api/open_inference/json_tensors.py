"""JSON with tensors in it, of which the tensors are read and written a piece at a time.

A parser or writer of JSON in C lets no other thread run until it is done, and Python's list of
numbers takes up to forty times the memory of the tensor: a piece needs neither long nor much.
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

MAX_BESIDES_BYTES = 64 * 1024
"""Of a document, its tensors not counted."""
PIECE_BYTES = 1 << 16
PIECE_NUMBERS = 1 << 14

DATA = "data"
"""The key that tensors are at."""

_DATA = re.compile(rb'"data"\s*:\s*\[')
_SPACE = b" \t\r\n"
_ALLOWED = b"0123456789+-.eE,[]" + _SPACE
_MISPLACED = re.compile(rb"[0-9]\s*\[|\]\s*[-0-9]|\]\s*\[|\[\s*\]")
_BRACKETS_TO_SPACES = bytes.maketrans(b"[]", b"  ")


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array under `data` as it was sent, not looked into yet."""

    text: bytes


def read_document(text: bytes) -> object:
    """The JSON of `text`, with `Numbers` in place of each array under a key `data`.

    Raises ValueError that says what is wrong, in words for whoever sent it.
    """
    arrays: dict[str, Numbers] = {}
    besides = _without_arrays(text, arrays)

    def put_back(members: dict[str, Any]) -> dict[str, Any]:
        data = members.get(DATA)
        if isinstance(data, str) and data in arrays:
            members[DATA] = arrays.pop(data)
        return members

    try:
        document: object = json.loads(
            besides.decode(), object_hook=put_back, parse_constant=_no_constants
        )
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None
    except ValueError:
        raise ValueError("The JSON cannot be parsed.") from None
    if arrays:  # the first of two is in no object
        raise ValueError("The JSON has data twice.")
    return document


def _without_arrays(text: bytes, arrays: dict[str, Numbers]) -> bytes:
    """Puts a name that nobody can guess where each array was, and the array under that name."""
    secret = secrets.token_hex(16)
    kept: list[bytes] = []
    size = at = 0
    while at < len(text):
        begin, end = _next_array(text, at)
        name = f"{secret}-{len(arrays)}"
        kept.append(text[at:begin])
        if begin < end:
            arrays[name] = Numbers(text[begin:end])
            kept.append(b'"%s"' % name.encode())
        size += begin - at
        if size > MAX_BESIDES_BYTES:
            raise ValueError(
                f"Besides lists of numbers the JSON has more than {MAX_BESIDES_BYTES} bytes."
            )
        at = end
    return b"".join(kept)


def _next_array(text: bytes, at: int) -> tuple[int, int]:
    """Where the next array under `data` begins and ends; the end of the text twice for none."""
    while found := _DATA.search(text, at):
        if text[found.start() - 1 : found.start()] != b"\\":
            begin = found.end() - 1
            return begin, _end_of_numbers(text, begin)
        at = found.end()  # the end of a string that has a quote in it
    return len(text), len(text)


def _end_of_numbers(text: bytes, begin: int) -> int:
    """Numbers, commas and brackets go on until the object ends, or its next key begins."""
    quote = text.find(b'"', begin)
    last = len(text) if quote < 0 else quote
    brace = text.find(b"}", begin, last)
    end = last if brace < 0 else brace
    return begin + len(text[begin:end].rstrip(_SPACE + b","))


def _no_constants(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def read_numbers(numbers: Numbers, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """The tensor of `shape`, whose numbers come row-major in one list, or nested as the shape is.

    Raises ValueError that says what is wrong, also when a number is not one of the dtype.
    """
    text, total = numbers.text, prod(shape)
    found = text.count(b",") + 1
    if found != total:
        raise ValueError(f"has {found} numbers, and {total} make up its shape {list(shape)}")
    blocks = [] if _is_flat(text) else [prod(shape[axis:]) for axis in range(len(shape))]
    tensor = np.empty(total, dtype)
    first = 0
    for piece in _pieces(text):
        read = _read_piece(piece, first, blocks)
        tensor[first : first + len(read)] = _fitting(read, tensor.dtype)
        first += len(read)
    return tensor.reshape(shape)


def _is_flat(text: bytes) -> bool:
    """Whether the bracket that it begins with and one at its end are the only ones."""
    ends = text.count(b"[") == text.count(b"]") == 1
    return ends and not text[text.find(b"]") + 1 :].strip(_SPACE)


def _pieces(text: bytes) -> Iterator[bytes]:
    """Cut at commas, which are left out."""
    start = 0
    while (end := text.find(b",", start + PIECE_BYTES)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _read_piece(piece: bytes, first: int, blocks: list[int]) -> list[int | float]:
    """The numbers of a piece, of which `first` is the place of the first one; without `blocks`
    they are known to be flat.
    """
    if piece.translate(None, _ALLOWED):
        raise ValueError("has something in it that is no number")
    count = piece.count(b",") + 1
    if blocks and not _is_nested(piece, first, count, blocks):
        raise ValueError("is neither one list of numbers nor nested as its shape is")
    try:
        read: list[int | float] = json.loads(
            f"[{piece.translate(_BRACKETS_TO_SPACES).decode()}]", parse_constant=_no_constants
        )
    except ValueError:
        raise ValueError("has something in it that is no number") from None
    if len(read) != count:
        raise ValueError("has a comma without a number")
    return read


def _is_nested(piece: bytes, first: int, count: int, blocks: list[int]) -> bool:
    """Whether a bracket opens at the first number of each block, and closes at its last.

    `blocks` has the size of each, from the whole tensor to the innermost list.
    """
    if _MISPLACED.search(piece):
        return False
    marks = np.frombuffer(piece, np.uint8)
    number = np.cumsum(marks == ord(","))
    opened = np.bincount(number[marks == ord("[")], minlength=count)
    closed = np.bincount(number[marks == ord("]")], minlength=count)
    place = np.arange(first, first + count)
    opens = sum((place % size == 0).astype(np.int64) for size in blocks)
    closes = sum(((place + 1) % size == 0).astype(np.int64) for size in blocks)
    return np.array_equal(opened, opens) and np.array_equal(closed, closes)


def _fitting(numbers: list[int | float], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Raises ValueError unless each is a number of the dtype."""
    if dtype.kind == "f":
        return _finite(numbers, dtype)
    found, bounds = np.array(numbers), np.iinfo(dtype)
    whole = found.dtype.kind in "iu"
    if not whole or int(found.min()) < bounds.min or int(found.max()) > bounds.max:
        raise ValueError(f"has a number in it that is no {dtype}")
    return found.astype(dtype)


def _finite(numbers: list[int | float], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            finite = np.array(numbers, np.float64).astype(dtype)
    except OverflowError:  # a whole number of more than 308 digits
        finite = np.array([np.inf], dtype)
    if not np.isfinite(finite).all():
        raise ValueError(f"has a number in it that is too large for {dtype}")
    return finite


def write_numbers(tensor: NDArray[Any]) -> bytes:
    """One list of all numbers, row-major. Raises ValueError for one that is not finite."""
    flat = tensor.reshape(-1)
    pieces = (flat[at : at + PIECE_NUMBERS] for at in range(0, len(flat), PIECE_NUMBERS))
    lists = (json.dumps(each.tolist(), separators=(",", ":"), allow_nan=False) for each in pieces)
    return b"[%s]" % b",".join(text[1:-1].encode() for text in lists)
