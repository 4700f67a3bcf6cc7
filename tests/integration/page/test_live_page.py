"""The live tab apart from its streams: tabs, layout, and the modules of the page."""

import pytest

from silhouette_seg.streaming import protocol
from tests.integration.page.browser import BROWSER_MARKS, DESKTOP, PHONE
from tests.support.images import make, quadrants

pytestmark = BROWSER_MARKS


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


def test_tabs_follow_keyboard_and_survive_reload(open_live, running):
    live = open_live(running)
    live.page.keyboard.press("ArrowLeft")
    assert live.page.is_visible("#stage")
    assert not live.page.is_visible("#live")
    live.page.keyboard.press("ArrowRight")
    live.page.reload()
    live.page.locator("#live").wait_for()

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


def test_live_tab_after_a_failed_load_is_loaded_again(demo):
    demo.page.route("**/live-view.html", lambda route: route.fulfill(status=503), times=1)
    demo.page.get_by_role("tab", name="Live").click()
    demo.page.wait_for_function("document.querySelector('#live-view').textContent.trim() !== ''")
    assert not demo.page.get_by_role("button", name="Start the camera").is_visible()
    demo.page.get_by_role("tab", name="Photo").click()
    demo.page.get_by_role("tab", name="Live").click()

    demo.page.get_by_role("button", name="Start the camera").wait_for()
    demo.expect_http_error(503)
