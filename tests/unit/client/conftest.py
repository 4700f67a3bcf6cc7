import pytest

from silhouette_seg.client import AsyncClient, Client
from tests.unit.client.test_photos import Service


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def service(request) -> Service:
    """Service for one of the clients; the test sets its answers."""
    return Service(request.param)
