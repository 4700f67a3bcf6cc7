"""A browser with a camera, a server for its pages, and the pages.

The alpha of the server's model is the red channel. The tests of this folder share one browser. It
ends with the folder, because Playwright occupies the event loop of its thread.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from silhouette_seg.settings import Settings
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.page.browser import demo_pages, launched_chromium, started_playwright
from tests.integration.page.camera import write_camera_file
from tests.integration.page.demo_page import DemoPage
from tests.integration.page.live_page import LivePage


@pytest.fixture(scope="package")
def playwright() -> Iterator[Any]:
    with started_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def chromium(playwright, tmp_path_factory) -> Iterator[Any]:
    """Starts a browser with one camera. Each page sets its own permissions."""
    file = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    write_camera_file(file)
    flags = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={file}")
    with launched_chromium(playwright, *flags) as browser:
        yield browser


@pytest.fixture(scope="package")
def live_settings(settings_with) -> Callable[..., Settings]:
    """Settings for loopback with long timeouts: a busy browser may draw no frame for a while."""

    def make(**overrides: Any) -> Settings:
        timeouts = {"stream_idle_s": 120, "webrtc_idle_s": 120, "webrtc_connect_s": 120}
        return settings_with(webrtc_hosts=("127.0.0.1",), **timeouts, **overrides)

    return make


@pytest.fixture(scope="package")
def running(live_settings) -> Iterator[OnSocket]:
    with on_socket(live_settings()) as running:
        yield running


@pytest.fixture
def open_demo(chromium) -> Iterator[Callable[..., DemoPage]]:
    """Opens the page of a server, and checks afterwards that it logged no errors."""
    with demo_pages(chromium) as open_page:
        yield open_page


@pytest.fixture
def demo(open_demo, running) -> DemoPage:
    return open_demo(running.url)


@pytest.fixture
def open_live(open_demo) -> Callable[..., LivePage]:
    """Opens the live tab of a server. `permissions` has the camera unless it is set."""

    def open_tab(running: OnSocket, *, origin: str | None = None, **context: Any) -> LivePage:
        demo = open_demo(origin or running.url, **{"permissions": ("camera",)} | context)
        demo.page.get_by_role("tab", name="Live").click()
        return LivePage(demo, running)

    return open_tab
