"""Looking at a result and keeping it: actual pixels, clipboard, reload."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.integration.page.browser import BROWSER_MARKS, INSECURE_HOST
from tests.integration.page.demo_page import DemoPage
from tests.integration.page.photos import one_person
from tests.support.images import make, quadrants

pytestmark = BROWSER_MARKS

_KEPT = """() => new Promise(resolve => {
  const opening = indexedDB.open('silhouette');
  opening.onsuccess = async () => {
    const reading = opening.result.transaction('photos').objectStore('photos').getAll();
    reading.onsuccess = async () => {
      opening.result.close();
      const blobs = reading.result.flat().map(({ content }) => content.data);
      const bytes = blobs.map(async blob => [...new Uint8Array(await blob.arrayBuffer())]);
      resolve(await Promise.all(bytes));
    };
  };
})"""
"""Returns the bytes of all kept photos as the browser stores them."""
CLIPBOARD = ("clipboard-read", "clipboard-write")
MARGIN_PX = 20
"""Width of the shadow of the slider's line, which covers the edge of the frame."""
_READ_CLIPBOARD = """async () => {
  const [item] = await navigator.clipboard.read();
  const image = await createImageBitmap(await item.getType('image/png'));
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  return [image.width, image.height, ...context.getImageData(24, 16, 1, 1).data];
}"""


def stripes(width: int, height: int) -> np.ndarray:
    """Returns a white picture. Its green rises from 0 at the left to 255 at the right."""
    columns = np.linspace(0, 255, width).astype(np.uint8)
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 1] = columns
    return image


def shown_levels(demo: DemoPage) -> int:
    """Returns the number of levels of green in the frame on the screen, without its margins."""
    image = Image.open(BytesIO(demo.page.locator("#frame").screenshot())).convert("RGB")
    y = image.height // 4  # between the tags and the grip of the slider
    left, right = (image.getpixel((x, y))[1] for x in (MARGIN_PX, image.width - MARGIN_PX))
    return right - left


def open_wide_result(demo: DemoPage, width: int) -> None:
    demo.choose_photo(make("PNG", stripes(width, 600)))
    demo.wait_for_result()
    demo.page.get_by_role("slider", name="Compare the photo with the result").press("End")


def test_button_shows_one_pixel_of_the_picture_per_pixel_of_the_screen(demo):
    open_wide_result(demo, 3000)
    frame = demo.page.locator("#frame").bounding_box()
    width = frame["width"] - 2 * MARGIN_PX
    assert shown_levels(demo) == pytest.approx(255 * width / frame["width"], abs=3)
    demo.page.get_by_role("button", name="100 %").click()

    assert demo.page.locator("#after").bounding_box()["width"] == pytest.approx(3000, abs=1)
    assert shown_levels(demo) == pytest.approx(255 * width / 3000, abs=3)
    demo.page.get_by_role("button", name="100 %").click()
    assert shown_levels(demo) == pytest.approx(255 * width / frame["width"], abs=3)


def test_enlarged_picture_follows_pointer_and_arrow_keys(demo):
    open_wide_result(demo, 3000)
    demo.page.get_by_role("button", name="100 %").click()
    box = demo.page.locator("#frame").bounding_box()
    y = box["y"] + 20
    before = demo.page.locator("#after").bounding_box()["x"]
    demo.page.mouse.move(box["x"] + 300, y)
    demo.page.mouse.down()
    demo.page.mouse.move(box["x"] + 200, y)
    demo.page.mouse.up()
    assert demo.page.locator("#after").bounding_box()["x"] == pytest.approx(before - 100, abs=1)

    demo.page.locator("#frame").focus()
    demo.page.keyboard.press("ArrowLeft")
    assert demo.page.locator("#after").bounding_box()["x"] == pytest.approx(before - 40, abs=1)
    for _ in range(60):
        demo.page.keyboard.press("ArrowLeft")
    assert demo.page.locator("#after").bounding_box()["x"] == pytest.approx(box["x"], abs=1)
    assert demo.hidden_percent() == 0


def test_small_picture_is_enlarged_twice(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.page.get_by_role("button", name="200 %").click()

    assert demo.page.locator("#after").bounding_box()["width"] == pytest.approx(192, abs=1)


@pytest.mark.parametrize("format", ["png", "webp"])
def test_result_is_copied_as_png(format, open_demo, running):
    demo = open_demo(running.url, permissions=CLIPBOARD)
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    if format != "png":
        demo.change(lambda: demo.select("format", format))
    demo.page.get_by_role("button", name="Copy image").click()
    demo.page.get_by_text("The image is on the clipboard.").wait_for()

    assert demo.page.evaluate(_READ_CLIPBOARD) == pytest.approx([96, 64, 255, 0, 0, 255], abs=2)


def test_insecure_page_offers_no_copy(open_demo, running):
    demo = open_demo(f"http://{INSECURE_HOST}:{running.port}")
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert not demo.page.get_by_role("button", name="Copy image").is_visible()


def test_photos_and_options_survive_a_reload(demo):
    demo.choose_photos({"a.png": make("PNG", quadrants()), "b.png": make("PNG", one_person())})
    demo.wait_for_batch()
    demo.page.locator("#model").evaluate("list => { list.closest('details').open = true; }")
    demo.change(lambda: demo.page.locator("#model").select_option("connectnet"))
    demo.change(lambda: demo.select("output", "composite"))
    demo.change(lambda: demo.select("background", "colour"))
    demo.change(lambda: demo.page.click("[data-colour='#2f6f8f']"))
    sent = demo.last_request()
    demo.page.reload()
    demo.wait_for_batch()
    demo.wait_for_result()

    assert demo.last_request() == sent
    assert sent["model"] == "connectnet"
    assert demo.page.locator(".thumb-name").all_inner_texts() == ["a.png", "b.png"]
    assert demo.page.locator("output[for=model]").inner_text() == "connectnet"


def test_new_tab_has_no_photo_of_another_tab(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    other = demo.page.context.new_page()
    other.goto(f"{demo.origin}/")
    other.locator("#health[data-health=ready]").wait_for()

    assert other.get_attribute("main", "data-state") == "empty"


def test_photos_are_kept_encrypted_until_their_tab_is_closed(demo):
    photo = make("PNG", quadrants())
    demo.choose_photo(photo)
    demo.wait_for_result()
    demo.page.wait_for_function(f"async () => (await ({_KEPT})()).length === 1")
    (kept,) = demo.page.evaluate(_KEPT)
    assert len(kept) > len(photo)
    assert photo[:8] not in bytes(kept)

    other = demo.page.context.new_page()
    other.goto(f"{demo.origin}/")
    other.locator("#health[data-health=ready]").wait_for()
    assert len(other.evaluate(_KEPT)) == 1
    demo.page.close()
    other.reload()
    other.wait_for_function(f"async () => (await ({_KEPT})()).length === 0")
