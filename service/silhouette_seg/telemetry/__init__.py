"""Observability of the service: metrics, request ids, log lines and traces."""

from silhouette_seg.telemetry.image_metrics import MaskMeasurements
from silhouette_seg.telemetry.logs import JsonFormatter, TextFormatter, log_fields, logging_config
from silhouette_seg.telemetry.loop_lag import monitor_loop_lag
from silhouette_seg.telemetry.metrics import (
    METRICS_CONTENT_TYPE,
    RequestRecord,
    Telemetry,
    Transport,
    server_timing,
)
from silhouette_seg.telemetry.process_metrics import SUPERVISOR, share_counters
from silhouette_seg.telemetry.request_id import IDENTITY, Identity, parse_trace_id, read_identity
from silhouette_seg.telemetry.setup import open_tracing
from silhouette_seg.telemetry.tracing import NoOpTracing, Tracing

__all__ = [
    "IDENTITY",
    "METRICS_CONTENT_TYPE",
    "SUPERVISOR",
    "Identity",
    "JsonFormatter",
    "MaskMeasurements",
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
    "share_counters",
]
