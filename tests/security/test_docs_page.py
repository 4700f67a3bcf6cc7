"""The API documentation in Chromium."""

from tests.integration.conftest import on_socket
from tests.integration.page_object import DemoPage
from tests.integration.test_page import chromium, open_demo, pytestmark

__all__ = ["chromium", "open_demo", "pytestmark"]


def test_docs_page_works_without_other_hosts(settings_with, open_demo):
    """The page loads from this host alone, within its policy, and sends a request."""
    with on_socket(settings_with()) as server:
        demo: DemoPage = open_demo(server.url)
        page = demo.page
        page.goto(f"{server.url}/docs")
        page.get_by_text("Photos in; portrait masks").wait_for()
        page.get_by_text("/v1/models", exact=True).click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text('"auto": "connectnet"').wait_for()
        assert demo.errors == []
