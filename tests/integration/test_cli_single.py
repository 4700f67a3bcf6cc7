"""Commands with one photo: results by name, standard streams, and rembg's command."""

import io
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.conftest import on_socket
from tests.integration.pictures import pixels
from tests.support.images import TEXT, make_jpeg, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

JPEG = make_jpeg(quadrants())
OPAQUE_RED = [255, 0, 0, 255]


@pytest.fixture
def silhouette(repository, monkeypatch, tmp_path):
    """Runs a command in a folder that has a.jpg."""
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(JPEG)
    return lambda *arguments, **more: CliRunner().invoke(app, arguments, **more)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def image_format(body: bytes) -> str | None:
    return Image.open(io.BytesIO(body)).format


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("out.png", "PNG"),
        ("OUT.JPG", "JPEG"),
        ("out.jpeg", "JPEG"),
        ("x/y/out.webp", "WEBP"),
        ("out.avif", "AVIF"),
    ],
)
def test_result_of_one_photo_is_the_named_file(silhouette, tmp_path, name, format):
    result = silhouette("segment", "a.jpg", "-o", name)
    assert result.exit_code == 0, result.output
    assert image_format((tmp_path / name).read_bytes()) == format
    assert f"1 of 1 photos done, in {name}" in result.stdout


def test_existing_folder_with_a_picture_suffix_stays_a_folder(silhouette, tmp_path):
    (tmp_path / "out.png").mkdir()
    assert silhouette("segment", "a.jpg", "-o", "out.png").exit_code == 0
    assert names(tmp_path / "out.png") == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("a.jpg", "a.jpg", "-o", "out.png"), "out.png is one picture: name a folder"),
        ((".", "-o", "out.png"), "out.png is one picture: name a folder"),
        ((".", "-o", "-"), "standard output takes the result of one photo"),
        (
            ("a.jpg", "-o", "out.gif"),
            "pictures are written as .jpeg or .jpg or .png or .webp or .avif",
        ),
        (("a.jpg", "-o", "out.mp4"), "out.mp4 is one video: name a folder"),
        (("a.jpg", "-o", "out.png", "--format", "webp"), "--format: webp does not match"),
        (("a.jpg", "-o", "out.jpg", "--output", "cutout"), "JPEG has no transparency"),
        (("a.jpg", "-o", "a.jpg"), "would overwrite a photo"),
    ],
)
def test_impossible_result_file_is_an_error(silhouette, tmp_path, arguments, reason):
    result = silhouette("segment", *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert names(tmp_path) == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == JPEG


def test_standard_streams_are_input_and_output(silhouette, tmp_path):
    options = ("--output", "cutout", "--format", "webp")
    result = silhouette("segment", "-", "-o", "-", *options, input=JPEG)
    assert result.exit_code == 0, result.stderr
    assert image_format(result.stdout_bytes) == "WEBP"
    assert "1 of 1 photos done, to standard output" in result.stderr
    assert names(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize(("to", "name"), [("out.png", "out.png"), ("out", "out/stdin.png")])
def test_standard_input_can_become_a_file(silhouette, tmp_path, to, name):
    result = silhouette("segment", "-", "-o", to, input=JPEG)
    assert result.exit_code == 0, result.stderr
    assert pixels((tmp_path / name).read_bytes()).shape == (64, 96)


def test_file_can_go_to_standard_output(silhouette):
    result = silhouette("segment", "a.jpg", "-o", "-", "--skip-existing")
    assert result.exit_code == 0, result.stderr
    assert pixels(result.stdout_bytes).shape == (64, 96)


@pytest.mark.parametrize("body", [b"", TEXT, JPEG[:300]])
def test_bad_standard_input_is_a_failure_without_output(silhouette, body):
    result = silhouette("segment", "-", "-o", "-", input=body)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    assert "standard input: " in result.stderr


def test_standard_streams_work_with_a_service(silhouette, monkeypatch, tmp_path, settings_with):
    with on_socket(settings_with()) as service:
        monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
        result = silhouette("segment", "-", "-o", "-", "--server", service.url, input=JPEG)
        named = silhouette("i", "a.jpg", "out.webp", "--server", service.url)
    assert result.exit_code == 0, result.stderr
    assert pixels(result.stdout_bytes).shape == (64, 96)
    assert named.exit_code == 0, named.stderr
    assert pixels((tmp_path / "out.webp").read_bytes()).shape == (64, 96, 4)


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "reason"),
    [("stdin", "standard input is a terminal"), ("stdout", "standard output is a terminal")],
)
def test_picture_is_never_read_from_or_written_to_a_terminal(
    silhouette, monkeypatch, capsys, stream, reason
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(JPEG)))
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(Terminal()))
    with pytest.raises(SystemExit) as ended:
        app(["segment", "-", "-o", "-"])
    assert ended.value.code == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.png", "out", "OUT"])
def test_rembg_command_writes_a_cutout_to_the_named_file(silhouette, tmp_path, name):
    result = silhouette("i", "a.jpg", name)
    assert result.exit_code == 0, result.output
    cutout = pixels((tmp_path / name).read_bytes())
    assert cutout[16, 24].tolist() == pytest.approx(OPAQUE_RED, abs=12)
    assert cutout[16, 72, 3] < 12


@pytest.mark.parametrize("arguments", [(), ("-",), ("-", "-")])
def test_rembg_command_is_a_filter_by_default(silhouette, arguments):
    result = silhouette("i", *arguments, input=JPEG)
    assert result.exit_code == 0, result.stderr
    assert pixels(result.stdout_bytes).shape == (64, 96, 4)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (("-om",), (64, 96)),
        (("--only-mask",), (64, 96)),
        (("--output", "composite", "--background", "#0000ff"), (64, 96, 3)),
    ],
)
def test_rembg_command_has_other_outputs(silhouette, options, shape):
    result = silhouette("i", "a.jpg", "-", *options)
    assert result.exit_code == 0, result.stderr
    assert pixels(result.stdout_bytes).shape == shape


def test_rembg_command_names_its_default_output(silhouette):
    result = silhouette("i", "--help")
    assert result.exit_code == 0
    assert "[INPUT] [OUTPUT]" in result.stdout
    assert "[default: (cutout)]" in result.stdout


def test_piped_photo_is_segmented_like_the_file(silhouette, tmp_path):
    piped = silhouette("segment", "-", "-o", "-", input=JPEG)
    silhouette("segment", "a.jpg", "-o", "out.png")
    assert piped.stdout_bytes == (tmp_path / "out.png").read_bytes()
    assert np.ptp(pixels(piped.stdout_bytes)) > 200


def test_photo_needs_no_other_model_than_its_own(silhouette, monkeypatch, tmp_path):
    for name in ("connectnet", "rcrnet"):
        write_tiny_model(tmp_path / "models", tiny_spec(name))
    (tmp_path / "models/rcrnet/1/model.onnx").write_bytes(b"damaged")
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path / "models"))
    result = silhouette("segment", "a.jpg", "-o", "good.png", "--model", "connectnet")
    assert result.exit_code == 0, result.output

    result = silhouette("segment", "a.jpg", "a.jpg", "-o", "bad", "--model", "rcrnet")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: The weights of rcrnet do not match the digest in its spec"
    ]
