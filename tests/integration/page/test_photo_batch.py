"""Several photos at once: the strip of results, the ZIP file, and files that are left out."""

import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.demo_page import DemoPage
from tests.integration.page.photos import one_person
from tests.support.images import make, quadrants

pytestmark = BROWSER_MARKS

UNREADABLE = b"not a picture at all"


def three_photos() -> dict[str, bytes]:
    """Returns photos of different sizes; the second cannot be read."""
    return {
        "first.png": make("PNG", quadrants()),
        "second.png": UNREADABLE,
        "third.png": make("PNG", one_person()),
    }


def states(demo: DemoPage) -> list[str]:
    return demo.page.locator(".thumb-state").all_inner_texts()


def shown_size(demo: DemoPage) -> tuple[int, ...]:
    return demo.result().shape[:2]


def test_dropped_photos_become_a_strip_of_results(demo):
    demo.transfer_files("drop", three_photos())
    demo.wait_for_batch()
    demo.wait_for_result()

    assert states(demo) == ["Done", "No result", "Done"]
    assert demo.page.inner_text("#batch-status") == "2 of 3 done, 1 without a result"
    assert shown_size(demo) == (64, 96)
    demo.page.get_by_role("button", name="third.png").click()
    demo.page.wait_for_function("() => document.querySelector('#after').naturalWidth === 320")
    assert demo.page.get_attribute("#download", "download") == "third-cutout.png"
    assert "image=@third.png" in demo.page.inner_text("#curl")
    assert demo.page.get_by_role("button", name="third.png").get_attribute("aria-pressed") == "true"
    demo.expect_http_error(415)


def test_photo_without_a_result_shows_its_problem_when_selected(demo):
    demo.choose_photos(three_photos())
    demo.wait_for_batch()
    demo.page.get_by_role("button", name="second.png").click()
    demo.page.get_by_role("alert").wait_for()

    assert not demo.page.is_visible("#download")
    demo.page.get_by_role("button", name="first.png").click()
    demo.wait_for_result()
    assert not demo.page.get_by_role("alert").is_visible()
    assert demo.page.is_visible("#download")
    demo.expect_http_error(415)


def test_zip_file_has_the_result_of_every_photo(demo):
    green = np.full((20, 30, 3), (0, 255, 0), np.uint8)
    photos = three_photos() | {"Grüße.first.png": make("PNG", green)}
    demo.choose_photos(photos)
    demo.wait_for_batch()
    with demo.page.expect_download() as saved:
        demo.page.get_by_role("button", name="Download all as ZIP").click()

    assert saved.value.suggested_filename == "silhouette.zip"
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert archive.testzip() is None
        names = ["first-cutout.png", "third-cutout.png", "Grüße.first-cutout.png"]
        assert archive.namelist() == names
        sizes = [Image.open(BytesIO(archive.read(name))).size for name in names]
    assert sizes == [(96, 64), (320, 240), (30, 20)]
    demo.expect_http_error(415)


def test_zip_names_of_equal_photos_are_unique(demo):
    names = demo.page.evaluate(
        "async names => (await import('/web/photo/zip-file.js')).uniqueNames(names)",
        ["a.png", "a.png", "b", "a.png", "b", "a-2.png"],
    )
    assert names == ["a.png", "a-2.png", "b", "a-3.png", "b-2", "a-2-2.png"]


def test_new_options_apply_to_every_photo(demo):
    demo.choose_photos({"a.png": make("PNG", quadrants()), "b.png": make("PNG", one_person())})
    demo.wait_for_batch()
    demo.select("output", "mask")
    demo.page.wait_for_selector("#download[download='a-mask.png']")
    demo.wait_for_batch()
    with demo.page.expect_download() as saved:
        demo.page.get_by_role("button", name="Download all as ZIP").click()

    with zipfile.ZipFile(saved.value.path()) as archive:
        assert archive.namelist() == ["a-mask.png", "b-mask.png"]
        assert {Image.open(BytesIO(archive.read(name))).mode for name in archive.namelist()} == {
            "L"
        }


def test_single_photo_has_no_strip(demo):
    demo.choose_photos(three_photos())
    demo.wait_for_batch()
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert not demo.page.is_visible("#batch")
    demo.expect_http_error(415)


@pytest.mark.parametrize("name", ["talk.mp4", "talk.MOV"])
def test_dropped_video_names_the_command_line(name, demo):
    demo.transfer_files("drop", {name: b"video"})
    text = demo.page.get_by_role("alert").inner_text()

    assert "A video cannot be processed here" in text
    assert "silhouette segment" in text
    assert demo.page.get_attribute("main", "data-state") == "empty"


def test_video_among_photos_is_left_out(demo):
    demo.transfer_files("drop", {"a.png": make("PNG", quadrants()), "talk.mp4": b"video"})
    demo.wait_for_result()

    assert "A video cannot be processed here" in demo.page.get_by_role("alert").inner_text()
    assert shown_size(demo) == (64, 96)


def test_too_many_photos_are_refused_with_the_limit(demo):
    demo.choose_photos({f"{n}.png": UNREADABLE for n in range(51)})
    text = demo.page.get_by_role("alert").inner_text()

    assert "Too many photos at once" in text
    assert "limit 50, got 51" in text
    assert demo.page.get_attribute("main", "data-state") == "empty"
