"""The API documentation in Chromium."""

from tests.integration.conftest import on_socket
from tests.integration.page.browser import (
    BROWSER_MARKS,
    demo_pages,
    launched_chromium,
    started_playwright,
)

pytestmark = BROWSER_MARKS


def test_docs_page_works_without_other_hosts(settings_with):
    """The page loads from this host alone, within its policy, and sends a request."""
    with (
        on_socket(settings_with()) as server,
        started_playwright() as playwright,
        launched_chromium(playwright) as chromium,
        demo_pages(chromium) as open_demo,
    ):
        demo = open_demo(server.url)
        page = demo.page
        page.goto(f"{server.url}/docs")
        page.get_by_text("Photos in; portrait masks").wait_for()
        page.get_by_text("/v1/models", exact=True).click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text('"auto": "connectnet"').wait_for()
        assert demo.errors == []
