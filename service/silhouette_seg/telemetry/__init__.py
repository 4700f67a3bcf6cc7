"""What an operator sees: metrics, request ids, log lines, traces."""

from silhouette_seg.telemetry.logs import JsonFormatter, TextFormatter, fields, logging_config
from silhouette_seg.telemetry.loop_lag import watch_loop
from silhouette_seg.telemetry.metrics import (
    METRICS_TYPE,
    Answered,
    Telemetry,
    Transport,
    server_timing,
)
from silhouette_seg.telemetry.request_id import IDENTITY, Identity, identify, read_traceparent
from silhouette_seg.telemetry.tracing import NoTracing, Tracing, open_tracing

__all__ = [
    "IDENTITY",
    "METRICS_TYPE",
    "Answered",
    "Identity",
    "JsonFormatter",
    "NoTracing",
    "Telemetry",
    "TextFormatter",
    "Tracing",
    "Transport",
    "fields",
    "identify",
    "logging_config",
    "open_tracing",
    "read_traceparent",
    "server_timing",
    "watch_loop",
]
