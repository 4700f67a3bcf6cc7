"""Triton exports the metrics that the dashboard queries."""

import re

import httpx

from tests.unit.telemetry.test_metric_documents import TRITON_METRICS


def test_triton_exports_metrics_of_the_dashboard(triton_server):
    # Not a parser: it renames counters that do not end with _total.
    text = httpx.get(f"http://{triton_server.metrics}/metrics", verify=False).text
    labels = dict(re.findall(r"^(\w+)\{(.+)\} ", text, re.MULTILINE))
    assert labels.keys() >= TRITON_METRICS
    assert all('model="' in labels[name] for name in TRITON_METRICS)
    assert 'reason="' in labels["nv_inference_request_failure"]
