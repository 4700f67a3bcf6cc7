"""Chooses the tracing of the process."""

from importlib import import_module

from silhouette_seg.telemetry.tracing import NoOpTracing, Tracing

OTEL_EXTRA = "otel"
"""Extra of pyproject.toml that installs OpenTelemetry's SDK."""


def open_tracing(endpoint: str | None, version: str) -> Tracing:
    """Returns tracing that sends spans to the collector at the URL `endpoint`.

    Without an endpoint the SDK is not loaded and nothing is sent. Raises ValueError when the SDK
    is not installed.
    """
    if endpoint is None:
        return NoOpTracing()
    try:
        otel = import_module("silhouette_seg.telemetry.otel")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is missing: install silhouette-seg[{OTEL_EXTRA}]"
        ) from error
    tracing: Tracing = otel.open_otel_tracing(endpoint, version)
    return tracing
