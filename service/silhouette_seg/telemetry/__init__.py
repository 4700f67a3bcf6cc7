"""What an operator sees: metrics, request ids, log lines, traces."""

from silhouette_seg.telemetry.logs import JsonFormatter, TextFormatter, log_fields, logging_config
from silhouette_seg.telemetry.loop_lag import monitor_loop_lag
from silhouette_seg.telemetry.metrics import (
    METRICS_CONTENT_TYPE,
    RequestRecord,
    Telemetry,
    Transport,
    server_timing,
)
from silhouette_seg.telemetry.request_id import (
    IDENTITY,
    Identity,
    parse_trace_id,
    read_identity,
)
from silhouette_seg.telemetry.tracing import NoOpTracing, Tracing, open_tracing

__all__ = [
    "IDENTITY",
    "METRICS_CONTENT_TYPE",
    "Identity",
    "JsonFormatter",
    "NoOpTracing",
    "RequestRecord",
    "Telemetry",
    "TextFormatter",
    "Tracing",
    "Transport",
    "log_fields",
    "logging_config",
    "monitor_loop_lag",
    "open_tracing",
    "parse_trace_id",
    "read_identity",
    "server_timing",
]
