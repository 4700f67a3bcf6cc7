"""A Telemetry and its values."""

import pytest

from silhouette_seg.telemetry import Telemetry


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def read(telemetry):
    """Reads one value by metric name without `silhouette_` and by labels; None if it is absent."""

    def value(name, **labels):
        return telemetry.registry.get_sample_value(f"silhouette_{name}", labels)

    return value
