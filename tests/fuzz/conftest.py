"""Strangers' bytes, at every door. `--mutations` says how many; the suite takes the least."""

import pytest

from tests.integration.conftest import (  # fixtures
    repository,
    service,
    settings_with,
)

__all__ = ["repository", "service", "settings_with"]


@pytest.fixture(scope="session")
def examples(mutations) -> int:
    """How many inputs a property is tried on where each costs a request or more."""
    return max(5, mutations // 40)
