"""Files among and below the inputs of a command."""

import os
from collections import Counter
from pathlib import Path

import pytest

from silhouette_seg.cli.discovery import discover
from tests.support.images import TEXT

PHOTO = b"\xff\xd8\xff\xe0"


@pytest.fixture
def album(tmp_path, monkeypatch) -> Path:
    """Returns the relative path of a folder with two photos, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write(Path("album/a.jpg"), Path("album/sub/b.jpg"))
    return Path("album")


def write(*paths: Path, content: bytes = PHOTO) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def sources(inputs, output="elsewhere") -> list[str]:
    return [str(file.source) for file in discover(inputs, Path(output)).files]


def kinds(inputs, output="elsewhere") -> dict[str, int]:
    return Counter(one.kind for one in discover(inputs, Path(output)).skipped)


def test_folder_is_searched_by_content(album):
    write(album / "c.jfif", album / "d", album / "e.txt")
    write(album / "f.txt", album / "g", album / "h.PSD", album / "i.psd", content=TEXT)
    assert sources([album]) == [
        "album/a.jpg",
        "album/c.jfif",
        "album/d",
        "album/e.txt",
        "album/sub/b.jpg",
    ]
    assert kinds([album]) == {".psd": 2, ".txt": 1, "no suffix": 1}


def test_companions_of_photos_are_skipped_even_as_inputs(album):
    write(album / "._a.jpg", content=b"\0\5\x16\7")
    write(album / "Thumbs.db", content=b"\xd0\xcf\x11\xe0")
    write(album / "empty.jpg", content=b"")
    expected = {"._ file of macOS": 1, "Thumbs.db": 1, "empty file": 1}
    assert kinds([album]) == expected
    files = [path for path in album.iterdir() if path.is_file()]
    assert kinds(files) == expected
    assert not discover(files, Path("elsewhere")).failures


def test_unknown_file_that_is_an_input_is_tried(album):
    write(Path("notes.txt"), content=TEXT)
    assert sources([Path("notes.txt")]) == ["notes.txt"]


@pytest.mark.parametrize("spelling", ["album/out", "{cwd}/album/out", "album/sub/../out", "link"])
@pytest.mark.parametrize("input_spelling", ["album", "./album/", "{cwd}/album", "album_link", "."])
def test_results_in_the_folder_are_never_inputs(album, spelling, input_spelling):
    write(album / "out" / "a.png", album / "out" / "sub" / "b.png")
    Path("link").symlink_to("album/out")
    Path("album_link").symlink_to("album")
    cwd = os.getcwd()
    inputs = [Path(input_spelling.format(cwd=cwd))]
    found = discover(inputs, Path(spelling.format(cwd=cwd)))
    assert [file.source.name for file in found.files] == ["a.jpg", "b.jpg"]
    assert "in the output folder" in {one.kind for one in found.skipped}


def test_link_to_results_is_no_input(album):
    write(Path("results/a.png"))
    (album / "latest.png").symlink_to(Path("results/a.png").absolute())
    (album / "results").symlink_to(Path("results").absolute())
    assert sources([album], "results") == ["album/a.jpg", "album/sub/b.jpg"]
    assert kinds([album], "results") == {"in the output folder": 2}


@pytest.mark.parametrize("output", [".", "..", "album"])
def test_output_folder_around_the_input_hides_nothing(album, output):
    assert sources([album], output) == ["album/a.jpg", "album/sub/b.jpg"]


def test_loop_of_links_is_noticed(album):
    (album / "sub" / "up").symlink_to("..")
    (album / "self").symlink_to("self")
    assert sources([album]) == ["album/a.jpg", "album/sub/b.jpg"]
    assert kinds([album]) == {"folder searched before": 1, "broken link": 1}


def test_linked_folder_is_followed_once(album):
    write(Path("far/c.jpg"))
    (album / "0_far").symlink_to("../far")
    (album / "1_far").symlink_to("../far")
    (album / "2_sub").symlink_to("sub")
    assert sources([album]) == ["album/0_far/c.jpg", "album/a.jpg", "album/sub/b.jpg"]
    assert kinds([album]) == {"folder searched before": 2}


def test_linked_file_is_an_input_of_its_own(album):
    (album / "z.jpg").symlink_to("a.jpg")
    (album / "gone.jpg").symlink_to("nowhere.jpg")
    assert sources([album]) == ["album/a.jpg", "album/sub/b.jpg", "album/z.jpg"]
    assert kinds([album]) == {"broken link": 1}


def test_file_given_twice_is_one_input(album):
    assert sources([album / "a.jpg", album, Path("album/../album/a.jpg")]) == [
        "album/a.jpg",
        "album/sub/b.jpg",
    ]
    assert kinds([album, album]) == {"folder searched before": 1}


def test_unfinished_results_and_pipes_are_skipped(album):
    write(album / ".a.png.part", album / ".frames.part" / "000001.png")
    os.mkfifo(album / "pipe.jpg")
    assert sources([album]) == ["album/a.jpg", "album/sub/b.jpg"]
    assert kinds([album]) == {"unfinished result": 2, "special file": 1}


def test_folders_of_systems_are_skipped_unless_they_are_inputs(album):
    write(album / "@eaDir" / "a.jpg" / "SYNOPHOTO_THUMB_M.jpg", album / ".thumbnails" / "1.jpg")
    assert sources([album]) == ["album/a.jpg", "album/sub/b.jpg"]
    assert kinds([album]) == {"folder @eaDir": 1, "folder .thumbnails": 1}
    assert sources([album / ".thumbnails"]) == ["album/.thumbnails/1.jpg"]


@pytest.mark.parametrize(("name", "reason"), [("no.jpg", "does not exist"), ("pipe", "not a file")])
def test_input_that_is_no_file_fails(album, name, reason):
    os.mkfifo("pipe")
    (failure,) = discover([Path(name)], Path("out")).failures
    assert reason in failure.reason
