"""The photo tab in Chromium, with a real server. The alpha of the test model is the red channel."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from tests.integration.conftest import on_socket
from tests.integration.page_object import FLAGS, DemoPage
from tests.support.images import make, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
]

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
RED, GREEN, BLUE, WHITE = (24, 16), (72, 16), (24, 48), (72, 48)
"""Centres (x, y) of the quarters of `images.quadrants()`."""


Pixels = NDArray[np.uint8]


def one_person() -> Pixels:
    """Returns a photo of one person, 120 x 200 pixels, left of the centre.

    The right half of the person has blue added.
    """
    photo = np.zeros((240, 320, 3), np.uint8)
    photo[40:, 40:160] = (255, 0, 0)
    photo[40:, 100:160, 2] = 255
    return photo


def soft_pixels(alpha: Pixels) -> int:
    """Counts the pixels that are neither opaque nor transparent."""
    return int(((alpha > 12) & (alpha < 243)).sum())


def person_pixels(rgba: Pixels) -> int:
    return int((rgba[..., 3] > 127).sum())


def horizontal_centre(rgba: Pixels) -> float:
    """Returns the mean column of the visible pixels."""
    return float(np.flatnonzero((rgba[..., 3] > 127).any(axis=0)).mean())


def lower_edge(rgba: Pixels) -> int:
    return int(np.flatnonzero((rgba[..., 3] > 127).any(axis=1)).max()) + 1


@pytest.fixture(scope="module")
def server_url(settings_with) -> Iterator[str]:
    with on_socket(settings_with()) as running:
        yield running.url


@pytest.fixture
def keyed_server_url(settings_with) -> Iterator[str]:
    with on_socket(settings_with(api_keys=("sesame",))) as running:
        yield running.url


@pytest.fixture
def routed_server_url(settings_with, tmp_path) -> Iterator[str]:
    """Serves a model that takes a domain. The width of the face is the level of green."""
    for name in ("md_trisenet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    with on_socket(settings_with(model_repository=tmp_path)) as running:
        yield running.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Starts one browser for the module; each page has its own profile."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_demo(chromium) -> Iterator[Callable[..., DemoPage]]:
    """Opens the page of a server, and checks afterwards that it logged no errors."""
    demos: list[DemoPage] = []

    def open_page(origin: str, **context: Any) -> DemoPage:
        settings = {"viewport": DESKTOP, "reduced_motion": "reduce"} | context
        demo = DemoPage(chromium.new_context(**settings).new_page(), origin)
        demos.append(demo)
        demo.open()
        return demo

    yield open_page
    for demo in demos:
        demo.page.context.close()
    assert [demo.errors for demo in demos] == [[]] * len(demos)


@pytest.fixture
def demo(open_demo, server_url) -> DemoPage:
    return open_demo(server_url)


def test_cutout_has_alpha_of_the_model(demo):
    demo.page.get_by_label("Refine edges").uncheck()
    demo.page.get_by_label("Remove colour spill").uncheck()
    demo.choose_photo(make("PNG", astronaut()), "astronaut.png")
    demo.wait_for_result()

    result = demo.result()
    red = Image.fromarray(astronaut()[..., 0])
    coarse = red.resize((24, 24), Image.Resampling.BOX).resize(red.size, Image.Resampling.BILINEAR)
    assert result.shape == (512, 512, 4)
    assert np.abs(result[..., 3].astype(int) - np.asarray(coarse)).mean() < 4
    # A canvas stores colours multiplied by alpha: only nearly opaque pixels keep their colour.
    solid = result[..., 3] > 200
    assert solid.any()
    assert np.abs(result[solid][:, :3].astype(int) - astronaut()[solid]).max() <= 1


def test_facts_and_timings_of_response_are_shown(demo):
    with demo.page.expect_response("**/v1/segment") as answered:
        demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    coverage, confidence = (
        round(100 * float(answered.value.headers[f"x-mask-{name}"]))
        for name in ("coverage", "confidence")
    )
    facts = demo.page.inner_text("#facts")
    assert re.search(r"Person\s+Found", facts)
    assert re.search(rf"Coverage\s+{coverage}\s%", facts)
    assert re.search(rf"Edge confidence\s+{confidence}\s%", facts)
    assert re.search(r"Model\s+connectnet", facts)
    assert re.search(r"Runs on\s+CPU", facts)
    assert re.search(r"File\s+96\s.\s64", facts)
    assert "Decode" in demo.page.inner_text("#timing")
    assert "round trip" in demo.page.inner_text("#timing-total")
    digest = answered.value.headers["x-model-digest"].removeprefix("sha256:")
    assert digest in demo.page.get_attribute("#facts div:has-text('connectnet')", "title")
    assert f"Person found, {coverage}\u00a0% of the photo." in demo.page.inner_text("[role=status]")


def test_domain_is_shown_and_detector_is_not_selectable(open_demo, routed_server_url):
    demo = open_demo(routed_server_url)
    demo.page.wait_for_selector("#model option[value=md_trisenet]", state="attached")
    assert demo.page.locator("#model option[value=face_detector]").count() == 0
    demo.choose_photo(make("PNG", np.full((48, 64, 3), (255, 200, 0), np.uint8)))
    demo.wait_for_result()

    assert re.search(r"Distance\s+Head shot", demo.page.inner_text("#facts"))
    reason = demo.page.get_attribute("#facts div:has-text('Distance')", "title")
    assert reason == "The face covers 78\u00a0% of the photo"


def test_composite_has_selected_colour(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.page.locator("label:has([name=background][value=colour])").click()
    demo.change(lambda: demo.page.click("[data-colour='#2f6f8f']"))

    result = demo.result()
    assert tuple(result[GREEN[1], GREEN[0]]) == (0x2F, 0x6F, 0x8F, 255)
    assert tuple(result[RED[1], RED[0]]) == (255, 0, 0, 255)


def test_composite_has_selected_background_image(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.select("background", "image")
    demo.page.wait_for_selector("main[data-state=waiting]")
    green = np.full((40, 30, 3), (10, 200, 120), np.uint8)
    image = {"name": "b.png", "mimeType": "image/png", "buffer": make("PNG", green)}
    demo.change(lambda: demo.page.set_input_files("#background-image", image))

    assert tuple(demo.result()[BLUE[1], BLUE[0]]) == (10, 200, 120, 255)
    assert "background_image=@b.png" in demo.page.inner_text("#curl")


def test_request_leaves_out_defaults(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert demo.last_request() == {"output": "cutout"}
    demo.page.get_by_text("Placement", exact=True).click()
    demo.set_slider("Size", 60)
    demo.change(lambda: demo.page.get_by_label("Refine edges").uncheck())
    demo.change(lambda: demo.page.get_by_role("button", name="Reset options").click())
    assert demo.last_request() == {"output": "cutout"}
    assert demo.page.inner_text("#placement-state") == "As in the photo"


def test_main_person_option_removes_other_people(demo):
    photo = one_person()
    photo[180:, 260:310] = (255, 0, 0)
    demo.choose_photo(make("PNG", photo))
    demo.wait_for_result()
    assert demo.result()[220, 285, 3] > 200
    demo.change(lambda: demo.select("person", "dominant"))

    assert demo.last_request() == {"output": "cutout", "person": "dominant"}
    result = demo.result()[..., 3]
    assert result[220, 285] == 0
    assert result[200, 100] > 200
    assert re.search(r"Person\s+Main person kept", demo.page.inner_text("#facts"))


def test_refinement_narrows_edges_unless_switched_off(demo):
    """The model sees a hundredth of the pixels of the photo, so its own edge is wide."""
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    refined = demo.result()[..., 3]
    demo.change(lambda: demo.page.get_by_label("Refine edges").uncheck())

    assert demo.last_request() == {"output": "cutout", "refine": "none"}
    coarse = demo.result()[..., 3]
    assert soft_pixels(refined) < soft_pixels(coarse)


def test_decontamination_changes_edge_colours_only(demo):
    """The alpha is unchanged; colours differ only where it is partial."""
    demo.choose_photo(make("PNG", astronaut()))
    demo.wait_for_result()
    clean = demo.result()
    demo.change(lambda: demo.page.get_by_label("Remove colour spill").uncheck())

    assert demo.last_request() == {"output": "cutout", "decontaminate": "false"}
    with_spill = demo.result()
    differ = (clean[..., :3] != with_spill[..., :3]).any(axis=-1)
    assert (clean[..., 3] == with_spill[..., 3]).all()
    assert differ.any()
    assert not differ[clean[..., 3] == 255].any()


def test_light_wrap_brightens_edges_only(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    assert not demo.page.get_by_role("slider", name="Light wrap").is_visible()
    demo.change(lambda: demo.select("output", "composite"))
    demo.change(lambda: demo.select("background", "colour"))
    plain = demo.result().astype(int)
    demo.set_slider("Light wrap", 80)

    assert demo.last_request()["light_wrap"] == "80"
    brighter = (demo.result().astype(int) - plain).sum(axis=-1)
    assert brighter.max() > 100
    assert brighter[200, 100] < 20


def test_placement_starts_at_the_person(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    before = demo.result()[..., 3].astype(int)
    demo.page.get_by_text("Placement", exact=True).click()
    demo.change(lambda: demo.page.get_by_label("Move the person").check())
    moved = demo.result()[..., 3].astype(int)
    demo.set_slider("From the left", 70)

    assert np.abs(before - moved).mean() < 3
    assert re.fullmatch(r"x:0\.7,y:[01](\.\d+)?", demo.last_request()["layout"])
    assert horizontal_centre(demo.result()) == pytest.approx(0.7 * 320, abs=4)
    demo.set_slider("From the top", 60)
    assert demo.last_request()["layout"] == "x:0.7,y:0.6"
    assert lower_edge(demo.result()) == pytest.approx(0.6 * 240, abs=4)


def test_person_is_scaled_and_mirrored_in_place(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    whole = demo.result()
    demo.page.get_by_text("Placement", exact=True).click()
    demo.set_slider("Size", 50)

    assert demo.last_request() == {"output": "cutout", "layout": "scale:0.5"}
    half = demo.result()
    assert person_pixels(half) == pytest.approx(person_pixels(whole) / 4, rel=0.1)
    assert horizontal_centre(half) == pytest.approx(horizontal_centre(whole), abs=3)
    assert lower_edge(half) == pytest.approx(lower_edge(whole), abs=3)
    assert half[230, 90, 2] < 50
    demo.change(lambda: demo.page.get_by_label("Mirror").check())
    assert demo.last_request()["layout"] == "scale:0.5,flip:true"
    assert demo.result()[230, 90, 2] > 200
    assert demo.page.inner_text("#placement-state") == "50\u00a0%, mirrored"


def test_copies_are_spaced_evenly(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.page.get_by_text("Placement", exact=True).click()
    demo.set_slider("Size", 40)
    demo.set_slider("Copies", 3)
    demo.set_slider("Spacing", 30)

    layout = "x:0.2,scale:0.4;x:0.5,scale:0.4;x:0.8,scale:0.4"
    assert demo.last_request() == {"output": "cutout", "layout": layout}
    row = demo.result()[220, :, 3] > 127
    starts = np.flatnonzero(np.diff(row.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(row.astype(int)) == -1)
    assert (starts + ends) / 2 == pytest.approx([0.2 * 320, 0.5 * 320, 0.8 * 320], abs=4)


def test_crop_and_placement_exclude_each_other(demo):
    crop, invert = (
        demo.page.get_by_label(label)
        for label in ("Crop to the person", "Keep the background instead")
    )
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.page.get_by_text("Placement", exact=True).click()
    demo.set_slider("Size", 50)
    assert crop.is_disabled()
    assert invert.is_disabled()
    demo.set_slider("Size", 100)
    demo.change(crop.check)

    assert not demo.page.get_by_role("slider", name="Size").is_visible()
    assert demo.page.locator("#placement-note").is_visible()
    assert demo.last_request() == {"output": "cutout", "crop": "true"}


def test_controls_without_effect_are_hidden(demo):
    spill, wrap = (demo.page.get_by_label(name) for name in ("Remove colour spill", "Light wrap"))
    shown = {}
    for output in ("cutout", "composite", "mask"):
        demo.select("output", output)
        shown[output] = spill.is_visible(), wrap.is_visible()

    assert shown == {"cutout": (True, False), "composite": (True, True), "mask": (False, False)}
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    assert demo.last_request() == {}


def test_mask_is_hardened_and_inverted(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "mask"))
    demo.change(lambda: demo.page.get_by_label("Hard edge").check())
    demo.change(lambda: demo.page.get_by_label("Keep the background instead").check())

    result = demo.result()
    assert set(np.unique(result[..., 0])) == {0, 255}
    assert [result[y, x, 0] for x, y in (RED, GREEN, BLUE, WHITE)] == [0, 255, 255, 0]


def test_slider_moves_by_keyboard(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    slider = demo.page.get_by_role("slider", name=re.compile("Compare"))
    slider.focus()

    for key, share in (("Home", 0), ("ArrowRight", 1), ("End", 100), ("ArrowLeft", 99)):
        slider.press(key)
        assert slider.input_value() == str(share)
        assert slider.get_attribute("aria-valuetext") == f"{share} % photo"
        assert demo.hidden_percent() == pytest.approx(100 - share)


def test_slider_follows_the_pointer(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    box = demo.page.locator("#frame").bounding_box()
    middle = box["y"] + box["height"] / 2
    demo.page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    demo.page.mouse.down()
    demo.page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    demo.page.mouse.up()
    demo.page.mouse.move(box["x"] + 0.9 * box["width"], middle)

    assert demo.hidden_percent() == pytest.approx(80, abs=1)


def test_cropped_result_overlays_its_region_of_the_photo(demo):
    photo = np.zeros((240, 320, 3), np.uint8)
    photo[60:180, 140:260] = (255, 0, 0)
    demo.choose_photo(make("PNG", photo))
    demo.wait_for_result()
    demo.change(lambda: demo.page.get_by_label("Crop to the person").check())
    demo.page.get_by_role("slider", name=re.compile("Compare")).press("End")

    height, width = demo.result().shape[:2]
    shown = Image.open(BytesIO(demo.page.locator("#frame").screenshot())).convert("RGB")
    corners = [(x, y) for x in (0.06, 0.94) for y in (0.15, 0.94)]
    assert (width, height) == (pytest.approx(120, abs=12), pytest.approx(120, abs=12))
    for x, y in corners:
        assert shown.getpixel((int(x * shown.width), int(y * shown.height))) == (255, 0, 0)


def test_rotated_photo_and_result_are_upright(demo):
    demo.choose_photo(make("JPEG", quadrants(), orientation=6), "turned.jpg")
    demo.wait_for_result()

    assert demo.result().shape[:2] == (96, 64)
    assert demo.page.get_attribute("#frame", "data-shows") == "both"


def test_download_has_shown_image_and_derived_name(demo):
    demo.choose_photo(make("PNG", quadrants()), "summer.holiday.png")
    demo.wait_for_result()
    demo.change(lambda: demo.select("format", "webp"))
    with demo.page.expect_download() as saved:
        demo.page.click("#download")

    assert saved.value.suggested_filename == "summer.holiday-cutout.webp"
    with Image.open(saved.value.path()) as image:
        assert (image.format, image.size, image.mode) == ("WEBP", (96, 64), "RGBA")


def test_text_file_shows_the_problem(demo):
    with demo.page.expect_response("**/v1/segment") as answered:
        demo.choose_photo(b"not a picture at all", "note.txt")
    shown = demo.page.get_by_role("alert")
    shown.wait_for()

    problem = answered.value.json()
    text = shown.inner_text()
    assert problem["title"] in text
    assert problem["detail"] in text
    assert problem["request_id"] in text
    assert not demo.page.is_visible("#download")
    assert not demo.page.is_visible("#retry")
    demo.expect_http_error(415)


def test_valid_photo_clears_previous_problem(demo):
    demo.choose_photo(b"not a picture at all", "note.txt")
    demo.page.get_by_role("alert").wait_for()
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert not demo.page.is_visible("[role=alert]")
    assert demo.page.is_visible("#download")
    demo.expect_http_error(415)


def test_photo_without_person_is_reported(demo):
    demo.choose_photo(make("PNG", np.zeros((64, 96, 3), np.uint8)))
    demo.wait_for_result()

    assert "No person was found" in demo.page.inner_text("[role=status]")


def test_newer_request_aborts_the_previous(demo):
    """The first request is held until the second has a response, and is never shown."""
    held: list[Any] = []
    demo.page.route("**/v1/segment", lambda route: held.append(route), times=1)
    with demo.page.expect_event("requestfailed") as aborted:
        with demo.page.expect_request("**/v1/segment"):
            demo.choose_photo(make("PNG", quadrants()))
        demo.select("output", "mask")
    demo.wait_for_result()

    assert len(held) == 1
    assert "ERR_ABORTED" in aborted.value.failure
    assert demo.page.inner_text("#after-tag") == "Mask"
    assert demo.result()[GREEN[1], GREEN[0], 3] == 255


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_photo_is_accepted_by_paste_and_drop(kind, demo):
    demo.transfer_photo(kind, make("PNG", quadrants()), "photo.png")
    demo.wait_for_result()

    assert demo.page.get_attribute("#download", "download") == "photo-cutout.png"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_command_produces_the_same_file(demo, tmp_path):
    name = 'it\'s; me, "you".png'
    demo.choose_photo(make("PNG", quadrants()), name)
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.change(lambda: demo.page.get_by_label("Hard edge").check())
    demo.page.get_by_text("Placement", exact=True).click()
    demo.set_slider("Copies", 2)
    with demo.page.expect_download() as saved:
        demo.page.click("#download")
    (tmp_path / name).write_bytes(make("PNG", quadrants()))
    command = demo.page.inner_text("#curl")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, env=_without_proxies())

    output = shlex.split(command.replace("\\\n", " "))[-1]
    assert (tmp_path / output).read_bytes() == Path(saved.value.path()).read_bytes()


def _without_proxies() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}


def test_page_prompts_for_required_key(open_demo, keyed_server_url):
    demo = open_demo(keyed_server_url)
    demo.submit_key("guess")
    demo.page.get_by_text("That key was not accepted.").wait_for()
    demo.submit_key("sesame")
    demo.page.wait_for_selector("#model option[value=connectnet]", state="attached")
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert not demo.page.is_visible("#key-form")
    assert "X-Api-Key: $SILHOUETTE_KEY" in demo.page.inner_text("#curl")
    assert "sesame" not in demo.page.content()
    demo.expect_http_error(401, times=2)


def test_page_without_required_key_shows_no_prompt(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert not demo.page.is_visible("#key-form")


def test_server_timing_header_is_parsed(demo):
    parsed = demo.page.evaluate(
        "async header => (await import('/web/photo/timings.js')).parseServerTiming(header)",
        'decode;dur=1.5, cache;desc="hit", infer;desc=x;dur=12, total;dur=99, odd;dur=?',
    )
    assert parsed == [{"name": "decode", "ms": 1.5}, {"name": "infer", "ms": 12}]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_layout_fits_the_width(scheme, open_demo, server_url):
    demo = open_demo(server_url, viewport=PHONE, color_scheme=scheme)
    demo.choose_photo(make("PNG", astronaut()))
    demo.wait_for_result()
    demo.page.get_by_text("Placement", exact=True).click()
    demo.set_slider("Copies", 6)
    demo.change(lambda: demo.page.get_by_label("Move the person").check())
    demo.change(lambda: demo.select("output", "composite"))

    width = demo.page.evaluate("document.documentElement.scrollWidth")
    paper = demo.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper)[:3]))
    assert width <= PHONE["width"]
    assert (brightness > 600) == (scheme == "light")
    assert (brightness < 150) == (scheme == "dark")


def test_controls_have_accessible_names(demo):
    unnamed = demo.page.evaluate(
        """() => [...document.querySelectorAll('input, select, button, a[href]')]
          .filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim())
          .map(e => e.outerHTML)"""
    )
    assert unnamed == []
