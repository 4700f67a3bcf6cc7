"""`silhouette segment --server`: photos through a service on a real socket, without a model."""

import socket
from collections.abc import Iterator

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from silhouette_seg.settings import CLIENT_KEY_VARIABLE, Settings
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.pictures import pixels
from tests.support.images import TEXT, make_jpeg, make_png, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

KEY = "a key of the tests"
VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0"
"""Beginning of a video that must not be opened."""


@pytest.fixture(scope="module")
def keyed(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(api_keys=(KEY,), max_body_bytes=200_000)) as running:
        yield running


@pytest.fixture
def silhouette(keyed, monkeypatch, tmp_path):
    # The command has no model of its own.
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()

    def run(*arguments, server=keyed.url, key=KEY):
        command = ["segment", *arguments, "--server", server, *(("--key", key) if key else ())]
        return runner.invoke(app, [str(argument) for argument in command])

    return run


@pytest.fixture
def album(tmp_path):
    """Returns a folder with a.jpg, sub/b.png and broken.jpg."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(make_jpeg(quadrants()))
    (folder / "sub" / "b.png").write_bytes(make_png(quadrants(40, 60)))
    (folder / "broken.jpg").write_bytes(TEXT)
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_remote_results_and_failures_equal_local_ones(silhouette, album, tmp_path):
    result = silhouette(album, "-o", tmp_path / "out", "--output", "cutout")
    assert result.exit_code == 1
    assert files(tmp_path / "out") == ["a.png", "sub/b.png"]
    assert pixels((tmp_path / "out" / "sub" / "b.png").read_bytes()).shape == (40, 60, 4)
    assert f"{album / 'broken.jpg'}: Allowed types are JPEG, PNG, WebP" in result.stderr
    assert "2 of 3 photos done" in result.stdout


def test_parameters_and_background_file_are_sent(silhouette, album, tmp_path):
    (tmp_path / "wall.png").write_bytes(make_png(np.full((9, 9, 3), (1, 2, 3), np.uint8)))
    composite = (album / "a.jpg", "-o", tmp_path / "out", "--output", "composite", "--background")
    assert silhouette(*composite, tmp_path / "wall.png").exit_code == 0
    assert pixels((tmp_path / "out" / "a.png").read_bytes())[16, 72].tolist() == [1, 2, 3]
    assert silhouette(*composite, "#0000ff", "--format", "webp").exit_code == 0
    image = pixels((tmp_path / "out" / "a.webp").read_bytes())
    assert image[16, 72].tolist() == pytest.approx([0, 0, 255], abs=12)


def test_key_is_read_from_the_environment(silhouette, album, tmp_path, monkeypatch):
    monkeypatch.setenv(CLIENT_KEY_VARIABLE, KEY)
    result = silhouette(album / "a.jpg", "-o", tmp_path / "out", key=None)
    assert result.exit_code == 0, result.output


def test_client_key_is_no_setting_of_the_service(monkeypatch, repository):
    monkeypatch.setenv(CLIENT_KEY_VARIABLE, KEY)
    assert KEY not in repr(Settings(model_repository=repository))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "wrong"}, "--key: the service requires a valid key"),
        ({"key": None}, "--key: the service requires a valid key"),
        ({"server": "nowhere"}, "--server: has no scheme; write http://nowhere"),
    ],
)
def test_rejected_connection_is_one_error(silhouette, album, tmp_path, options, reason):
    result = silhouette(album, "-o", tmp_path / "out", **options)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert reason in errors[0]
    assert not (tmp_path / "out").exists()


def test_unreachable_service_is_an_error(silhouette, album, tmp_path):
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        result = silhouette(album / "a.jpg", "-o", tmp_path / "out", server=url)
    assert result.exit_code == 1
    assert f"error: {url} cannot be reached" in result.stderr


def test_model_option_is_checked_by_the_service(silhouette, album, tmp_path):
    result = silhouette(album / "a.jpg", "-o", tmp_path / "out", "--model", "unknown")
    assert result.exit_code == 1
    assert "Unknown model 'unknown'; available: connectnet" in result.stderr
    command = (album / "a.jpg", "-o", tmp_path / "out", "--model", "connectnet")
    assert silhouette(*command).exit_code == 0


def test_broken_model_of_the_service_is_named_with_its_reason(
    silhouette, settings_with, album, tmp_path
):
    models = tmp_path / "models"
    write_tiny_model(models, tiny_spec("rcrnet"))
    write_tiny_model(models).model_file(models).unlink()
    with on_socket(settings_with(model_repository=models)) as broken:
        command = (album / "a.jpg", "-o", tmp_path / "out", "--model", "connectnet")
        result = silhouette(*command, server=broken.url)
    assert result.exit_code == 1
    reason = "The weights of connectnet cannot be read"
    assert f"error: connectnet is not available: {reason}" in result.stderr


def test_photo_beyond_service_limits_is_a_failure(silhouette, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    (tmp_path / "big.png").write_bytes(make_png(noise))
    result = silhouette(tmp_path / "big.png", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "more than 200000 bytes" in result.stderr


def test_video_fails_with_server_before_it_is_asked(silhouette, tmp_path):
    (tmp_path / "talk.mp4").write_bytes(VIDEO)
    result = silhouette(
        tmp_path / "talk.mp4", "-o", tmp_path / "out.mp4", server="http://0.0.0.0:9"
    )
    assert result.exit_code == 1
    assert f"{tmp_path / 'talk.mp4'}: Videos cannot be sent to a service" in result.stderr
    assert "cannot be reached" not in result.stderr


def test_photos_beside_videos_are_sent_to_server(silhouette, album, tmp_path):
    (album / "talk.mp4").write_bytes(VIDEO)
    result = silhouette(album, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert files(tmp_path / "out") == ["a.png", "sub/b.png"]
    assert f"{album / 'talk.mp4'}: Videos cannot be sent to a service" in result.stderr
    assert "2 of 4 files done" in result.stdout
