import asyncio

import pytest

from silhouette_seg.errors import EngineFailed
from tests.support.metrics import exposition


def test_failures_are_counted_by_error_code(telemetry, read):
    for error in (EngineFailed("broke"), EngineFailed("again"), ValueError("a bug")):
        with pytest.raises(type(error)), telemetry.track_inference("connectnet"):
            raise error
    with telemetry.track_inference("connectnet") as span:
        span.set_queue_time(0.1)
    assert read("engine_failures_total", model="connectnet", code="engine_failed") == 2
    assert read("engine_failures_total", model="connectnet", code="internal") == 1


def test_cancelled_inference_is_no_failure(telemetry):
    with pytest.raises(asyncio.CancelledError), telemetry.track_inference("connectnet"):
        raise asyncio.CancelledError
    assert "silhouette_engine_failures_total{" not in exposition(telemetry)


@pytest.mark.parametrize(
    ("name", "track"),
    [
        ("queue_depth", "track_queue_depth"),
        ("engine_degraded", "track_degraded"),
        ("engine_failing", "track_failing"),
    ],
)
def test_tracked_gauge_calls_its_function_on_each_read(telemetry, read, name, track):
    values = [1]
    getattr(telemetry.engines, track)("connectnet", lambda: values[0])
    assert read(name, model="connectnet") == 1
    values[0] = 0
    assert read(name, model="connectnet") == 0


def test_model_info_calls_provider_on_each_read(telemetry, read):
    provider = ["triton"]
    telemetry.engines.track_model("connectnet", "0af7", lambda: provider[0])
    labels = {"model": "connectnet", "digest": "sha256:0af7"}
    assert read("model_info", **labels, provider="triton") == 1
    provider[0] = "triton:cuda"
    assert read("model_info", **labels, provider="triton:cuda") == 1
    assert read("model_info", **labels, provider="triton") is None


def test_batch_rows_are_summed_by_model(telemetry, read):
    telemetry.engines.observe_batch("connectnet", 3)
    assert read("batch_rows_sum", model="connectnet") == 3
    assert read("batch_rows_count", model="connectnet") == 1
