"""Image files that are named by path, by their bytes, or as open files."""

import io
import os
import threading
from pathlib import Path

import pytest

from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.parameter_text import parameter_text
from silhouette_seg.runtime.sources import read_file_source, source_name

DATA = bytes(range(256)) * 1000


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "photo.jpg").write_bytes(DATA)
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("max_bytes", [None, len(DATA)])
def test_source_is_a_path_bytes_or_an_open_file(path, max_bytes):
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        views = (DATA, bytearray(DATA), memoryview(DATA))
        for source in (path, str(path), *views, file, raw, io.BytesIO(DATA)):
            assert read_file_source(source, "photo", max_bytes) == DATA


def test_open_file_is_read_from_its_position(path):
    with path.open("rb") as file:
        file.seek(1000)
        assert read_file_source(file, "photo") == DATA[1000:]
        assert not file.closed


@pytest.mark.parametrize("max_bytes", [None, len(DATA)])
def test_pipe_without_buffer_is_read_to_its_end(max_bytes):
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(DATA)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        assert read_file_source(pipe, "photo", max_bytes) == DATA
    thread.join()


def test_file_beyond_the_limit_is_not_read_whole():
    file = io.BytesIO(DATA)
    with pytest.raises(InvalidArgument, match="photo: has more than 100 bytes") as invalid:
        read_file_source(file, "photo", 100)
    assert file.tell() == 101
    assert (invalid.value.code, invalid.value.limit) == ("body_too_large", 100)


class AsyncFile:
    """File with a result of `read` that is no bytes, like that of an asynchronous one."""

    def read(self) -> object:
        return [DATA]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "not NoneType"),
        (3, "not int"),
        (["photo.jpg"], "not list"),
        (io.StringIO("photo"), 'mode "rb"'),
        (AsyncFile(), "returned list"),
        ("https://example.com/photo.jpg", "is a URL"),
        ("data:image/png;base64,AAAA", "is a URL"),
        ("", "not the path"),
        ("photo\0.jpg", "not the path"),
    ],
    ids=["None", "int", "list", "text", "async", "https", "data", "empty", "zero"],
)
def test_source_of_another_type_raises_error_with_its_argument(source, reason):
    with pytest.raises(InvalidArgument, match=f"^background: .*{reason}"):
        read_file_source(source, "background")


def test_missing_file_raises_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file_source(tmp_path / "absent.jpg", "photo")


def test_name_of_a_source_is_that_of_its_file(path):
    with path.open("rb") as file:
        assert [source_name(source) for source in (path, str(path), file)] == ["photo.jpg"] * 3
    assert [source_name(source) for source in (DATA, io.BytesIO(DATA))] == [None, None]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (-3, "-3"),
        (1.5, "1.5"),
        (2.0, "2"),
        (100.0, "100"),
        (1 / 3, "0.333333333"),
        (1e-7, "0.0000001"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("teal", "teal"),
    ],
)
def test_value_of_a_parameter_has_the_text_of_the_api(value, text):
    assert parameter_text(value) == text


def test_value_without_text_raises_type_error():
    with pytest.raises(TypeError, match="not list"):
        parameter_text([1])
