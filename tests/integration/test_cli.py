"""The `silhouette` command on real files."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.pictures import pixels
from tests.support.images import TEXT, make_jpeg, make_png, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture
def silhouette(repository, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def album(tmp_path):
    """a.jpg, broken.jpg, notes.txt and sub/deep/b.png."""
    folder = tmp_path / "album"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(make_jpeg(quadrants()))
    (folder / "broken.jpg").write_bytes(TEXT)
    (folder / "notes.txt").write_text("not a photo")
    (folder / "sub" / "deep" / "b.png").write_bytes(make_png(quadrants(40, 60)))
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_folder_keeps_its_shape_and_one_bad_photo_does_not_stop_the_rest(
    silhouette, album, tmp_path
):
    ended = silhouette("segment", album, "-o", tmp_path / "masks")

    assert ended.exit_code == 1
    assert files(tmp_path / "masks") == ["a.png", "sub/deep/b.png"]
    assert pixels((tmp_path / "masks" / "sub" / "deep" / "b.png").read_bytes()).shape == (40, 60)
    assert f"{album / 'broken.jpg'}: Allowed types are JPEG, PNG and WebP." in ended.stderr
    assert "2 of 3 photos done" in ended.stdout


def test_good_files_end_with_zero(silhouette, album, tmp_path):
    ended = silhouette("segment", album / "a.jpg", album / "sub", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    assert files(tmp_path / "out") == ["a.png", "deep/b.png"]
    assert "2 of 2 photos done" in ended.stdout


def test_options_are_those_of_the_service(silhouette, album, tmp_path):
    options = ("--output", "composite", "--background", "#0000ff", "--format", "webp")
    ended = silhouette("segment", album / "a.jpg", "-o", tmp_path, *options)

    assert ended.exit_code == 0, ended.output
    image = pixels((tmp_path / "a.webp").read_bytes())
    assert image[16, 72].tolist() == pytest.approx([0, 0, 255], abs=12)


def test_background_may_be_a_file(silhouette, album, tmp_path):
    wall = tmp_path / "wall.png"
    wall.write_bytes(make_png(np.full((10, 10, 3), (1, 2, 3), np.uint8)))
    options = ("--output", "composite", "--background", wall)
    ended = silhouette("segment", album / "a.jpg", "-o", tmp_path / "out", *options)

    assert ended.exit_code == 0, ended.output
    assert pixels((tmp_path / "out" / "a.png").read_bytes())[16, 72].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--output", "nothing"), "output: must be one of"),
        (("--grow", "much"), "grow: must be a whole number"),
        (("--background", "#ffffff"), "background: needs output=composite"),
        (("--output", "cutout", "--format", "jpeg"), "JPEG has no transparency"),
        (("--model", "nobody"), "Unknown model"),
    ],
)
def test_bad_option_is_told_and_nothing_is_written(silhouette, album, tmp_path, options, reason):
    ended = silhouette("segment", album, "-o", tmp_path / "out", *options)
    assert ended.exit_code == 1
    assert reason in ended.stderr
    assert not (tmp_path / "out").exists()


def test_photo_is_never_overwritten(silhouette, album):
    before = (album / "sub" / "deep" / "b.png").read_bytes()
    ended = silhouette("segment", album / "sub", "-o", album / "sub")
    assert ended.exit_code == 1
    assert "would overwrite a photo" in ended.stderr
    assert (album / "sub" / "deep" / "b.png").read_bytes() == before


def test_two_photos_never_become_one_file(silhouette, album, tmp_path):
    (album / "a.png").write_bytes(make_png(quadrants()))
    ended = silhouette("segment", album / "a.jpg", album / "a.png", "-o", tmp_path / "out")
    assert ended.exit_code == 1
    assert files(tmp_path / "out") == ["a.png"]
    assert "already has the result a.png" in ended.stderr


def test_results_inside_the_folder_are_not_photos_of_the_next_run(silhouette, album):
    for _ in range(2):
        silhouette("segment", album, "-o", album / "out")
    assert files(album / "out") == ["a.png", "sub/deep/b.png"]


def test_photo_that_is_not_there_is_told(silhouette, album, tmp_path):
    ended = silhouette("segment", album / "nope.jpg", album / "a.jpg", "-o", tmp_path / "out")
    assert ended.exit_code == 1
    assert "nope.jpg: The file does not exist." in ended.stderr
    assert files(tmp_path / "out") == ["a.png"]


def test_name_that_looks_like_markup_is_shown_as_it_is(silhouette, tmp_path):
    (tmp_path / "[red]x[bold].jpg").write_bytes(TEXT)
    ended = silhouette("segment", tmp_path / "[red]x[bold].jpg", "-o", tmp_path / "out")
    assert "[red]x[bold].jpg: Allowed types" in ended.stderr


def test_models_are_listed(silhouette, repository):
    ended = silhouette("models")
    assert ended.exit_code == 0
    assert "connectnet" in ended.stdout
    assert "32x24 letterbox" in ended.stdout


def test_models_tell_their_task_and_the_detector_comes_along(silhouette, monkeypatch, tmp_path):
    for name in ("connectnet", "md_trisenet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    monkeypatch.setenv("SILHOUETTE_MODELS", "md_trisenet")
    ended = silhouette("models")
    assert ended.exit_code == 0
    assert re.search(r"md_trisenet\W+segmentation", ended.stdout)
    assert re.search(r"face_detector\W+faces", ended.stdout)
    assert "connectnet" not in ended.stdout


def test_domain_is_an_option_of_models_that_take_one(silhouette, monkeypatch, album, tmp_path):
    for name in ("connectnet", "md_trisenet"):
        write_tiny_model(tmp_path, tiny_spec(name))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    order = ("segment", album / "a.jpg", "-o", tmp_path / "out", "--domain", "half_body")
    refused = silhouette(*order, "--model", "connectnet")
    assert refused.exit_code == 1
    assert "domain: has no effect on connectnet" in refused.stderr
    assert silhouette(*order, "--model", "md_trisenet").exit_code == 0


def test_empty_repository_is_told(silhouette, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    for command in (("models",), ("serve", "--port", "0")):
        ended = silhouette(*command)
        assert ended.exit_code == 1
        assert "contains no model" in ended.stderr


def test_bad_setting_is_told(silhouette, monkeypatch):
    ended = silhouette("serve", "--host", "0.0.0.0")
    assert ended.exit_code == 1
    assert "SILHOUETTE_API_KEYS" in ended.stderr
    monkeypatch.setenv("SILHOUETTE_WORKERS", "many")
    assert "workers" in silhouette("models").stderr


def test_damaged_weights_stop_the_start(silhouette, monkeypatch, tmp_path):
    spec = write_tiny_model(tmp_path)
    spec.model_file(tmp_path).write_bytes(b"not the weights")
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    ended = silhouette("segment", tmp_path / "a.jpg", "-o", tmp_path / "out")
    assert ended.exit_code == 1
    assert "error:" in ended.stderr
