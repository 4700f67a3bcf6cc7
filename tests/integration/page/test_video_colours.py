"""The colours of written videos in a browser: a chosen background is shown as chosen."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.page.browser import BROWSER_MARKS, launched_chromium
from tests.integration.pictures import pixels
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.video_colours import UNTAGGED, Tags, make_colour_video

pytestmark = BROWSER_MARKS

GREEN = (0x00, 0xB1, 0x40)
NIGHT = (0.0, 0.1, 0.3)
"""Colour of the videos. It has no red, and the model finds the red."""
SHOW = """async (url) => {
  const video = document.createElement('video');
  video.muted = true;
  video.src = url;
  video.style.cssText = 'position: absolute; left: 0; top: 0; width: 64px; height: 48px';
  document.body.replaceChildren(video);
  await new Promise((done, failed) => {
    video.onloadeddata = done;
    video.onerror = () => failed(new Error(video.error.message));
  });
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


@pytest.fixture(scope="module")
def page(playwright):
    with launched_chromium(playwright, has_gpu=True) as browser:
        yield browser.new_page(viewport={"width": 64, "height": 48})


def shown(page, video) -> list[int]:
    """Returns the colour in the middle of a video on the screen."""
    page.goto("about:blank")
    page.evaluate(SHOW, "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode())
    return pixels(page.screenshot())[24, 32, :3].tolist()


@pytest.mark.parametrize("hw", [(480, 640), (720, 1280)], ids=["480p", "720p"])
@pytest.mark.parametrize(
    ("matrix", "tags"),
    [
        (None, UNTAGGED),
        (1, Tags(1, 1, 1)),
        (6, Tags(6, 6, 6)),
        (5, Tags(5, 5, 6)),
        (9, Tags(9, 9, 14)),
    ],
    ids=["untagged", "BT.709", "SMPTE 170M", "BT.470BG", "BT.2020"],
)
def test_browser_shows_chosen_background(page, monkeypatch, tmp_path, hw, matrix, tags):
    write_tiny_model(tmp_path / "models", tiny_spec(size_hw=(48, 64)))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path / "models"))
    assumed = 1 if hw[0] >= 720 else 6
    make_colour_video(tmp_path / "a.mp4", NIGHT, matrix or assumed, tags, hw)
    options = ("--output", "composite", "--background", "#00b140")
    command = ["segment", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out.mp4"), *options]
    with ThreadPoolExecutor(1) as thread:  # Playwright occupies the event loop of this one
        result = thread.submit(CliRunner().invoke, app, command).result()
    assert result.exit_code == 0, result.output
    assert shown(page, tmp_path / "out.mp4") == pytest.approx(GREEN, abs=3)
