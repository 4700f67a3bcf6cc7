"""The API documentation in Chromium, within its content security policy."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import on_socket
from tests.integration.page.axe import NO_VIOLATIONS, needs_axe, violations
from tests.integration.page.browser import (
    BROWSER_MARKS,
    demo_pages,
    launched_chromium,
    started_playwright,
)
from tests.integration.page.demo_page import DemoPage
from tests.support.images import make_png, quadrants

pytestmark = BROWSER_MARKS

LIST_OF_FILES = "Could not find component: JsonSchema_string_binary"
"""Warning of Swagger UI about a list of files, which it shows nevertheless."""


@pytest.fixture(scope="module")
def open_docs(settings_with) -> Iterator[Callable[..., DemoPage]]:
    """Opens `/docs`, and checks at the end that no page logged an error or left its host.

    With `keyed`, the server requires the key `sesame`.
    """
    with (
        on_socket(settings_with()) as server,
        on_socket(settings_with(api_keys=("sesame",))) as keyed_server,
        started_playwright() as playwright,
        launched_chromium(playwright) as chromium,
        demo_pages(chromium) as open_demo,
    ):

        def open_page(*, keyed: bool = False, **context: Any) -> DemoPage:
            demo = open_demo((keyed_server if keyed else server).url, **context)
            demo.page.goto(f"{demo.origin}/docs")
            demo.page.get_by_text("Photos in; portrait masks").wait_for()
            return demo

        yield open_page


@pytest.fixture(scope="module")
def docs(open_docs) -> DemoPage:
    """One page of `/docs`; each test uses other operations of it."""
    return open_docs()


def operation(demo: DemoPage, name: str) -> Any:
    """Opens an operation by its id, and returns it ready for input."""
    block = demo.page.locator(f".opblock[id$='-{name}']")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def execute(demo: DemoPage, block: Any) -> Any:
    """Presses Execute, and returns the response. Images of results are blobs, not responses."""
    with demo.page.expect_response(f"{demo.origin}/**") as sent:
        block.get_by_role("button", name="Execute").click()
    return sent.value


def test_docs_page_sends_a_request_without_other_hosts(docs):
    block = operation(docs, "list_models")
    assert execute(docs, block).status == 200
    block.locator(".live-responses-table").get_by_text('"auto": "connectnet"').wait_for()
    assert docs.errors == []


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("segment", "image/png"),
        ("segment_binary", "image/png"),
        ("segment_report", "application/json"),
        ("segment_batch", "multipart/mixed"),
        ("removebg", "image/png"),
        ("remove", "image/png"),
    ],
)
def test_chosen_file_and_execute_succeed(docs, name, media_type):
    """Swagger UI would send a made-up value for each field that has no default."""
    block = operation(docs, name)
    # Photo and background are in the order of the schema.
    file = {"name": "a.png", "mimeType": "image/png", "buffer": make_png(quadrants(48, 64))}
    block.locator("input[type=file]").first.set_input_files(file)

    response = execute(docs, block)

    assert (response.status, response.headers["content-type"].split(";")[0]) == (200, media_type)
    if name in ("segment", "segment_binary"):
        plain = httpx.post(f"{docs.origin}/v1/segment", files={"image": file["buffer"]})
        assert response.headers["etag"] == plain.headers["etag"]  # no parameter differs
    block.locator(".live-responses-table .response-col_status", has_text="200").first.wait_for()
    docs.errors[:] = [text for text in docs.errors if text != LIST_OF_FILES]
    assert docs.errors == []


def test_json_example_and_execute_succeed(docs):
    response = execute(docs, operation(docs, "segment_json"))
    assert response.status == 200
    assert response.json()["output"] == "cutout"


def test_docs_page_follows_the_colour_scheme(open_docs):
    demo = open_docs(color_scheme="dark")

    def lightness() -> int:
        colour = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g)"
        return sum(map(int, demo.page.evaluate(colour)[:3]))

    assert 0 < lightness() < 150
    demo.page.emulate_media(color_scheme="light")
    demo.page.wait_for_function("!document.documentElement.classList.contains('dark-mode')")


@pytest.mark.parametrize("width", [320, 1280])
def test_docs_page_fits_its_window_and_leads_back(open_docs, width):
    demo = open_docs(viewport={"width": width, "height": 800})
    operation(demo, "segment")
    assert demo.page.evaluate("document.documentElement.scrollWidth") <= width
    demo.page.get_by_role("link", name="Back to the page").click()
    demo.page.get_by_role("heading", name="A photo in").wait_for()
    assert demo.page.url == f"{demo.origin}/"


@needs_axe
def test_axe_finds_no_violations_in_swagger_ui(open_docs):
    demo = open_docs(keyed=True)
    found = {"collapsed": violations(demo.page)}
    demo.page.get_by_role("button", name="Authorize").click()
    dialog = demo.page.locator(".dialog-ux")
    found["dialog"] = violations(demo.page)
    dialog.locator("input").first.fill("sesame")
    dialog.get_by_role("button", name="Apply credentials").first.click()
    dialog.get_by_role("button", name="Close").first.click()
    for name in ("segment", "change_stream", "end_stream"):
        operation(demo, name)
    models = operation(demo, "list_models")
    response = execute(demo, models)
    models.locator(".live-responses-table").get_by_text('"auto": "connectnet"').wait_for()
    demo.page.get_by_role("button", name="Expand all").first.click()
    found["opened"] = violations(demo.page)

    assert response.status == 200
    assert found == dict.fromkeys(found, NO_VIOLATIONS)
    demo.errors[:] = [text for text in demo.errors if "401" not in text and text != LIST_OF_FILES]
