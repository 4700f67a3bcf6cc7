"""The view of the live tab: mirror, full screen, and pictures of the stream."""

import numpy as np
import pytest
from PIL import Image

from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.live_page import TRANSPORTS, LivePage

pytestmark = BROWSER_MARKS

BLUE = (0x20, 0x63, 0x9B)


@pytest.fixture
def streaming(open_live, running):
    """Returns a function that starts a stream with a blue background."""

    def start(transport: str) -> LivePage:
        live = open_live(running)
        live.select("transport", transport)
        live.select("scene", "colour")
        live.page.locator("#live-options [name=colour]").fill("#20639b")
        live.start()
        live.wait_live()
        live.wait_for_colour((60, 60), BLUE)
        return live

    return start


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_picture_of_the_stream_is_saved(transport, streaming):
    live = streaming(transport)
    with live.page.expect_download() as saved:
        live.page.get_by_role("button", name="Save picture").click()

    assert saved.value.suggested_filename == "silhouette-live.png"
    with Image.open(saved.value.path()) as image:
        assert (image.format, image.size) == ("PNG", (640, 480))
        assert np.asarray(image)[60, 60, :3].tolist() == pytest.approx(BLUE, abs=28)
    live.page.get_by_role("button", name="Stop").click()
    live.wait_off()


def test_mirror_exchanges_left_and_right_of_view_and_picture(demo):
    colours = demo.page.evaluate(
        """async () => {
          const { snapshot } = await import('/web/live/snapshot.js');
          const view = Object.assign(document.createElement('canvas'), { width: 8, height: 2 });
          const context = view.getContext('2d');
          context.fillStyle = '#f00';
          context.fillRect(0, 0, 4, 2);
          const read = async mirrored => {
            const bitmap = await createImageBitmap(await snapshot(view, mirrored));
            const canvas = new OffscreenCanvas(8, 2);
            const context = canvas.getContext('2d');
            context.drawImage(bitmap, 0, 0);
            const { data } = context.getImageData(0, 0, 8, 1);
            return [1, 6].map(x => data[4 * x + 3]);
          };
          return [await read(false), await read(true)];
        }"""
    )
    assert colours == [[255, 0], [0, 255]]
    demo.page.get_by_role("tab", name="Live").click()
    demo.page.get_by_label("Mirror the picture").check()
    assert "mirrored" in demo.page.get_attribute("#live", "class")


def test_full_screen_shows_the_result_alone(streaming):
    live = streaming("websocket")
    live.page.get_by_role("button", name="Full screen").click()
    live.page.wait_for_function("() => document.fullscreenElement?.id === 'live-screen'")

    view = live.page.locator("#live-result canvas").bounding_box()
    assert view["width"] == live.page.evaluate("innerWidth")
    assert view["height"] == live.page.evaluate("innerHeight")
