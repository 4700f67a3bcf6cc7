"""The live tab in a real Chromium whose camera is a file; the model's alpha is the red channel.

The camera shows a red figure that sways before a green room, so what comes back has a red figure
before whatever was asked for.
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

from silhouette_seg.settings import Settings
from silhouette_seg.streaming import protocol
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.visit import FLAGS, Visit
from tests.support.images import make, quadrants

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
]

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 812}
ELSEWHERE = "silhouette.test"
"""A name for this machine that browsers do not take for localhost."""
LIVE_FLAGS = (
    *FLAGS,
    "--allow-loopback-in-peer-connection",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
)
TRANSPORTS = ("websocket", "webrtc")

WIDTH, HEIGHT = 640, 480
ROOM, FIGURE = (0, 96, 64), (255, 0, 0)
CORNER, CHEST = (60, 60), (WIDTH // 2, 400)
"""(x, y) where the room always is, and where the figure is."""
CLOSE_BY = 28
"""Levels that JPEG or VP8 may take a flat colour away from itself."""

_NEAR = """([[x, y], colour, tolerance]) => {
  const view = document.querySelector('#live-picture > *');
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
    """Two seconds, as JPEGs one after the other; Chromium begins again at the end."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    path.write_bytes(b"".join(_picture(20 * sin(tau * n / 60)) for n in range(60)))
    return path


def _picture(shift: float) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), ROOM)
    draw = ImageDraw.Draw(image)
    middle = WIDTH / 2 + shift
    draw.ellipse((middle - 80, 60, middle + 80, 250), FIGURE)
    draw.ellipse((middle - 190, 240, middle + 190, 800), FIGURE)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def playing() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playing, camera_file) -> Iterator[Any]:
    """With one camera. Who may use it is up to each visit."""
    flags = (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera_file}",
    )
    with _launched(playing, flags) as browser:
        yield browser


@contextmanager
def _launched(playing: Any, flags: tuple[str, ...]) -> Iterator[Any]:
    browser = playing.chromium.launch(
        executable_path=CHROMIUM, headless=True, args=[*LIVE_FLAGS, *flags]
    )
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def live_settings(settings_with) -> Callable[..., Settings]:
    """On loopback alone, and patient: on a busy machine a browser may draw no frame for long."""

    def make(**overrides: Any) -> Settings:
        patient = {"stream_idle_s": 120, "webrtc_idle_s": 120, "webrtc_connect_s": 120}
        return settings_with(webrtc_hosts=("127.0.0.1",), **patient, **overrides)

    return make


@pytest.fixture(scope="module")
def running(live_settings) -> Iterator[OnSocket]:
    with on_socket(live_settings()) as running:
        yield running


@dataclass
class LiveVisit:
    """A visit to the live tab; `running` is the server's side of it."""

    visit: Visit
    running: OnSocket

    @property
    def page(self) -> Any:
        return self.visit.page

    def start(self) -> None:
        self.page.get_by_role("button", name="Start the camera").click()

    def live(self) -> None:
        self.page.wait_for_selector("#live[data-state=live]")

    def off(self) -> None:
        """The camera is closed, and the server has its place back."""
        self.page.wait_for_selector("#live[data-state=off]", state="attached")
        assert self.camera_is_off()
        self.running.wait(self.no_streams)

    def camera_is_off(self) -> bool:
        return self.page.evaluate("document.querySelector('#camera').srcObject") is None

    def choose(self, name: str, value: str) -> None:
        self.visit.pick(name, value)

    def comes_near(self, point: tuple[int, int], colour: tuple[int, int, int]) -> None:
        """Waits until the picture that came back has the colour there."""
        try:
            self.page.wait_for_function(_NEAR, arg=[point, colour, CLOSE_BY], polling=50)
        except sync_api.TimeoutError:
            last = self.page.evaluate("window.lastPixel")
            told = self.page.inner_text("#live")
            pytest.fail(f"{point} never became {colour}; it is {last}, and the page says: {told}")

    def alert(self) -> str:
        shown = self.page.get_by_role("alert")
        shown.wait_for()
        return str(shown.inner_text())

    def no_streams(self) -> bool:
        metrics = httpx.get(f"{self.running.url}/metrics").text
        none = (f'silhouette_streams{{transport="{each}"}} 0.0' for each in TRANSPORTS)
        return all(line in metrics for line in none)


@pytest.fixture
def visit_to(chromium) -> Iterator[Callable[..., LiveVisit]]:
    """Opens the live tab of a server; no visit may end with a complaint or an outside request."""
    visits: list[Visit] = []

    def open_tab(
        running: OnSocket,
        *,
        browser: Any = None,
        origin: str | None = None,
        permissions: tuple[str, ...] = ("camera",),
        **context: Any,
    ) -> LiveVisit:
        settings = {"viewport": DESKTOP, "reduced_motion": "reduce"} | context
        made = (browser or chromium).new_context(permissions=permissions, **settings)
        visit = Visit(made.new_page(), origin or running.url)
        visits.append(visit)
        visit.begin()
        visit.page.get_by_role("tab", name="Live").click()
        return LiveVisit(visit, running)

    yield open_tab
    for visit in visits:
        visit.page.context.close()
    assert [visit.complaints for visit in visits] == [[]] * len(visits)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_camera_comes_back_before_what_is_asked_for(transport, visit_to, running, tmp_path):
    live = visit_to(running)
    live.choose("transport", transport)
    live.choose("scene", "colour")
    live.page.locator("#live-options [name=colour]").fill("#20639b")
    live.start()
    live.live()
    live.comes_near(CORNER, (0x20, 0x63, 0x9B))
    live.comes_near(CHEST, FIGURE)

    live.page.locator("#live-options [data-colour='#f2c9a8']").click()
    live.comes_near(CORNER, (0xF2, 0xC9, 0xA8))
    live.choose("scene", "image")
    green = np.full((30, 40, 3), (10, 200, 120), np.uint8)
    picture = {"name": "b.png", "mimeType": "image/png", "buffer": make("PNG", green)}
    live.page.set_input_files("#live-backdrop", picture)
    live.comes_near(CORNER, (10, 200, 120))
    live.comes_near(CHEST, FIGURE)
    live.choose("scene", "blur")
    live.comes_near(CORNER, ROOM)
    live.page.wait_for_selector("#figures dd")
    live.page.screenshot(path=tmp_path / f"{transport}.png")
    live.page.set_viewport_size(PHONE)
    live.page.screenshot(path=tmp_path / f"{transport}-phone.png", full_page=True)
    live.page.set_viewport_size(DESKTOP)  # a video out of sight may stand still
    live.choose("scene", "mask")
    live.comes_near(CORNER, (0, 0, 0))
    live.comes_near(CHEST, (255, 255, 255))

    assert re.search(r"Sent\s+\d+...\d+, \d", live.page.inner_text("#figures"))
    live.page.get_by_role("button", name="Stop").click()
    live.off()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_live_tab_after_a_photo_shows_its_stage(viewport, visit_to, running):
    live = visit_to(running, viewport=viewport)
    empty = live.page.locator("#live-stage").bounding_box()
    live.page.get_by_role("tab", name="Photo").click()
    live.visit.choose(make("PNG", quadrants()))
    live.visit.finished()
    live.page.get_by_role("tab", name="Live").click()

    assert live.page.get_by_role("button", name="Start the camera").is_visible()
    assert live.page.locator("#live-stage").bounding_box() == empty
    live.start()
    live.live()
    live.page.get_by_role("button", name="Stop").click()
    live.off()
    live.page.get_by_role("tab", name="Photo").click()

    assert live.page.is_visible("#frame")
    assert not live.page.locator("#stage .drop").is_visible()


def test_figures_count_frames_and_times(visit_to, running):
    live = visit_to(running)
    live.start()
    live.live()
    live.page.wait_for_selector("#figures dd")

    figures = live.page.inner_text("#figures")
    for label, unit in (("Round trip p50", "ms"), ("Round trip p95", "ms"), ("Server time", "ms")):
        assert re.search(rf"{label}\s+[\d.]+\s{unit}", figures), figures
    assert re.search(r"Received\s+640...480", figures), figures
    assert "aria-live" not in live.page.eval_on_selector("#live-figures", "card => card.outerHTML")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_leaving_the_tab_ends_the_stream(transport, visit_to, running):
    live = visit_to(running)
    live.choose("transport", transport)
    live.start()
    live.live()
    live.page.get_by_role("tab", name="Photo").click()

    live.off()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_leaving_the_page_ends_the_stream(transport, visit_to, running):
    live = visit_to(running)
    live.choose("transport", transport)
    live.start()
    live.live()
    live.page.goto("about:blank")

    running.wait(live.no_streams)


def test_another_transport_takes_over(visit_to, running):
    live = visit_to(running)
    live.start()
    live.live()
    live.choose("transport", "webrtc")
    live.page.wait_for_selector("#live-picture video")

    assert live.page.locator("#live-picture > *").count() == 1
    live.page.get_by_role("button", name="Stop").click()
    live.off()


def test_insecure_page_says_that_it_may_not_film(visit_to, running):
    port = running.port
    live = visit_to(running, origin=f"http://{ELSEWHERE}:{port}", permissions=())
    live.start()

    assert "HTTPS" in live.alert()
    assert not live.page.is_visible("#live-retry")
    live.off()


def test_refused_permission_is_said(visit_to, running):
    live = visit_to(running, permissions=())
    live.page.context.new_cdp_session(live.page).send(
        "Browser.setPermission", {"permission": {"name": "camera"}, "setting": "denied"}
    )
    live.start()

    assert "may not use the camera" in live.alert()
    assert live.page.is_visible("#live-retry")
    live.off()


def test_missing_camera_is_said(visit_to, running, playing):
    with _launched(playing, ("--use-fake-device-for-media-stream=device-count=0",)) as browser:
        live = visit_to(running, browser=browser)
        live.start()

        assert "No camera was found" in live.alert()
        live.off()
        assert live.visit.complaints == []


def test_one_of_several_cameras_can_be_chosen(visit_to, running, playing):
    with _launched(playing, ("--use-fake-device-for-media-stream=device-count=2",)) as browser:
        live = visit_to(running, browser=browser)
        live.start()
        live.live()
        choice = live.page.get_by_label("Camera", exact=True)
        names = choice.locator("option").all_inner_texts()
        choice.select_option(names[1])
        live.live()

        assert len(set(names)) == 2
        label = "document.querySelector('#camera').srcObject.getVideoTracks()[0].label"
        assert live.page.evaluate(label) == names[1]


def test_full_server_is_tried_again_on_request(visit_to, live_settings):
    with on_socket(live_settings(max_streams=1, max_streams_per_caller=2)) as running:
        live = visit_to(running)
        url = running.url.replace("http", "ws") + "/v1/stream"
        with connect(url, subprotocols=[protocol.SUBPROTOCOL], proxy=None) as other:
            other.send(protocol.text_message("config", {}))
            assert json.loads(other.recv())["type"] == "ready"
            live.start()
            assert "The server is at capacity" in live.alert()
        running.wait(live.no_streams)
        live.page.get_by_role("button", name="Try again").click()
        live.live()

        assert not live.page.is_visible("#live-problem")


@pytest.mark.parametrize(
    ("transport", "told"),
    [
        ("websocket", ("The server is restarting", "The service is shutting down.")),
        ("webrtc", ("The connection was lost",)),
    ],
)
def test_end_by_the_server_is_told(transport, told, visit_to, live_settings):
    with on_socket(live_settings()) as running:
        live = visit_to(running)
        live.choose("transport", transport)
        live.start()
        live.live()
        running.server.should_exit = True

        text = live.alert()
        for words in told:
            assert words in text
        assert live.page.is_visible("#live-retry")
        assert live.camera_is_off()


def test_server_with_keys_asks_for_one_and_begins(visit_to, live_settings):
    with on_socket(live_settings(api_keys=("sesame",))) as running:
        live = visit_to(running)
        live.start()
        live.visit.offer_key("guess")
        live.page.get_by_text("That key was not accepted.").wait_for()
        live.visit.offer_key("sesame")
        live.live()

        assert not live.page.is_visible("#live-problem")
        live.visit.refused(401, times=2)  # of the list of models


def test_tabs_are_reached_by_keyboard_and_remembered(visit_to, running):
    live = visit_to(running)
    live.page.keyboard.press("ArrowLeft")
    assert live.page.is_visible("#stage")
    assert not live.page.is_visible("#live")
    live.page.keyboard.press("ArrowRight")
    live.page.reload()

    assert live.page.is_visible("#live")
    assert live.page.get_by_role("tab", selected=True).inner_text() == "Live"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_everything_without_scrolling_sideways(scheme, visit_to, running, tmp_path):
    live = visit_to(running, viewport=PHONE, color_scheme=scheme)
    live.page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)

    assert live.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_wire_of_the_page_is_that_of_the_server(visit_to, running):
    live = visit_to(running)
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
def test_percentile_is_of_the_nearest_rank(values, share, expected, visit_to, running):
    live = visit_to(running)
    seen = live.page.evaluate(
        """async ([values, share]) =>
          (await import('/web/live/live-stats.js')).percentile(values, share)""",
        [values, share],
    )
    assert seen == expected
