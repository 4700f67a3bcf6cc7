"""Chooses between OpenTelemetry traces and none, as the settings say."""

from importlib import import_module

from silhouette_seg.telemetry.tracing import NoOpTracing, Tracing

OTEL_EXTRA = "otel"
"""Name of the pip extra that installs OpenTelemetry's SDK."""


def open_tracing(endpoint: str | None, version: str) -> Tracing:
    """Returns tracing that sends spans to the OpenTelemetry collector at the URL `endpoint`.

    `version` is that of the service. Without an endpoint it returns tracing that records nothing.
    Raises ValueError if the SDK is needed and not installed.
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
