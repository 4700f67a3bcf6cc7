"""The page over https, through nginx and Caddy with the published configurations."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import OnSocket, on_socket
from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.proxies.proxy import PROXIES, Proxy, running_proxy
from tests.support.images import make, quadrants

pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def trusting(live_settings) -> Iterator[OnSocket]:
    with on_socket(live_settings(trusted_proxies="127.0.0.1")) as running:
        yield running


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request, trusting, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp(request.param)
    with running_proxy(request.param, folder, trusting.port) as proxy:
        yield proxy


def test_photo_over_https_gets_its_result(proxy, open_demo):
    demo = open_demo(proxy.url, ignore_https_errors=True)
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    assert demo.result().shape == (64, 96, 4)
    assert demo.page.evaluate("performance.getEntries()[0].nextHopProtocol") == "h2"


def test_camera_over_https_goes_live(proxy, open_live, trusting):
    live = open_live(trusting, origin=proxy.url, ignore_https_errors=True)
    live.select("transport", "websocket")
    live.start()
    live.wait_live()
    live.page.get_by_role("button", name="Stop").click()
    live.wait_off()
