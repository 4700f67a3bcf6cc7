"""The photo tab apart from its results: problems, keys, layout, accessibility."""

import re
from collections.abc import Iterator

import pytest
from skimage.data import astronaut

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS, PHONE
from tests.support.heif import make_heic
from tests.support.images import make, quadrants

pytestmark = BROWSER_MARKS


@pytest.fixture
def keyed_server_url(settings_with) -> Iterator[str]:
    with on_socket(settings_with(api_keys=("sesame",))) as running:
        yield running.url


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


def test_photo_deleted_from_the_disk_is_reported(demo, tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(make("PNG", quadrants()))
    demo.page.set_input_files("#photo", photo)
    demo.wait_for_result()
    photo.unlink()
    demo.select("output", "mask")

    assert "photo.png cannot be read" in demo.page.get_by_role("alert").inner_text()
    demo.errors.clear()  # the browser logs that the file is missing


def test_valid_photo_clears_previous_problem(demo):
    demo.choose_photo(b"not a picture at all", "note.txt")
    demo.page.get_by_role("alert").wait_for()
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert not demo.page.is_visible("[role=alert]")
    assert demo.page.is_visible("#download")
    demo.expect_http_error(415)


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


def test_photo_that_browser_cannot_show_gets_its_result(demo):
    demo.choose_photo(make_heic(quadrants()), "photo.heic")
    demo.wait_for_result()

    assert demo.page.get_attribute("#frame", "data-shows") == "result"
    assert not demo.page.is_visible("[role=alert]")
    assert demo.page.is_visible("#download")


@pytest.mark.parametrize(
    ("sample", "size"),
    [("portrait of an astronaut", (270, 270)), ("camera operator", (512, 512))],
)
def test_sample_photo_gets_its_result(sample, size, demo):
    demo.page.get_by_role("button", name=sample).click()
    demo.wait_for_result()

    assert demo.result().shape[:2] == size


def test_sample_photo_of_stopped_server_is_reported(demo):
    demo.page.route("**/samples/*.jpg", lambda route: route.abort())
    demo.page.get_by_role("button", name="camera operator").click()

    assert "The server cannot be reached" in demo.page.get_by_role("alert").inner_text()
    demo.errors.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_layout_fits_the_width(scheme, open_demo, running):
    demo = open_demo(running.url, viewport=PHONE, color_scheme=scheme)
    demo.choose_photo(make("PNG", astronaut()))
    demo.wait_for_result()
    demo.toggle_fold("Placement")
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
