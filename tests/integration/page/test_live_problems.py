"""Problems of the live tab: camera, transport, capacity, shutdown."""

import json

import pytest
from websockets.sync.client import connect

from silhouette_seg.api import models
from silhouette_seg.streaming import protocol
from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS, INSECURE_HOST, launched_chromium
from tests.integration.page.live_page import TRANSPORTS

pytestmark = BROWSER_MARKS


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


def test_insecure_page_reports_missing_camera_access(open_live, running):
    origin = f"http://{INSECURE_HOST}:{running.port}"
    live = open_live(running, origin=origin, permissions=())
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
    with launched_chromium(
        playwright, "--use-fake-device-for-media-stream=device-count=0"
    ) as browser:
        live = open_live(running, browser=browser)
        live.start()

        assert "No camera was found" in live.alert()
        live.wait_off()
        assert live.demo.errors == []


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
