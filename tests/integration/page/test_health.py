"""The note in the header: it follows the health of the server while the page is open."""

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS

pytestmark = BROWSER_MARKS

CHECK_INTERVAL_MS = 10_000
"""Time between two checks of a server that is ready, as health.js has it."""


def test_health_after_end_of_server_is_not_reachable(open_demo, live_settings):
    with on_socket(live_settings()) as running:
        demo = open_demo(running.url)
        demo.page.clock.install()
        demo.page.reload()
        demo.page.locator("#health[data-health=ready]").wait_for()
        assert demo.page.inner_text("#health") == "Ready"
    demo.page.clock.run_for(CHECK_INTERVAL_MS)
    demo.page.locator("#health[data-health=unreachable]").wait_for()

    assert demo.page.inner_text("#health") == "Not reachable"
    demo.expect_refused_connections()


def test_health_while_models_load_is_not_ready(demo):
    demo.page.locator("#health[data-health=ready]").wait_for()
    demo.page.route("**/readyz", lambda route: route.fulfill(status=503), times=1)
    demo.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    demo.page.locator("#health[data-health=waiting]").wait_for()

    assert demo.page.inner_text("#health") == "Not ready"
    demo.page.locator("#health[data-health=ready]").wait_for()
    demo.expect_http_error(503)
