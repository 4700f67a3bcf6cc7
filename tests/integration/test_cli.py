"""The `silhouette` command on real photo files."""

import os
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
    """Returns a folder with a.jpg, broken.jpg, notes.txt and sub/deep/b.png."""
    folder = tmp_path / "album"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(make_jpeg(quadrants()))
    (folder / "broken.jpg").write_bytes(TEXT)
    (folder / "notes.txt").write_text("not a photo")
    (folder / "sub" / "deep" / "b.png").write_bytes(make_png(quadrants(40, 60)))
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_bad_photo_does_not_stop_the_folder(silhouette, album, tmp_path):
    result = silhouette("segment", album, "-o", tmp_path / "masks")

    assert result.exit_code == 1
    assert files(tmp_path / "masks") == ["a.png", "sub/deep/b.png"]
    assert pixels((tmp_path / "masks" / "sub" / "deep" / "b.png").read_bytes()).shape == (40, 60)
    assert f"{album / 'broken.jpg'}: Allowed types are JPEG, PNG, WebP" in result.stderr
    assert "2 of 3 photos done" in result.stdout


def test_exit_code_is_zero_for_good_files(silhouette, album, tmp_path):
    result = silhouette("segment", album / "a.jpg", album / "sub", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == ["a.png", "deep/b.png"]
    assert "2 of 2 photos done" in result.stdout


def test_request_parameters_are_options(silhouette, album, tmp_path):
    options = ("--output", "composite", "--background", "#0000ff", "--format", "webp")
    result = silhouette("segment", album / "a.jpg", "-o", tmp_path, *options)

    assert result.exit_code == 0, result.output
    image = pixels((tmp_path / "a.webp").read_bytes())
    assert image[16, 72].tolist() == pytest.approx([0, 0, 255], abs=12)


def test_background_option_accepts_a_file(silhouette, album, tmp_path):
    wall = tmp_path / "wall.png"
    wall.write_bytes(make_png(np.full((10, 10, 3), (1, 2, 3), np.uint8)))
    options = ("--output", "composite", "--background", wall)
    result = silhouette("segment", album / "a.jpg", "-o", tmp_path / "out", *options)

    assert result.exit_code == 0, result.output
    assert pixels((tmp_path / "out" / "a.png").read_bytes())[16, 72].tolist() == [1, 2, 3]


def test_colour_has_precedence_over_a_file_of_its_name(silhouette, album, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blue").write_bytes(make_png(np.zeros((10, 10, 3), np.uint8)))
    blue = ("--output", "composite", "--background", "blue")
    assert silhouette("segment", album / "a.jpg", "-o", "out", *blue).exit_code == 0
    assert pixels((tmp_path / "out/a.png").read_bytes())[16, 72, 2] > 240


def test_required_foreground_makes_a_photo_without_person_a_failure(silhouette, tmp_path):
    (tmp_path / "empty.png").write_bytes(make_png(np.zeros((64, 64, 3), np.uint8)))
    options = ("-o", tmp_path / "out", "--require-foreground")
    result = silhouette("segment", tmp_path / "empty.png", *options)
    assert result.exit_code == 1
    assert "empty.png: No person was found." in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--output", "nothing"), "--output: must be one of"),
        (("--grow", "much"), "--grow: must be a whole number"),
        (("--background", "#ffffff"), "--background: needs --output composite"),
        (("--output", "cutout", "--format", "jpeg"), "JPEG has no transparency"),
        (("--output", "composite", "--background", "x.jpg"), "there is no file 'x.jpg'"),
        (("--output", "composite", "--background", "b" * 5000), "path of a file, and there is no"),
        (("--output", "composite", "--background", __file__), "test_cli.py: Allowed types are"),
        (("--model", "unknown"), "Unknown model"),
        (("--device", "gpu"), "--device: Input should be 'cpu'"),
        (("--model-repository", "/absent"), "--model-repository: /absent is not a folder"),
        (("--device", "cpu", "--server", "http://a"), "--device: has no effect with --server"),
    ],
)
def test_bad_option_is_an_error_and_writes_nothing(silhouette, album, tmp_path, options, reason):
    result = silhouette("segment", album, "-o", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not (tmp_path / "out").exists()


def test_source_photo_is_never_overwritten(silhouette, album):
    before = (album / "sub" / "deep" / "b.png").read_bytes()
    result = silhouette("segment", album / "sub", "-o", album / "sub")
    assert result.exit_code == 1
    assert "would overwrite a photo" in result.stderr
    assert (album / "sub" / "deep" / "b.png").read_bytes() == before


def test_photos_of_one_name_are_all_done_and_reported(silhouette, album, tmp_path):
    (album / "a.png").write_bytes(make_png(quadrants(20, 30)))
    result = silhouette("segment", album / "a.jpg", album / "a.png", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == ["a.jpg.png", "a.png.png"]
    assert pixels((tmp_path / "out" / "a.png.png").read_bytes()).shape == (20, 30)
    assert f"{album / 'a.jpg'}: the result is a.jpg.png" in result.stderr
    assert f"{album / 'a.png'}: the result is a.png.png" in result.stderr


def test_longer_names_are_reported_before_the_run(silhouette, album, tmp_path, monkeypatch):
    (album / "a.png").write_bytes(make_png(quadrants()))
    result = silhouette("segment", album, "-o", tmp_path / "out", "--model", "unknown")
    assert result.exit_code == 1
    assert result.stderr.index("the result is a.png.png") < result.stderr.index("Unknown model")


@pytest.mark.parametrize("spelling", ["out", "{album}/out", "sub/../out", "link"])
def test_results_inside_the_folder_are_no_sources(silhouette, album, monkeypatch, spelling):
    monkeypatch.chdir(album)
    (album / "link").symlink_to(album / "out")
    (album / "out").mkdir()
    for _ in range(2):
        silhouette("segment", ".", "-o", spelling.format(album=album))
    assert files(album / "out") == ["a.png", "sub/deep/b.png"]


def test_skipped_files_are_counted_by_kind(silhouette, album, tmp_path):
    (album / "broken.jpg").unlink()
    for name, content in (("b.psd", TEXT), ("._a.jpg", b"\0\5\x16\7"), ("c.PSD", TEXT)):
        (album / name).write_bytes(content)
    result = silhouette("segment", album, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 of 2 photos done" in result.stdout
    assert "4 skipped: .psd (2), ._ file of macOS (1), .txt (1)" in result.stdout


def test_folder_without_photos_is_reported_and_fails(silhouette, tmp_path):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.psd").write_bytes(TEXT)
    result = silhouette("segment", tmp_path / "album", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "0 of 0 photos done" in result.stdout
    assert "1 skipped: .psd (1)" in result.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.jfif", "photo", "a.txt", "a.png"])
def test_photo_under_any_name_is_segmented(silhouette, tmp_path, name):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / name).write_bytes(make_jpeg(quadrants()))
    result = silhouette("segment", tmp_path / "album", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(files(tmp_path / "out")) == 1


def test_skip_existing_does_only_the_missing(silhouette, album, tmp_path):
    (album / "broken.jpg").unlink()
    out = tmp_path / "out"
    (out / "sub" / "deep").mkdir(parents=True)
    (out / "a.png").write_bytes(b"older")
    (out / "sub" / "deep" / "b.png").touch()  # an empty file is no result
    result = silhouette("segment", album, "-o", out, "--skip-existing")
    assert result.exit_code == 0, result.output
    assert (out / "a.png").read_bytes() == b"older"
    assert pixels((out / "sub" / "deep" / "b.png").read_bytes()).shape == (40, 60)
    assert "1 of 1 photos done" in result.stdout
    assert "2 skipped: .txt (1), result exists (1)" in result.stdout
    again = silhouette("segment", album, "-o", out, "--skip-existing")
    assert again.exit_code == 0, again.output
    assert "0 of 0 photos done" in again.stdout


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_older_results_are_replaced_by_default(silhouette, album, tmp_path, options):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"older")
    result = silhouette("segment", album / "a.jpg", "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert pixels((tmp_path / "out" / "a.png").read_bytes()).shape == (64, 96)


def test_skipping_and_overwriting_exclude_each_other(silhouette, album, tmp_path):
    command = ("segment", album, "-o", tmp_path / "out", "--skip-existing", "--overwrite")
    result = silhouette(*command)
    assert result.exit_code == 1
    assert "--skip-existing and --overwrite exclude each other" in result.stderr


def test_overwrite_never_replaces_a_source(silhouette, album):
    before = (album / "sub" / "deep" / "b.png").read_bytes()
    result = silhouette("segment", album / "sub", "-o", album / "sub", "--overwrite")
    assert result.exit_code == 1
    assert (album / "sub" / "deep" / "b.png").read_bytes() == before


def test_missing_photo_is_a_failure(silhouette, album, tmp_path):
    result = silhouette("segment", album / "nope.jpg", album / "a.jpg", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "nope.jpg: The file does not exist." in result.stderr
    assert files(tmp_path / "out") == ["a.png"]


def test_file_name_like_markup_is_printed_verbatim(silhouette, tmp_path):
    (tmp_path / "[red]x[bold].jpg").write_bytes(TEXT)
    result = silhouette("segment", tmp_path / "[red]x[bold].jpg", "-o", tmp_path / "out")
    assert "[red]x[bold].jpg: Allowed types" in result.stderr


def test_file_name_that_is_no_utf8_is_printed_escaped(silhouette, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    (album / os.fsdecode(b"caf\xe9.jpg")).write_bytes(TEXT)
    (album / os.fsdecode(b"a.caf\xe9")).write_bytes(TEXT)
    result = silhouette("segment", album, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "caf\\udce9.jpg: Allowed types" in result.stderr
    assert "1 skipped: .caf\\udce9 (1)" in result.stdout


def test_models_command_lists_name_and_input(silhouette, repository):
    result = silhouette("models")
    assert result.exit_code == 0
    assert "connectnet" in result.stdout
    assert "32x24 letterbox" in result.stdout


def test_models_command_prints_a_line_for_each_model(silhouette, monkeypatch, tmp_path):
    name = "model_with_a_name_that_is_longer_than_eighty_characters" + "_and_longer" * 3
    write_tiny_model(tmp_path, tiny_spec(name))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    _, heading, row, licence = silhouette("models").stdout.splitlines()
    assert heading.split() == ["name", "task", "input", "accuracy"]
    assert row.split()[:4] == [name, "segmentation", "32x24", "letterbox"]
    assert licence.startswith(f"{name}: from ")


def test_models_command_lists_tasks_and_the_face_detector(silhouette, monkeypatch, tmp_path):
    for name in ("connectnet", "md_trisenet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    monkeypatch.setenv("SILHOUETTE_MODELS", "md_trisenet")
    result = silhouette("models")
    assert result.exit_code == 0
    assert re.search(r"md_trisenet\W+segmentation", result.stdout)
    assert re.search(r"face_detector\W+faces", result.stdout)
    assert "connectnet" not in result.stdout


def test_models_command_names_the_photos_of_each_accuracy(silhouette, monkeypatch, tmp_path):
    for name, photos in (("connectnet", 760.0), ("rcrnet", 313.0), ("md_trisenet", None)):
        all_photos = {"photos": photos, "miou_image_mean": 81.93}
        metrics = {"all": all_photos} if photos else {}
        write_tiny_model(tmp_path, tiny_spec(name).model_copy(update={"metrics": metrics}))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    listed = silhouette("models").stdout
    assert "mIoU 81.93 % of 760 photos" in listed
    assert "mIoU 81.93 % of 313 photos" in listed
    warning = "measured on different photos"
    assert warning in listed
    monkeypatch.setenv("SILHOUETTE_MODELS", "connectnet,md_trisenet")
    assert warning not in silhouette("models").stdout


def test_domain_option_needs_a_model_with_domains(silhouette, monkeypatch, album, tmp_path):
    for name in ("connectnet", "md_trisenet"):
        write_tiny_model(tmp_path, tiny_spec(name))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    command = ("segment", album / "a.jpg", "-o", tmp_path / "out", "--domain", "half_body")
    rejected = silhouette(*command, "--model", "connectnet")
    assert rejected.exit_code == 1
    assert "--domain: has no effect on connectnet" in rejected.stderr
    assert silhouette(*command, "--model", "md_trisenet").exit_code == 0


def test_empty_repository_is_an_error_of_every_command(silhouette, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    for command in (("models",), ("serve", "--port", "0")):
        result = silhouette(*command)
        assert result.exit_code == 1
        assert "contains no model" in result.stderr


def test_bad_setting_is_an_error_with_its_name(silhouette, monkeypatch):
    result = silhouette("serve", "--host", "0.0.0.0")
    assert result.exit_code == 1
    assert "SILHOUETTE_API_KEYS" in result.stderr
    assert "Value error" not in result.stderr
    monkeypatch.setenv("SILHOUETTE_WORKERS", "many")
    assert "SILHOUETTE_WORKERS: " in silhouette("models").stderr


def test_damaged_weights_are_an_error(silhouette, monkeypatch, tmp_path):
    spec = write_tiny_model(tmp_path)
    spec.model_file(tmp_path).write_bytes(b"not the weights")
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    result = silhouette("segment", tmp_path / "a.jpg", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "error:" in result.stderr
