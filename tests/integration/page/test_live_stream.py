"""Streams of the live tab: results, restarts and ends."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

from silhouette_seg.engine import ENGINES
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.page.browser import BROWSER_MARKS, DESKTOP, PHONE, launched_chromium
from tests.integration.page.camera import CHEST, CORNER, FIGURE, ROOM
from tests.integration.page.live_page import TRANSPORTS
from tests.support.fakes import SLOW_S
from tests.support.images import make

pytestmark = BROWSER_MARKS

ROUND_TRIP = r"Round trip p50\s+([\d.]+)\s+ms"


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


@pytest.fixture(scope="module")
def slow(live_settings) -> Iterator[OnSocket]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENGINES, "slow", "tests.support.fakes:open_slow")
        with on_socket(live_settings(engine="slow")) as running:
            yield running


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_round_trip_includes_the_time_of_the_model(transport, open_live, slow):
    live = open_live(slow)
    live.select("transport", transport)
    live.start()
    live.page.wait_for_function(
        "pattern => RegExp(pattern).test(document.querySelector('#live-stats-list').innerText)",
        arg=ROUND_TRIP,
    )

    shown = re.search(ROUND_TRIP, live.page.inner_text("#live-stats-list"))
    assert float(shown[1]) >= 1000 * SLOW_S
    assert "from grabbing the camera frame" in live.page.inner_text("#round-trip-note")
    live.page.get_by_role("button", name="Stop").click()
    live.wait_off()


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


def test_second_camera_is_selectable(open_live, running, playwright):
    with launched_chromium(
        playwright, "--use-fake-device-for-media-stream=device-count=2"
    ) as browser:
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
