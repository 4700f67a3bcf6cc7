"""Reads the metrics of a Telemetry."""

from silhouette_seg.telemetry import Telemetry


def exposition(telemetry: Telemetry) -> str:
    """Returns the body of `GET /metrics`."""
    return telemetry.snapshot()().decode()
