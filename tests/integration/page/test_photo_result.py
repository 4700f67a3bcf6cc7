"""Result of a photo: pixels, facts, comparison with the photo, download."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.photos import GREEN
from tests.support.images import make, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

pytestmark = BROWSER_MARKS


def test_cutout_has_alpha_of_the_model(demo):
    demo.toggle_fold("Edges")
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


@pytest.fixture
def routed_server_url(settings_with, tmp_path) -> Iterator[str]:
    """Serves a model that takes a domain. The width of the face is the level of green."""
    for name in ("md_trisenet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    with on_socket(settings_with(model_repository=tmp_path)) as running:
        yield running.url


def test_domain_is_shown_and_detector_is_not_selectable(open_demo, routed_server_url):
    demo = open_demo(routed_server_url)
    demo.page.wait_for_selector("#model option[value=md_trisenet]", state="attached")
    assert demo.page.locator("#model option[value=face_detector]").count() == 0
    demo.choose_photo(make("PNG", np.full((48, 64, 3), (255, 200, 0), np.uint8)))
    demo.wait_for_result()

    assert re.search(r"Distance\s+Head shot", demo.page.inner_text("#facts"))
    reason = demo.page.get_attribute("#facts div:has-text('Distance')", "title")
    assert reason == "The face covers 78\u00a0% of the photo"


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


def test_result_of_earlier_options_is_not_downloadable(demo):
    """The request for the new options is held until the test has looked at the page."""
    held: list[Any] = []
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    assert demo.page.get_attribute("#download", "href")
    demo.page.route("**/v1/segment", lambda route: held.append(route), times=1)
    with demo.page.expect_request("**/v1/segment"):
        demo.select("output", "mask")

    assert demo.page.get_attribute("#download", "href") is None
    assert demo.page.get_attribute("#download", "aria-disabled") == "true"
    demo.change(lambda: held[0].continue_())
    assert demo.page.get_attribute("#download", "download") == "portrait-mask.png"
    assert demo.page.get_attribute("#download", "href")


def test_result_disappears_while_a_background_image_is_missing(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.select("background", "image")
    demo.page.wait_for_selector("main[data-state=waiting]")

    assert not demo.page.is_visible("#download")
    assert not demo.page.is_visible("#report")
    assert demo.page.get_attribute("#frame", "data-shows") == "photo"


def test_photo_without_person_is_reported(demo):
    demo.choose_photo(make("PNG", np.zeros((64, 96, 3), np.uint8)))
    demo.wait_for_result()

    assert "No person was found" in demo.page.inner_text("[role=status]")


def test_doubtful_person_is_not_reported_as_found(demo):
    """The alpha is the red of the photo, and 160 is hardly over one half."""
    demo.choose_photo(make("PNG", np.full((64, 96, 3), (160, 0, 0), np.uint8)))
    demo.wait_for_result()

    assert "Perhaps a person, " in demo.page.inner_text("[role=status]")
    assert re.search(r"Person\s+Perhaps: the outline is uncertain", demo.page.inner_text("#facts"))


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
    demo.transfer_files(kind, {"photo.png": make("PNG", quadrants())})
    demo.wait_for_result()

    assert demo.page.get_attribute("#download", "download") == "photo-cutout.png"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_command_produces_the_same_file(demo, tmp_path):
    name = 'it\'s; me, "you".png'
    demo.choose_photo(make("PNG", quadrants()), name)
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.toggle_fold("Edges")
    demo.change(lambda: demo.page.get_by_label("Hard edge").check())
    demo.toggle_fold("Placement")
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


def test_server_timing_header_is_parsed(demo):
    parsed = demo.page.evaluate(
        "async header => (await import('/web/photo/timings.js')).parseServerTiming(header)",
        'decode;dur=1.5, cache;desc="hit", infer;desc=x;dur=12, total;dur=99, odd;dur=?',
    )
    assert parsed == [{"name": "decode", "ms": 1.5}, {"name": "infer", "ms": 12}]
