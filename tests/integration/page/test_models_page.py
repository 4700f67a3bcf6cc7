"""The page of the models: the data of `GET /v1/models` for people."""

import httpx
import pytest

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS

pytestmark = BROWSER_MARKS


def test_link_models_opens_a_page_of_the_models(demo, running):
    demo.page.get_by_role("link", name="Models").click()
    demo.page.get_by_role("heading", name="connectnet").wait_for()

    (model,) = httpx.get(f"{running.url}/v1/models").json()["models"]
    text = demo.page.inner_text("main")
    assert demo.page.url == f"{running.url}/models"
    assert "Default for photos" in text
    for value in (model["digest"], model["licence"], model["provider"], "Segmentation", "Ready"):
        assert value in text


def test_models_page_leads_back_to_the_photo_page(demo, running):
    demo.page.goto(f"{running.url}/models")
    demo.page.get_by_role("link", name="Back to the page").click()
    demo.page.get_by_role("heading", name="A photo in").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_models_page_fits_a_narrow_screen_in_both_schemes(open_demo, running, scheme):
    demo = open_demo(running.url, viewport={"width": 320, "height": 700}, color_scheme=scheme)
    demo.page.goto(f"{running.url}/models")
    demo.page.get_by_role("heading", name="connectnet").wait_for()

    assert demo.page.evaluate("document.documentElement.scrollWidth") == 320
    paper = demo.page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor")
    assert paper == ("rgb(243, 245, 244)" if scheme == "light" else "rgb(16, 20, 19)")


def test_models_page_prompts_for_required_key(open_demo, settings_with):
    with on_socket(settings_with(api_keys=("sesame",))) as keyed:
        demo = open_demo(keyed.url)
        demo.page.goto(f"{keyed.url}/models")
        demo.submit_key("sesame")
        demo.page.get_by_role("heading", name="connectnet").wait_for()
        assert not demo.page.is_visible("#key-form")
        demo.page.context.close()
    demo.errors[:] = [text for text in demo.errors if "status of 401" not in text]
