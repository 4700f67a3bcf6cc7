"""The live tab in Chromium with a file as its camera.

The alpha of the test model is the red channel. The camera shows a red figure that sways in front of
a green room. Results show the figure in front of the selected background.
"""

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sin, tau
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from websockets.sync.client import connect

from silhouette_seg.api import models
from silhouette_seg.settings import Settings
from silhouette_seg.streaming import protocol
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.page_object import FLAGS, DemoPage
from tests.support.images import make, quadrants

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
]

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 812}
INSECURE_HOST = "silhouette.test"
"""A name of this machine that browsers do not treat as localhost."""
LIVE_FLAGS = (
    *FLAGS,
    "--allow-loopback-in-peer-connection",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
)
TRANSPORTS = ("websocket", "webrtc")

WIDTH, HEIGHT = 640, 480
ROOM, FIGURE = (0, 96, 64), (255, 0, 0)
CORNER, CHEST = (60, 60), (WIDTH // 2, 400)
"""Points (x, y) that always show the room and the figure."""
TOLERANCE_LEVELS = 28
"""Largest error of JPEG and VP8 in a flat colour, in levels of 0..255."""

_POINT_HAS_COLOUR = """([[x, y], colour, tolerance]) => {
  const view = document.querySelector('#live-result > *');
  const width = view?.videoWidth ?? view?.width, height = view?.videoHeight ?? view?.height;
  if (!width) return false;
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
  const context = canvas.getContext('2d');
  context.drawImage(view, 0, 0, 640, 480);
  window.lastPixel = [...context.getImageData(x, y, 1, 1).data];
  return colour.every((level, i) => Math.abs(level - window.lastPixel[i]) <= tolerance);
}"""


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory) -> Path:
    """Writes two seconds of JPEG frames, which Chromium repeats."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    path.write_bytes(b"".join(_camera_frame(20 * sin(tau * n / 60)) for n in range(60)))
    return path


def _camera_frame(shift: float) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), ROOM)
    draw = ImageDraw.Draw(image)
    middle = WIDTH / 2 + shift
    draw.ellipse((middle - 80, 60, middle + 80, 250), FIGURE)
    draw.ellipse((middle - 190, 240, middle + 190, 800), FIGURE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(playwright, camera_file) -> Iterator[Any]:
    """Starts a browser with one camera. Each page sets its own permissions."""
    flags = (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera_file}",
    )
    with _launched(playwright, flags) as browser:
        yield browser


@contextmanager
def _launched(playwright: Any, flags: tuple[str, ...]) -> Iterator[Any]:
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, headless=True, args=[*LIVE_FLAGS, *flags]
    )
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def live_settings(settings_with) -> Callable[..., Settings]:
    """Settings for loopback with long timeouts: a busy browser may draw no frame for a while."""

    def make(**overrides: Any) -> Settings:
        timeouts = {"stream_idle_s": 120, "webrtc_idle_s": 120, "webrtc_connect_s": 120}
        return settings_with(webrtc_hosts=("127.0.0.1",), **timeouts, **overrides)

    return make


@pytest.fixture(scope="module")
def running(live_settings) -> Iterator[OnSocket]:
    with on_socket(live_settings()) as running:
        yield running


@dataclass
class LivePage:
    """The live tab of a page, and the server that it uses."""

    demo: DemoPage
    running: OnSocket

    @property
    def page(self) -> Any:
        return self.demo.page

    def start(self) -> None:
        self.page.get_by_role("button", name="Start the camera").click()

    def wait_live(self) -> None:
        self.page.wait_for_selector("#live[data-state=live]")

    def wait_off(self) -> None:
        """Waits until the camera is closed and the server has released the stream."""
        self.page.wait_for_selector("#live[data-state=off]", state="attached")
        assert self.camera_is_off()
        self.running.wait(self.no_streams)

    def camera_is_off(self) -> bool:
        return self.page.evaluate("document.querySelector('#camera').srcObject") is None

    def select(self, name: str, value: str) -> None:
        self.demo.select(name, value)

    def wait_for_colour(self, point: tuple[int, int], colour: tuple[int, int, int]) -> None:
        """Waits until the result has a colour at a point."""
        try:
            self.page.wait_for_function(
                _POINT_HAS_COLOUR, arg=[point, colour, TOLERANCE_LEVELS], polling=50
            )
        except sync_api.TimeoutError:
            last = self.page.evaluate("window.lastPixel")
            text = self.page.inner_text("#live")
            pytest.fail(f"{point} is {last}, not {colour}; text of the page: {text}")

    def alert(self) -> str:
        shown = self.page.get_by_role("alert")
        shown.wait_for()
        return str(shown.inner_text())

    def no_streams(self) -> bool:
        metrics = httpx.get(f"{self.running.url}/metrics").text
        none = (f'silhouette_streams{{transport="{transport}"}} 0.0' for transport in TRANSPORTS)
        return all(line in metrics for line in none)


@pytest.fixture
def open_live(chromium) -> Iterator[Callable[..., LivePage]]:
    """Opens the live tab of a server, and checks afterwards that the page logged no errors."""
    demos: list[DemoPage] = []

    def open_tab(
        running: OnSocket,
        *,
        browser: Any = None,
        origin: str | None = None,
        permissions: tuple[str, ...] = ("camera",),
        **context: Any,
    ) -> LivePage:
        settings = {"viewport": DESKTOP, "reduced_motion": "reduce"} | context
        profile = (browser or chromium).new_context(permissions=permissions, **settings)
        demo = DemoPage(profile.new_page(), origin or running.url)
        demos.append(demo)
        demo.open()
        demo.page.get_by_role("tab", name="Live").click()
        return LivePage(demo, running)

    yield open_tab
    for demo in demos:
        demo.page.context.close()
    assert [demo.errors for demo in demos] == [[]] * len(demos)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_camera_returns_with_selected_background(transport, open_live, running, tmp_path):
    live = open_live(running)
    live.select("transport", transport)
    live.select("scene", "colour")
    live.page.locator("#live-options [name=colour]").fill("#20639b")
    live.start()
    live.wait_live()
    live.wait_for_colour(CORNER, (0x20, 0x63, 0x9B))
    live.wait_for_colour(CHEST, FIGURE)

    live.page.locator("#live-options [data-colour='#f2c9a8']").click()
    live.wait_for_colour(CORNER, (0xF2, 0xC9, 0xA8))
    live.select("scene", "image")
    green = np.full((30, 40, 3), (10, 200, 120), np.uint8)
    picture = {"name": "b.png", "mimeType": "image/png", "buffer": make("PNG", green)}
    live.page.set_input_files("#live-background-image", picture)
    live.wait_for_colour(CORNER, (10, 200, 120))
    live.wait_for_colour(CHEST, FIGURE)
    live.select("scene", "blur")
    live.wait_for_colour(CORNER, ROOM)
    live.page.wait_for_selector("#live-stats-list dd")
    live.page.screenshot(path=tmp_path / f"{transport}.png")
    live.page.set_viewport_size(PHONE)
    live.page.screenshot(path=tmp_path / f"{transport}-phone.png", full_page=True)
    live.page.set_viewport_size(DESKTOP)  # a video outside the viewport may not play
    live.select("scene", "mask")
    live.wait_for_colour(CORNER, (0, 0, 0))
    live.wait_for_colour(CHEST, (255, 255, 255))

    assert re.search(r"Sent\s+\d+...\d+, \d", live.page.inner_text("#live-stats-list"))
    live.page.get_by_role("button", name="Stop").click()
    live.wait_off()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_live_tab_after_a_photo_shows_its_stage(viewport, open_live, running):
    live = open_live(running, viewport=viewport)
    empty = live.page.locator("#live-stage").bounding_box()
    live.page.get_by_role("tab", name="Photo").click()
    live.demo.choose_photo(make("PNG", quadrants()))
    live.demo.wait_for_result()
    live.page.get_by_role("tab", name="Live").click()

    assert live.page.get_by_role("button", name="Start the camera").is_visible()
    assert live.page.locator("#live-stage").bounding_box() == empty
    live.start()
    live.wait_live()
    live.page.get_by_role("button", name="Stop").click()
    live.wait_off()
    live.page.get_by_role("tab", name="Photo").click()

    assert live.page.is_visible("#frame")
    assert not live.page.locator("#stage .drop").is_visible()


def test_transport_that_is_not_installed_is_disabled(open_live, running, monkeypatch):
    monkeypatch.setattr(models, "STREAM_TRANSPORTS", ("websocket",))
    live = open_live(running)
    websocket, webrtc = (
        live.page.locator(f"#live-options [name=transport][value={name}]") for name in TRANSPORTS
    )
    live.page.get_by_text("pip install 'silhouette-seg[live]'").wait_for()
    assert webrtc.is_disabled()
    assert websocket.is_enabled()
    assert websocket.is_checked()


def test_statistics_show_rates_and_times(open_live, running):
    live = open_live(running)
    live.start()
    live.wait_live()
    live.page.wait_for_selector("#live-stats-list dd")

    statistics = live.page.inner_text("#live-stats-list")
    for label, unit in (("Round trip p50", "ms"), ("Round trip p95", "ms"), ("Server time", "ms")):
        assert re.search(rf"{label}\s+[\d.]+\s{unit}", statistics), statistics
    assert re.search(r"Received\s+640...480", statistics), statistics
    assert "aria-live" not in live.page.eval_on_selector("#live-stats", "card => card.outerHTML")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_leaving_the_tab_ends_the_stream(transport, open_live, running):
    live = open_live(running)
    live.select("transport", transport)
    live.start()
    live.wait_live()
    live.page.get_by_role("tab", name="Photo").click()

    live.wait_off()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_leaving_the_page_ends_the_stream(transport, open_live, running):
    live = open_live(running)
    live.select("transport", transport)
    live.start()
    live.wait_live()
    live.page.goto("about:blank")

    running.wait(live.no_streams)


def test_change_of_transport_restarts_stream(open_live, running):
    live = open_live(running)
    live.start()
    live.wait_live()
    live.select("transport", "webrtc")
    live.page.wait_for_selector("#live-result video")

    assert live.page.locator("#live-result > *").count() == 1
    live.page.get_by_role("button", name="Stop").click()
    live.wait_off()


def test_insecure_page_reports_missing_camera_access(open_live, running):
    port = running.port
    live = open_live(running, origin=f"http://{INSECURE_HOST}:{port}", permissions=())
    live.start()

    assert "HTTPS" in live.alert()
    assert not live.page.is_visible("#live-retry")
    live.wait_off()


def test_denied_permission_is_reported(open_live, running):
    live = open_live(running, permissions=())
    live.page.context.new_cdp_session(live.page).send(
        "Browser.setPermission", {"permission": {"name": "camera"}, "setting": "denied"}
    )
    live.start()

    assert "may not use the camera" in live.alert()
    assert live.page.is_visible("#live-retry")
    live.wait_off()


def test_missing_camera_is_reported(open_live, running, playwright):
    with _launched(playwright, ("--use-fake-device-for-media-stream=device-count=0",)) as browser:
        live = open_live(running, browser=browser)
        live.start()

        assert "No camera was found" in live.alert()
        live.wait_off()
        assert live.demo.errors == []


def test_second_camera_is_selectable(open_live, running, playwright):
    with _launched(playwright, ("--use-fake-device-for-media-stream=device-count=2",)) as browser:
        live = open_live(running, browser=browser)
        live.start()
        live.wait_live()
        choice = live.page.get_by_label("Camera", exact=True)
        names = choice.locator("option").all_inner_texts()
        choice.select_option(names[1])
        live.wait_live()

        assert len(set(names)) == 2
        label = "document.querySelector('#camera').srcObject.getVideoTracks()[0].label"
        assert live.page.evaluate(label) == names[1]


def test_rejected_stream_succeeds_after_retry(open_live, live_settings):
    with on_socket(live_settings(max_streams=1, max_streams_per_caller=2)) as running:
        live = open_live(running)
        url = running.url.replace("http", "ws") + "/v1/stream"
        with connect(url, subprotocols=[protocol.SUBPROTOCOL], proxy=None) as other:
            other.send(protocol.text_message("config", {}))
            assert json.loads(other.recv())["type"] == "ready"
            live.start()
            assert "The server is at capacity" in live.alert()
        running.wait(live.no_streams)
        live.page.get_by_role("button", name="Try again").click()
        live.wait_live()

        assert not live.page.is_visible("#live-problem")


@pytest.mark.parametrize(
    ("transport", "texts"),
    [
        ("websocket", ("The server is restarting", "The service is shutting down.")),
        ("webrtc", ("The connection was lost",)),
    ],
)
def test_shutdown_of_server_is_reported(transport, texts, open_live, live_settings):
    with on_socket(live_settings()) as running:
        live = open_live(running)
        live.select("transport", transport)
        live.start()
        live.wait_live()
        running.server.should_exit = True

        text = live.alert()
        for expected in texts:
            assert expected in text
        assert live.page.is_visible("#live-retry")
        assert live.camera_is_off()


def test_stream_starts_after_required_key(open_live, live_settings):
    with on_socket(live_settings(api_keys=("sesame",))) as running:
        live = open_live(running)
        live.start()
        live.demo.submit_key("guess")
        live.page.get_by_text("That key was not accepted.").wait_for()
        live.demo.submit_key("sesame")
        live.wait_live()

        assert not live.page.is_visible("#live-problem")
        live.demo.expect_http_error(401, times=2)  # requests for the list of models


def test_tabs_follow_keyboard_and_survive_reload(open_live, running):
    live = open_live(running)
    live.page.keyboard.press("ArrowLeft")
    assert live.page.is_visible("#stage")
    assert not live.page.is_visible("#live")
    live.page.keyboard.press("ArrowRight")
    live.page.reload()

    assert live.page.is_visible("#live")
    assert live.page.get_by_role("tab", selected=True).inner_text() == "Live"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_layout_fits_the_width(scheme, open_live, running, tmp_path):
    live = open_live(running, viewport=PHONE, color_scheme=scheme)
    live.page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)

    assert live.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_protocol_of_page_matches_server(open_live, running):
    live = open_live(running)
    header = protocol.MessageHeader(
        protocol.MessageKind.RESULT, 2**32 - 1, 123_456_789, protocol.MessageFlags.FOREGROUND
    )
    message = protocol.pack_result(header, protocol.ResultHeader(640, 480, 7, 12_500), b"jpeg")
    seen = live.page.evaluate(
        """async bytes => {
          const { packFrameHeader, unpackMessage, unpackResult } =
            await import('/web/api/protocol.js');
          const { body, ...header } = unpackMessage(new Uint8Array(bytes).buffer);
          const { image, ...result } = unpackResult(body);
          const sent = [...new Uint8Array(packFrameHeader(4_000_000_000, 1234.5678))];
          return { header, result, image: [...new Uint8Array(image)], sent };
        }""",
        list(message),
    )
    sent, rest = protocol.unpack(bytes(seen["sent"]))

    assert seen["header"] == {"kind": 2, "flags": 1, "seq": 2**32 - 1, "sentMs": 123_456.789}
    assert seen["result"] == {"width": 640, "height": 480, "skipped": 7, "serverMs": 12.5}
    assert bytes(seen["image"]) == b"jpeg"
    assert sent == protocol.MessageHeader(protocol.MessageKind.FRAME, 4_000_000_000, 1_234_568)
    assert not rest


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.95, 7), ([30, 10, 20], 0.5, 20), (list(range(1, 101)), 0.95, 95)],
)
def test_percentile_uses_nearest_rank(values, share, expected, open_live, running):
    live = open_live(running)
    seen = live.page.evaluate(
        """async ([values, share]) =>
          (await import('/web/live/live-stats.js')).percentile(values, share)""",
        [values, share],
    )
    assert seen == expected
