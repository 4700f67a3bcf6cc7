"""A service that trusts loopback, and each proxy in front of it."""

from collections.abc import Iterator

import pytest

from silhouette_seg.engine import ENGINES
from silhouette_seg.engine.fake import FakeEngine
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.proxies.proxy import PROXIES, Proxy, running_proxy
from tests.support import fakes

MAX_BODY_BYTES = 1_000_000


@pytest.fixture(scope="package")
def served(settings_with) -> Iterator[tuple[OnSocket, FakeEngine]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENGINES, "gated", "tests.support.fakes:open_gated")
        settings = settings_with(
            engine="gated",
            trusted_proxies="127.0.0.1",
            max_streams_per_caller=1,
            max_body_bytes=MAX_BODY_BYTES,
            max_batch_body_bytes=MAX_BODY_BYTES,
        )
        with on_socket(settings) as running:
            yield running, fakes.OPENED[-1]


@pytest.fixture(scope="package")
def running(served) -> OnSocket:
    return served[0]


@pytest.fixture
def engine(served) -> Iterator[FakeEngine]:
    """The engine of the service; it answers only while its gate is set."""
    yield served[1]
    served[1].gate.set()


@pytest.fixture(scope="package", params=PROXIES)
def proxy(request, running, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp(request.param)
    with running_proxy(request.param, folder, running.port) as proxy:
        yield proxy
