"""Trimaps, JSON files and blurred faces of the command line, here and with a service.

The detector's face is as high as the photo, and as wide as the green of its middle pixel.
"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.conftest import on_socket
from tests.integration.pictures import pixels
from tests.support.images import make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.videos import make_video

FACTS = ("--masks", "rle", "--faces")
BLURRED = ("--output", "composite", "--background", "blur_faces")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("connectnet", "face_detector"):
        write_tiny_model(folder, tiny_spec(name))
    return folder


@pytest.fixture
def silhouette(models, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(models))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def url(models, settings_with):
    with on_socket(settings_with(model_repository=models)) as running:
        yield running.url


@pytest.fixture
def photos(tmp_path):
    """Returns a folder with a photo of one face and a photo without a face."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, green in (("face", 80), ("none", 0)):
        image = np.zeros((96, 128, 3), np.uint8)
        image[8:88, 4:44, 0] = 255
        image[44:52, 60:68, 1] = green
        (folder / f"{name}.png").write_bytes(make_png(image))
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_trimap_is_written_as_a_picture(silhouette, photos, tmp_path):
    options = ("--output", "trimap", "--trimap-band", "4")
    result = silhouette("segment", photos / "face.png", "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    image = pixels((tmp_path / "out" / "face.png").read_bytes())
    assert set(np.unique(image)) == {0, 128, 255}


def test_facts_are_written_beside_each_result(silhouette, photos, tmp_path, url):
    here, remote = tmp_path / "here", tmp_path / "remote"
    for out, server in ((here, ()), (remote, ("--server", url))):
        result = silhouette("segment", photos, "-o", out, *FACTS, *server)
        assert result.exit_code == 0, result.output
        assert files(out) == ["face.png", "face.png.json", "none.png", "none.png.json"]
    facts = json.loads((here / "face.png.json").read_text())
    assert len(facts["people"]) == len(facts["faces"]) == 1
    assert not {"image", "request_id", "timings_ms"} & facts.keys()
    for name in files(here):
        assert (here / name).read_bytes() == (remote / name).read_bytes(), name


def test_number_of_blurred_faces_is_printed(silhouette, photos, tmp_path, url):
    for server in ((), ("--server", url)):
        result = silhouette("segment", photos, "-o", tmp_path / "out", *BLURRED, *server)
        assert result.exit_code == 0, result.output
        assert f"{photos / 'face.png'}: 1 face was found and blurred" in result.stderr
        assert f"{photos / 'none.png'}: no face was found, so none is blurred" in result.stderr


@pytest.mark.parametrize("server", [False, True])
def test_single_result_file_has_its_facts_beside_it(silhouette, photos, tmp_path, url, server):
    options = ("--server", url) if server else ()
    out = tmp_path / "mask.webp"
    result = silhouette("segment", photos / "face.png", "-o", out, "--masks", "polygon", *options)
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "mask.webp.json").read_text())
    assert isinstance(facts["people"][0]["segmentation"][0], list)
    assert facts["faces"] is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--output", "trimap", "--format", "jpeg"), "three exact levels"),
        (("--trimap-band", "2"), "--trimap-band: needs --output trimap"),
        (("--masks", "coco"), "--masks: must be one of polygon, rle"),
        ((*BLURRED, "--invert"), "--invert: has no effect with --background blur_faces"),
    ],
)
def test_bad_combination_is_an_error(silhouette, photos, tmp_path, options, reason):
    result = silhouette("segment", photos, "-o", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not (tmp_path / "out").exists()


def test_facts_cannot_go_to_standard_output(silhouette, photos):
    result = silhouette("segment", photos / "face.png", "-o", "-", "--faces")
    assert result.exit_code == 1
    assert "write a file beside the result" in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--masks", "rle"), "--masks: has no effect on a video"),
        (("--faces",), "--faces: has no effect on a video"),
        (("--require-foreground",), "--require-foreground: has no effect on a video"),
        (BLURRED, "blur_faces is for photos"),
        (("--output", "trimap"), "do not keep the levels of a trimap"),
    ],
)
def test_option_for_photos_is_rejected_for_a_video(silhouette, tmp_path, options, reason):
    make_video(tmp_path / "a.mp4")
    result = silhouette("segment", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4", *options)
    assert result.exit_code == 1
    assert reason in result.stderr


def test_trimap_of_a_video_is_a_folder_of_frames(silhouette, tmp_path):
    make_video(tmp_path / "a.mp4")
    out = tmp_path / "frames"
    result = silhouette("segment", tmp_path / "a.mp4", "-o", out, "--output", "trimap")
    assert result.exit_code == 0, result.output
    for frame in out.iterdir():
        assert set(np.unique(pixels(frame.read_bytes()))) <= {0, 128, 255}


def test_missing_detector_is_an_error(silhouette, repository, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    result = silhouette("segment", photos, "-o", tmp_path / "out", *BLURRED)
    assert result.exit_code == 1
    assert "needs the model face_detector" in result.stderr
