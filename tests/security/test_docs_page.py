"""The API's documentation in a real Chromium."""

from tests.integration.conftest import on_socket
from tests.integration.test_page import chromium, pytestmark, visit_to
from tests.integration.visit import Visit

__all__ = ["chromium", "pytestmark", "visit_to"]


def test_documentation_is_ours_alone_and_can_be_tried(settings_with, visit_to):
    """Nothing is asked of another host, the policy stops nothing, and a request is answered."""
    with on_socket(settings_with()) as server:
        visit: Visit = visit_to(server.url)
        page = visit.page
        page.goto(f"{server.url}/docs")
        page.get_by_text("Photos in; portrait masks").wait_for()
        page.get_by_text("/v1/models", exact=True).click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text('"auto": "connectnet"').wait_for()
        assert visit.complaints == []
