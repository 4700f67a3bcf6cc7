"""The page `/live` for OBS: live video without controls."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS, demo_pages
from tests.integration.page.camera import CHEST, CORNER, FIGURE
from tests.integration.page.demo_page import DemoPage
from tests.integration.page.live_page import TOLERANCE_LEVELS, TRANSPORTS

pytestmark = BROWSER_MARKS

_POINT = """([x, y]) => {
  const view = document.querySelector('#result > *');
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
  const context = canvas.getContext('2d');
  context.drawImage(view, 0, 0, 640, 480);
  return [...context.getImageData(x, y, 1, 1).data];
}"""


@pytest.fixture
def broadcast(chromium, running) -> Iterator[Callable[..., DemoPage]]:
    """Opens `/live` with a query."""
    with ExitStack() as stack:
        open_page = stack.enter_context(demo_pages(chromium))

        def open_live(query: str, origin: str = running.url) -> DemoPage:
            demo = open_page(origin, permissions=("camera",))
            # Leaving `/` earlier may cancel its request for the list of models.
            demo.page.wait_for_load_state("networkidle")
            demo.page.goto(f"{origin}/live{query}")
            return demo

        yield open_live


def message(demo: DemoPage) -> str:
    demo.page.wait_for_function(
        "() => !/^Waiting|^$/.test(document.querySelector('#message').textContent)"
    )
    return demo.page.inner_text("#message")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_camera_fills_the_window_with_selected_background(transport, broadcast):
    demo = broadcast(f"?background=%2320639b&mirror=true&transport={transport}")
    view = demo.page.locator("#result > *")
    view.wait_for()

    box = view.bounding_box()
    size = demo.page.viewport_size
    assert (box["width"], box["height"]) == (size["width"], size["height"])
    assert demo.page.evaluate(_POINT, CORNER)[:3] == pytest.approx(
        (0x20, 0x63, 0x9B), abs=TOLERANCE_LEVELS
    )
    assert demo.page.evaluate(_POINT, CHEST)[:3] == pytest.approx(FIGURE, abs=TOLERANCE_LEVELS)
    assert demo.page.locator("button, input, select, a").count() == 0
    assert demo.page.get_attribute("body", "class") == "mirrored"
    assert not demo.page.locator("#message").is_visible()


def test_background_none_is_transparent(broadcast):
    demo = broadcast("?background=none")
    demo.page.locator("#result > *").wait_for()

    assert demo.page.evaluate(_POINT, CORNER)[3] == 0
    assert demo.page.evaluate(_POINT, CHEST)[3] >= 250
    paper = "getComputedStyle(document.body).backgroundColor"
    assert demo.page.evaluate(paper) == "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?backdrop=white", "backdrop is unknown"),
        ("?background=#20639b", "Write # as %23"),
        ("?background=none&transport=webrtc", "WebRTC has no transparency"),
        ("?mirror=yes", "mirror is true or false"),
        ("?background=blur:999", "blur"),
        ("?camera=Nothing", "No camera is named Nothing"),
    ],
)
def test_wrong_address_is_reported(query, expected, broadcast):
    assert expected in message(broadcast(query))


def test_key_after_the_hash_is_used(broadcast, live_settings):
    with on_socket(live_settings(api_keys=("sesame",))) as running:
        demo = broadcast("?background=white#key=sesame", running.url)
        demo.page.locator("#result > *").wait_for()
        demo.page.goto("about:blank")
        demo.expect_http_error(401)  # the list of models of the page `/`
