import pytest

from silhouette_seg.runtime.memory import can_allocate, is_lack_of_memory


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (caused_by(SystemError(), MemoryError()), True),
        (caused_by(SystemError(), KeyError()), False),
        (SystemError(), False),
        (caused_by(ValueError(), MemoryError()), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error, expected):
    assert is_lack_of_memory(error) is expected


def test_block_larger_than_address_space_cannot_be_allocated():
    assert can_allocate(2**20)
    assert not can_allocate(2**62)
