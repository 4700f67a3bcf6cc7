"""Kinds of files, by their first bytes."""

from pathlib import Path

import pytest

from silhouette_seg.cli.media_kind import (
    MediaKind,
    excluded_by_content,
    excluded_by_name,
    media_kind,
)
from tests.support.images import TEXT, make, make_png, person
from tests.support.videos import make_video

PHOTO, VIDEO = MediaKind.PHOTO, MediaKind.VIDEO
PACKETS = 4 * (b"G" + bytes(187))
TIMED_PACKETS = 4 * (bytes(4) + b"G" + bytes(187))


def kind_of(tmp_path, name: str, content: bytes) -> MediaKind | None:
    (tmp_path / name).write_bytes(content)
    return media_kind(tmp_path / name)


def box(brand: bytes) -> bytes:
    return b"\0\0\0\x14ftyp" + brand + bytes(8)


@pytest.mark.parametrize("name", ["a.jfif", "IMG_0001", "a.txt", "a.mp4", "a.JPG", "a.tar.gz"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_photo_is_recognised_under_any_name(tmp_path, name, format):
    assert kind_of(tmp_path, name, make(format)) is PHOTO


def test_photo_with_a_header_longer_than_the_prefix_is_recognised(tmp_path):
    noise = person(64, 64)
    big = make_png(noise, icc_profile=bytes(100_000))
    assert kind_of(tmp_path, "a", big) is PHOTO


@pytest.mark.parametrize(
    "suffix", [".mp4", ".mov", ".webm", ".mkv", ".avi", ".mts", ".m2ts", ".3gp"]
)
@pytest.mark.parametrize("name", ["clip", "clip.jpg", "clip.mp4"])
def test_video_is_recognised_under_any_name(tmp_path, suffix, name):
    make_video(tmp_path / f"made{suffix}", [0, 3000])
    assert kind_of(tmp_path, name, (tmp_path / f"made{suffix}").read_bytes()) is VIDEO


@pytest.mark.parametrize(
    "content",
    [
        box(b"qt  "),
        box(b"3gp4"),
        box(b"MSNV"),
        b"\0\0\0\x08wide\0\0\0\x08mdat",
        PACKETS,
        TIMED_PACKETS,
        b"\0\0\1\xba" + bytes(20),
    ],
)
def test_container_of_cameras_is_a_video(tmp_path, content):
    assert kind_of(tmp_path, "clip", content) is VIDEO


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"The free encyclopedia",
        PACKETS[:500],
        TIMED_PACKETS[:580],
        box(b"M4A "),
        box(b"crx "),
        b"%PDF-1.7",
        b"PK\3\4",
        b"\xff\xd8",
        b"RIFF\0\0\0\0WAVEfmt ",
    ],
)
def test_other_content_has_no_kind(tmp_path, content):
    assert kind_of(tmp_path, "file.bin", content) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jpg", PHOTO), ("a.PNG", PHOTO), ("a.mov", VIDEO), ("a.MTS", VIDEO), ("a.3gp", VIDEO)],
)
def test_unknown_content_is_tried_by_suffix(tmp_path, name, kind):
    assert kind_of(tmp_path, name, TEXT) is kind


def test_raw_file_of_a_camera_has_no_kind(tmp_path):
    assert kind_of(tmp_path, "a.NEF", make("JPEG")) is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\5\x16\7\0\2\0\0", "._ file of macOS"),
        (b"", "empty file"),
        (b"\xff\xd8\xff\xe0", None),
        (TEXT, None),
    ],
)
def test_companion_of_a_photo_is_excluded_by_content(tmp_path, content, kind):
    (tmp_path / "._a.jpg").write_bytes(content)
    assert excluded_by_content(tmp_path / "._a.jpg") == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Thumbs.db", "Thumbs.db"),
        (".DS_Store", ".DS_Store"),
        ("@eaDir", "folder @eaDir"),
        (".a.png.part", "unfinished result"),
        (".frames.part", "unfinished result"),
        ("a.part", None),
        (".hidden.jpg", None),
    ],
)
def test_system_file_is_excluded_by_name(name, kind):
    assert excluded_by_name(Path(name)) == kind
