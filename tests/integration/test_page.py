"""The page at `/` in a real Chromium against a real server, whose alpha is the red channel."""

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
from tests.integration.visit import FLAGS, Visit
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
"""(x, y) in the middle of each quarter of `images.quadrants()`."""


Pixels = NDArray[np.uint8]


def standing() -> Pixels:
    """One person, 120 wide and 200 high, left of the middle: blue is on their right half alone."""
    photo = np.zeros((240, 320, 3), np.uint8)
    photo[40:, 40:160] = (255, 0, 0)
    photo[40:, 100:160, 2] = 255
    return photo


def uncertain(alpha: Pixels) -> int:
    return int(((alpha > 12) & (alpha < 243)).sum())


def person_pixels(rgba: Pixels) -> int:
    return int((rgba[..., 3] > 127).sum())


def middle(rgba: Pixels) -> float:
    """From the left, of what is shown."""
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
    """Of a model that takes a domain, and a face that is as wide as the photo is green."""
    for name in ("md_trisenet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    with on_socket(settings_with(model_repository=tmp_path)) as running:
        yield running.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for the module; each visit has a profile of its own."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit_to(chromium) -> Iterator[Callable[..., Visit]]:
    """Opens the page of a server; no visit may end with a complaint or an outside request."""
    visits: list[Visit] = []

    def open_page(origin: str, **context: Any) -> Visit:
        settings = {"viewport": DESKTOP, "reduced_motion": "reduce"} | context
        visit = Visit(chromium.new_context(**settings).new_page(), origin)
        visits.append(visit)
        visit.begin()
        return visit

    yield open_page
    for visit in visits:
        visit.page.context.close()
    assert [visit.complaints for visit in visits] == [[]] * len(visits)


@pytest.fixture
def visit(visit_to, server_url) -> Visit:
    return visit_to(server_url)


def test_cutout_of_the_astronaut_has_the_alpha_of_the_model(visit):
    visit.page.get_by_label("Refine edges").uncheck()
    visit.page.get_by_label("Remove colour spill").uncheck()
    visit.choose(make("PNG", astronaut()), "astronaut.png")
    visit.finished()

    seen = visit.result()
    red = Image.fromarray(astronaut()[..., 0])
    coarse = red.resize((24, 24), Image.Resampling.BOX).resize(red.size, Image.Resampling.BILINEAR)
    assert seen.shape == (512, 512, 4)
    assert np.abs(seen[..., 3].astype(int) - np.asarray(coarse)).mean() < 4
    # A canvas keeps colours multiplied by alpha, so only nearly opaque pixels come back whole.
    solid = seen[..., 3] > 200
    assert solid.any()
    assert np.abs(seen[solid][:, :3].astype(int) - astronaut()[solid]).max() <= 1


def test_facts_and_timings_of_the_answer_are_shown(visit):
    with visit.page.expect_response("**/v1/segment") as answered:
        visit.choose(make("PNG", quadrants()))
    visit.finished()

    coverage, confidence = (
        round(100 * float(answered.value.headers[f"x-mask-{name}"]))
        for name in ("coverage", "confidence")
    )
    facts = visit.page.inner_text("#facts")
    assert re.search(r"Person\s+Found", facts)
    assert re.search(rf"Coverage\s+{coverage}\s%", facts)
    assert re.search(rf"Edge confidence\s+{confidence}\s%", facts)
    assert re.search(r"Model\s+connectnet", facts)
    assert re.search(r"Runs on\s+CPU", facts)
    assert re.search(r"File\s+96\s.\s64", facts)
    assert "Decode" in visit.page.inner_text("#timing")
    assert "round trip" in visit.page.inner_text("#timing-total")
    digest = answered.value.headers["x-model-digest"].removeprefix("sha256:")
    assert digest in visit.page.get_attribute("#facts div:has-text('connectnet')", "title")
    assert f"Person found, {coverage}\u00a0% of the photo." in visit.page.inner_text(
        "[role=status]"
    )


def test_domain_is_a_fact_and_the_detector_no_choice(visit_to, routed_server_url):
    visit = visit_to(routed_server_url)
    visit.page.wait_for_selector("#model option[value=md_trisenet]", state="attached")
    assert visit.page.locator("#model option[value=face_detector]").count() == 0
    visit.choose(make("PNG", np.full((48, 64, 3), (255, 200, 0), np.uint8)))
    visit.finished()

    assert re.search(r"Distance\s+Head shot", visit.page.inner_text("#facts"))
    why = visit.page.get_attribute("#facts div:has-text('Distance')", "title")
    assert why == "The face covers 78\u00a0% of the photo"


def test_composite_stands_on_the_chosen_colour(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()
    visit.change(lambda: visit.pick("output", "composite"))
    visit.page.locator("label:has([name=background][value=colour])").click()
    visit.change(lambda: visit.page.click("[data-colour='#2f6f8f']"))

    seen = visit.result()
    assert tuple(seen[GREEN[1], GREEN[0]]) == (0x2F, 0x6F, 0x8F, 255)
    assert tuple(seen[RED[1], RED[0]]) == (255, 0, 0, 255)


def test_composite_stands_on_the_chosen_picture(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()
    visit.change(lambda: visit.pick("output", "composite"))
    visit.pick("background", "image")
    visit.page.wait_for_selector("main[data-state=waiting]")
    picture = np.full((40, 30, 3), (10, 200, 120), np.uint8)
    backdrop = {"name": "b.png", "mimeType": "image/png", "buffer": make("PNG", picture)}
    visit.change(lambda: visit.page.set_input_files("#backdrop", backdrop))

    assert tuple(visit.result()[BLUE[1], BLUE[0]]) == (10, 200, 120, 255)
    assert "background_image=@b.png" in visit.page.inner_text("#curl")


def test_defaults_are_left_out_of_the_request(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()

    assert visit.sent() == {"output": "cutout"}
    visit.page.get_by_text("Placement", exact=True).click()
    visit.slide("Size", 60)
    visit.change(lambda: visit.page.get_by_label("Refine edges").uncheck())
    visit.change(lambda: visit.page.get_by_role("button", name="Reset options").click())
    assert visit.sent() == {"output": "cutout"}
    assert visit.page.inner_text("#placement-state") == "As in the photo"


def test_main_person_alone_is_kept(visit):
    photo = standing()
    photo[180:, 260:310] = (255, 0, 0)
    visit.choose(make("PNG", photo))
    visit.finished()
    assert visit.result()[220, 285, 3] > 200
    visit.change(lambda: visit.pick("person", "dominant"))

    assert visit.sent() == {"output": "cutout", "person": "dominant"}
    seen = visit.result()[..., 3]
    assert seen[220, 285] == 0
    assert seen[200, 100] > 200
    assert re.search(r"Person\s+Main person kept", visit.page.inner_text("#facts"))


def test_edges_are_those_of_the_photo_unless_switched_off(visit):
    """The model sees a hundredth of the photo's pixels: its own edge is wide."""
    visit.choose(make("PNG", standing()))
    visit.finished()
    refined = visit.result()[..., 3]
    visit.change(lambda: visit.page.get_by_label("Refine edges").uncheck())

    assert visit.sent() == {"output": "cutout", "refine": "none"}
    coarse = visit.result()[..., 3]
    assert uncertain(refined) < uncertain(coarse)


def test_colour_spill_is_taken_out_unless_switched_off(visit):
    """The alpha stays; colours differ at its edge alone."""
    visit.choose(make("PNG", astronaut()))
    visit.finished()
    clean = visit.result()
    visit.change(lambda: visit.page.get_by_label("Remove colour spill").uncheck())

    assert visit.sent() == {"output": "cutout", "decontaminate": "false"}
    spilt = visit.result()
    differ = (clean[..., :3] != spilt[..., :3]).any(axis=-1)
    assert (clean[..., 3] == spilt[..., 3]).all()
    assert differ.any()
    assert not differ[clean[..., 3] == 255].any()


def test_light_of_the_background_comes_round_the_rim(visit):
    visit.choose(make("PNG", standing()))
    visit.finished()
    assert not visit.page.get_by_role("slider", name="Light wrap").is_visible()
    visit.change(lambda: visit.pick("output", "composite"))
    visit.change(lambda: visit.pick("background", "colour"))
    plain = visit.result().astype(int)
    visit.slide("Light wrap", 80)

    assert visit.sent()["light_wrap"] == "80"
    brighter = (visit.result().astype(int) - plain).sum(axis=-1)
    assert brighter.max() > 100
    assert brighter[200, 100] < 20


def test_moving_begins_where_the_person_stands(visit):
    visit.choose(make("PNG", standing()))
    visit.finished()
    before = visit.result()[..., 3].astype(int)
    visit.page.get_by_text("Placement", exact=True).click()
    visit.change(lambda: visit.page.get_by_label("Move the person").check())
    still = visit.result()[..., 3].astype(int)
    visit.slide("From the left", 70)

    assert np.abs(before - still).mean() < 3
    assert re.fullmatch(r"x:0\.7,y:[01](\.\d+)?", visit.sent()["layout"])
    assert middle(visit.result()) == pytest.approx(0.7 * 320, abs=4)
    visit.slide("From the top", 60)
    assert visit.sent()["layout"] == "x:0.7,y:0.6"
    assert lower_edge(visit.result()) == pytest.approx(0.6 * 240, abs=4)


def test_person_can_be_scaled_and_mirrored_in_place(visit):
    visit.choose(make("PNG", standing()))
    visit.finished()
    whole = visit.result()
    visit.page.get_by_text("Placement", exact=True).click()
    visit.slide("Size", 50)

    assert visit.sent() == {"output": "cutout", "layout": "scale:0.5"}
    half = visit.result()
    assert person_pixels(half) == pytest.approx(person_pixels(whole) / 4, rel=0.1)
    assert middle(half) == pytest.approx(middle(whole), abs=3)
    assert lower_edge(half) == pytest.approx(lower_edge(whole), abs=3)
    assert half[230, 90, 2] < 50
    visit.change(lambda: visit.page.get_by_label("Mirror").check())
    assert visit.sent()["layout"] == "scale:0.5,flip:true"
    assert visit.result()[230, 90, 2] > 200
    assert visit.page.inner_text("#placement-state") == "50\u00a0%, mirrored"


def test_copies_stand_side_by_side(visit):
    visit.choose(make("PNG", standing()))
    visit.finished()
    visit.page.get_by_text("Placement", exact=True).click()
    visit.slide("Size", 40)
    visit.slide("Copies", 3)
    visit.slide("Spacing", 30)

    layout = "x:0.2,scale:0.4;x:0.5,scale:0.4;x:0.8,scale:0.4"
    assert visit.sent() == {"output": "cutout", "layout": layout}
    row = visit.result()[220, :, 3] > 127
    starts = np.flatnonzero(np.diff(row.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(row.astype(int)) == -1)
    assert (starts + ends) / 2 == pytest.approx([0.2 * 320, 0.5 * 320, 0.8 * 320], abs=4)


def test_crop_and_placement_switch_each_other_off(visit):
    crop, invert = (
        visit.page.get_by_label(label)
        for label in ("Crop to the person", "Keep the background instead")
    )
    visit.choose(make("PNG", standing()))
    visit.finished()
    visit.page.get_by_text("Placement", exact=True).click()
    visit.slide("Size", 50)
    assert crop.is_disabled()
    assert invert.is_disabled()
    visit.slide("Size", 100)
    visit.change(crop.check)

    assert not visit.page.get_by_role("slider", name="Size").is_visible()
    assert visit.page.locator("#placement-note").is_visible()
    assert visit.sent() == {"output": "cutout", "crop": "true"}


def test_controls_without_effect_are_not_shown(visit):
    spill, wrap = (visit.page.get_by_label(name) for name in ("Remove colour spill", "Light wrap"))
    shown = {}
    for output in ("cutout", "composite", "mask"):
        visit.pick("output", output)
        shown[output] = spill.is_visible(), wrap.is_visible()

    assert shown == {"cutout": (True, False), "composite": (True, True), "mask": (False, False)}
    visit.choose(make("PNG", quadrants()))
    visit.finished()
    assert visit.sent() == {}


def test_mask_can_be_hardened_and_inverted(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()
    visit.change(lambda: visit.pick("output", "mask"))
    visit.change(lambda: visit.page.get_by_label("Hard edge").check())
    visit.change(lambda: visit.page.get_by_label("Keep the background instead").check())

    seen = visit.result()
    assert set(np.unique(seen[..., 0])) == {0, 255}
    assert [seen[y, x, 0] for x, y in (RED, GREEN, BLUE, WHITE)] == [0, 255, 255, 0]


def test_slider_moves_by_keyboard(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()
    slider = visit.page.get_by_role("slider", name=re.compile("Compare"))
    slider.focus()

    for key, share in (("Home", 0), ("ArrowRight", 1), ("End", 100), ("ArrowLeft", 99)):
        slider.press(key)
        assert slider.input_value() == str(share)
        assert slider.get_attribute("aria-valuetext") == f"{share} % photo"
        assert visit.hidden_share() == pytest.approx(100 - share)


def test_slider_follows_the_pointer(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()
    box = visit.page.locator("#frame").bounding_box()
    middle = box["y"] + box["height"] / 2
    visit.page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    visit.page.mouse.up()
    visit.page.mouse.move(box["x"] + 0.9 * box["width"], middle)

    assert visit.hidden_share() == pytest.approx(80, abs=1)


def test_cropped_result_lies_over_its_part_of_the_photo(visit):
    photo = np.zeros((240, 320, 3), np.uint8)
    photo[60:180, 140:260] = (255, 0, 0)
    visit.choose(make("PNG", photo))
    visit.finished()
    visit.change(lambda: visit.page.get_by_label("Crop to the person").check())
    visit.page.get_by_role("slider", name=re.compile("Compare")).press("End")

    height, width = visit.result().shape[:2]
    shown = Image.open(BytesIO(visit.page.locator("#frame").screenshot())).convert("RGB")
    corners = [(x, y) for x in (0.06, 0.94) for y in (0.15, 0.94)]
    assert (width, height) == (pytest.approx(120, abs=12), pytest.approx(120, abs=12))
    for x, y in corners:
        assert shown.getpixel((int(x * shown.width), int(y * shown.height))) == (255, 0, 0)


def test_photo_is_shown_upright_on_both_sides(visit):
    visit.choose(make("JPEG", quadrants(), orientation=6), "turned.jpg")
    visit.finished()

    assert visit.result().shape[:2] == (96, 64)
    assert visit.page.get_attribute("#frame", "data-shows") == "both"


def test_download_is_the_shown_image_under_a_sensible_name(visit):
    visit.choose(make("PNG", quadrants()), "summer.holiday.png")
    visit.finished()
    visit.change(lambda: visit.pick("format", "webp"))
    with visit.page.expect_download() as saved:
        visit.page.click("#download")

    assert saved.value.suggested_filename == "summer.holiday-cutout.webp"
    with Image.open(saved.value.path()) as image:
        assert (image.format, image.size, image.mode) == ("WEBP", (96, 64), "RGBA")


def test_text_file_is_refused_readably(visit):
    with visit.page.expect_response("**/v1/segment") as answered:
        visit.choose(b"not a picture at all", "note.txt")
    shown = visit.page.get_by_role("alert")
    shown.wait_for()

    problem = answered.value.json()
    text = shown.inner_text()
    assert problem["title"] in text
    assert problem["detail"] in text
    assert problem["request_id"] in text
    assert not visit.page.is_visible("#download")
    assert not visit.page.is_visible("#retry")
    visit.refused(415)


def test_good_photo_after_a_refused_one_clears_the_problem(visit):
    visit.choose(b"not a picture at all", "note.txt")
    visit.page.get_by_role("alert").wait_for()
    visit.choose(make("PNG", quadrants()))
    visit.finished()

    assert not visit.page.is_visible("[role=alert]")
    assert visit.page.is_visible("#download")
    visit.refused(415)


def test_photo_without_a_person_says_so(visit):
    visit.choose(make("PNG", np.zeros((64, 96, 3), np.uint8)))
    visit.finished()

    assert "No person was found" in visit.page.inner_text("[role=status]")


def test_newer_choice_gives_up_the_request_under_way(visit):
    """The first request is held back until the second is answered, and never shown."""
    held: list[Any] = []
    visit.page.route("**/v1/segment", lambda route: held.append(route), times=1)
    with visit.page.expect_event("requestfailed") as given_up:
        with visit.page.expect_request("**/v1/segment"):
            visit.choose(make("PNG", quadrants()))
        visit.pick("output", "mask")
    visit.finished()

    assert len(held) == 1
    assert "ERR_ABORTED" in given_up.value.failure
    assert visit.page.inner_text("#after-tag") == "Mask"
    assert visit.result()[GREEN[1], GREEN[0], 3] == 255


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_photo_can_be_handed_over_by(kind, visit):
    visit.hand_over(kind, make("PNG", quadrants()), "handed.png")
    visit.finished()

    assert visit.page.get_attribute("#download", "download") == "handed-cutout.png"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_line_makes_the_same_file(visit, tmp_path):
    name = 'it\'s; me, "you".png'
    visit.choose(make("PNG", quadrants()), name)
    visit.finished()
    visit.change(lambda: visit.pick("output", "composite"))
    visit.change(lambda: visit.page.get_by_label("Hard edge").check())
    visit.page.get_by_text("Placement", exact=True).click()
    visit.slide("Copies", 2)
    with visit.page.expect_download() as saved:
        visit.page.click("#download")
    (tmp_path / name).write_bytes(make("PNG", quadrants()))
    command = visit.page.inner_text("#curl")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, env=_without_proxies())

    made = shlex.split(command.replace("\\\n", " "))[-1]
    assert (tmp_path / made).read_bytes() == Path(saved.value.path()).read_bytes()


def _without_proxies() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}


def test_server_with_keys_is_asked_for_one_and_served(visit_to, keyed_server_url):
    visit = visit_to(keyed_server_url)
    visit.offer_key("guess")
    visit.page.get_by_text("That key was not accepted.").wait_for()
    visit.offer_key("sesame")
    visit.page.wait_for_selector("#model option[value=connectnet]", state="attached")
    visit.choose(make("PNG", quadrants()))
    visit.finished()

    assert not visit.page.is_visible("#key-form")
    assert "X-Api-Key: $SILHOUETTE_KEY" in visit.page.inner_text("#curl")
    assert "sesame" not in visit.page.content()
    visit.refused(401, times=2)


def test_open_server_is_never_asked_for_a_key(visit):
    visit.choose(make("PNG", quadrants()))
    visit.finished()

    assert not visit.page.is_visible("#key-form")


def test_server_timing_is_read_as_the_header_allows_it(visit):
    parsed = visit.page.evaluate(
        "async header => (await import('/web/photo/timings.js')).parseServerTiming(header)",
        'decode;dur=1.5, cache;desc="hit", infer;desc=x;dur=12, total;dur=99, odd;dur=?',
    )
    assert parsed == [{"name": "decode", "ms": 1.5}, {"name": "infer", "ms": 12}]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_everything_without_scrolling_sideways(scheme, visit_to, server_url):
    visit = visit_to(server_url, viewport=PHONE, color_scheme=scheme)
    visit.choose(make("PNG", astronaut()))
    visit.finished()
    visit.page.get_by_text("Placement", exact=True).click()
    visit.slide("Copies", 6)
    visit.change(lambda: visit.page.get_by_label("Move the person").check())
    visit.change(lambda: visit.pick("output", "composite"))

    width = visit.page.evaluate("document.documentElement.scrollWidth")
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper)[:3]))
    assert width <= PHONE["width"]
    assert (brightness > 600) == (scheme == "light")
    assert (brightness < 150) == (scheme == "dark")


def test_every_control_has_a_name(visit):
    nameless = visit.page.evaluate(
        """() => [...document.querySelectorAll('input, select, button, a[href]')]
          .filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim())
          .map(e => e.outerHTML)"""
    )
    assert nameless == []
