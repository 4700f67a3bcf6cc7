"""`silhouette segment --server`: photos through a service on a real socket, no model here."""

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

KEY = "a key of the tests"


@pytest.fixture(scope="module")
def keyed(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(api_keys=(KEY,), max_body_bytes=200_000)) as running:
        yield running


@pytest.fixture
def silhouette(keyed, monkeypatch, tmp_path):
    # Nothing here to segment with: the service does it all.
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()

    def run(*arguments, server=keyed.url, key=KEY):
        order = ["segment", *arguments, "--server", server, *(("--key", key) if key else ())]
        return runner.invoke(app, [str(argument) for argument in order])

    return run


@pytest.fixture
def album(tmp_path):
    """a.jpg, sub/b.png and broken.jpg."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(make_jpeg(quadrants()))
    (folder / "sub" / "b.png").write_bytes(make_png(quadrants(40, 60)))
    (folder / "broken.jpg").write_bytes(TEXT)
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_results_and_failures_are_those_of_this_machine(silhouette, album, tmp_path):
    ended = silhouette(album, "-o", tmp_path / "out", "--output", "cutout")
    assert ended.exit_code == 1
    assert files(tmp_path / "out") == ["a.png", "sub/b.png"]
    assert pixels((tmp_path / "out" / "sub" / "b.png").read_bytes()).shape == (40, 60, 4)
    assert f"{album / 'broken.jpg'}: Allowed types are JPEG, PNG and WebP." in ended.stderr
    assert "2 of 3 photos done" in ended.stdout


def test_options_go_along_and_so_does_a_background(silhouette, album, tmp_path):
    (tmp_path / "wall.png").write_bytes(make_png(np.full((9, 9, 3), (1, 2, 3), np.uint8)))
    composite = (album / "a.jpg", "-o", tmp_path / "out", "--output", "composite", "--background")
    assert silhouette(*composite, tmp_path / "wall.png").exit_code == 0
    assert pixels((tmp_path / "out" / "a.png").read_bytes())[16, 72].tolist() == [1, 2, 3]
    assert silhouette(*composite, "#0000ff", "--format", "webp").exit_code == 0
    image = pixels((tmp_path / "out" / "a.webp").read_bytes())
    assert image[16, 72].tolist() == pytest.approx([0, 0, 255], abs=12)


def test_key_may_come_from_the_environment(silhouette, album, tmp_path, monkeypatch):
    monkeypatch.setenv(CLIENT_KEY_VARIABLE, KEY)
    ended = silhouette(album / "a.jpg", "-o", tmp_path / "out", key=None)
    assert ended.exit_code == 0, ended.output


def test_the_key_of_the_client_is_no_setting_and_stops_no_start(monkeypatch, repository):
    monkeypatch.setenv(CLIENT_KEY_VARIABLE, KEY)
    assert KEY not in repr(Settings(model_repository=repository))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "wrong"}, "key"),
        ({"key": None}, "key"),
        ({"server": "nowhere"}, "is not like http://host:port"),
    ],
)
def test_service_that_does_not_want_us_is_told_once(silhouette, album, tmp_path, options, reason):
    ended = silhouette(album, "-o", tmp_path / "out", **options)
    assert ended.exit_code == 1
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert reason in errors[0]
    assert not (tmp_path / "out").exists()


def test_nobody_there_is_told(silhouette, album, tmp_path):
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ended = silhouette(album / "a.jpg", "-o", tmp_path / "out", server=url)
    assert ended.exit_code == 1
    assert f"error: {url} cannot be reached" in ended.stderr


def test_model_is_one_of_the_service(silhouette, album, tmp_path):
    ended = silhouette(album / "a.jpg", "-o", tmp_path / "out", "--model", "nobody")
    assert ended.exit_code == 1
    assert "Unknown model 'nobody'; available: connectnet" in ended.stderr
    order = (album / "a.jpg", "-o", tmp_path / "out", "--model", "connectnet")
    assert silhouette(*order).exit_code == 0


def test_photo_beyond_the_limits_of_the_service_is_told(silhouette, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    (tmp_path / "big.png").write_bytes(make_png(noise))
    ended = silhouette(tmp_path / "big.png", "-o", tmp_path / "out")
    assert ended.exit_code == 1
    assert "more than 200000 bytes" in ended.stderr


def test_video_is_not_sent(silhouette, tmp_path):
    (tmp_path / "talk.mp4").write_bytes(b"never opened")
    ended = silhouette(tmp_path / "talk.mp4", "-o", tmp_path / "out.mp4")
    assert ended.exit_code == 1
    assert "Videos cannot be sent to a service" in ended.stderr
