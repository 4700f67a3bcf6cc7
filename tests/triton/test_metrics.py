"""The names that the dashboard asks Triton for are those of the real server."""

import re

import httpx

from tests.unit.telemetry.test_metrics import TRITON


def test_metrics_of_the_dashboard_are_there(triton_server):
    # No parser: it gives counters that do not end with _total a new name.
    text = httpx.get(f"http://{triton_server.metrics}/metrics", verify=False).text
    labels = dict(re.findall(r"^(\w+)\{(.+)\} ", text, re.MULTILINE))
    assert labels.keys() >= TRITON
    assert all('model="' in labels[name] for name in TRITON)
    assert 'reason="' in labels["nv_inference_request_failure"]
