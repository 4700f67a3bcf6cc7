"""The list of models of the page, with a model that does not serve."""

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS
from tests.support.images import make, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

pytestmark = BROWSER_MARKS


def test_failed_model_is_shown_and_cannot_be_selected(open_demo, live_settings, tmp_path):
    for name in ("connectnet", "imported"):
        write_tiny_model(tmp_path, tiny_spec(name))
    (tmp_path / "imported" / "spec.json").write_text("{}")
    with on_socket(live_settings(model_repository=tmp_path)) as server:
        demo = open_demo(server.url)
        option = demo.page.locator("#options [name=model] option[value=imported]")
        option.wait_for(state="attached")
        assert option.text_content() == "imported (unavailable)"
        assert option.is_disabled()
        assert "spec.json is invalid" in option.get_attribute("title")
        demo.choose_photo(make("PNG", quadrants()))
        demo.wait_for_result()
