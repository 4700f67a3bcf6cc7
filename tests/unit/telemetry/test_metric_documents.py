"""Metrics, docs/metrics.md, dashboard and alerts name the same metrics and labels."""

import json
import re
from collections.abc import Iterator

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from silhouette_seg.api.openapi import error_classes
from silhouette_seg.errors import EngineFailed
from silhouette_seg.telemetry import MaskMeasurements, RequestRecord, Telemetry
from tests.support.documents import ROOT, blocks, code_spans, table_rows
from tests.support.metrics import exposition

DOCUMENT = ROOT / "docs/metrics.md"
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/silhouette.json").read_text())
PROMETHEUS = ROOT / "deploy/prometheus"
ALERTS = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPE_LABELS = {"job", "instance"}
"""Labels that Prometheus adds to every series."""
TRITON_METRICS = {
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_request_success",
    "nv_inference_request_failure",
}
"""Metrics of Triton, which tests/triton/test_metrics.py finds on a real server."""
CODES = {kind.code for kind in error_classes()} | {"ok", "client_gone", "internal"}


MASK = MaskMeasurements(
    foreground=True,
    coverage=0.3,
    connectivity=1.0,
    confidence=0.9,
    domain="half_body",
    passes=2,
)


def exercised_telemetry() -> Telemetry:
    """Returns a Telemetry with a value for every metric."""
    telemetry = Telemetry()
    telemetry.set_version("1.2.3")
    telemetry.count_request(RequestRecord("/v1/segment", 200))
    telemetry.count_batch_photo(200, "ok")
    telemetry.observe_image("net", {"infer": 0.01}, MASK)
    with pytest.raises(EngineFailed), telemetry.track_inference("net"):
        raise EngineFailed("broke")
    telemetry.count_frame("websocket", "result")
    telemetry.observe_frame_age("websocket", 0.01)
    telemetry.count_stream_end("websocket", "idle")
    telemetry.observe_loop_lag(0.0)
    engines = telemetry.engines
    engines.observe_batch("net", 1)
    engines.track_queue_depth("net", lambda: 0)
    engines.track_degraded("net", lambda: False)
    engines.track_failing("net", lambda: False)
    engines.track_model("net", "0af7", lambda: "cpu")
    return telemetry


EXPOSITION = exposition(exercised_telemetry())


def labels_of_series() -> dict[str, set[str]]:
    """Returns the labels of every exported series by its name."""
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(EXPOSITION)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def exported() -> dict[str, tuple[str, set[str]]]:
    """Returns type and labels of every metric, by the prefix of its series."""
    metrics = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", EXPOSITION, re.MULTILINE):
        if not name.endswith("_created"):
            labels = SERIES[f"{name}_count" if kind == "histogram" else name]
            metrics[name] = kind, labels
    return metrics


SERIES = labels_of_series()


def documented() -> dict[str, tuple[str, set[str]]]:
    return {
        code_spans(name)[0]: (kind, set(code_spans(labels)))
        for name, kind, labels, _ in table_rows(DOCUMENT, "metric")
    }


def test_document_lists_every_metric_with_type_and_labels():
    process = {name for name in exported() if not name.startswith("silhouette_")}
    assert documented() == exported()
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= process


def test_document_lists_every_alert():
    assert [code_spans(name)[0] for name, _, _ in table_rows(DOCUMENT, "alert")] == [
        rule["alert"] for rule in ALERTS
    ]


def read_queries() -> Iterator[object]:
    for block in blocks(DOCUMENT):
        if block.language == "" and "silhouette_" in block.code:
            yield pytest.param(block.code, id=f"document: {block.code[:40]}")
    for rule in ALERTS:
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m")
            yield pytest.param(query, id=f"{panel['title']}: {target['refId']}")


QUERIES = list(read_queries())


def nodes(expression: object) -> Iterator[object]:
    """Yields a node of a parsed query and its descendants."""
    yield expression
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        child = getattr(expression, name, None)
        if child is not None:
            yield from nodes(child)
    for argument in getattr(expression, "args", ()):
        yield from nodes(argument)


def selectors(expression: object) -> list[promql.VectorSelector]:
    return [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]


@pytest.mark.parametrize("query", QUERIES)
def test_query_uses_existing_metrics_and_labels(query):
    parsed = promql.parse(query)
    available: set[str] = set()
    for selector in selectors(parsed):
        if selector.name in TRITON_METRICS:
            available |= {"model", "reason"}
            continue
        assert selector.name in SERIES, selector.name
        labels = SERIES[selector.name] | SCRAPE_LABELS
        available |= labels
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels, (selector.name, matcher.name)
            if matcher.name == "code":
                assert set(matcher.value.split("|")) <= CODES
    for node in nodes(parsed):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= available


@pytest.mark.parametrize("query", QUERIES)
def test_query_takes_quantiles_of_buckets_and_rates_of_counters(query):
    for node in nodes(promql.parse(query)):
        if not isinstance(node, promql.Call):
            continue
        names = [selector.name for selector in selectors(node)]
        if node.func.name == "histogram_quantile":
            assert all(name.endswith("_bucket") for name in names)
        if node.func.name in ("rate", "increase"):
            ends = ("_total", "_bucket", "_sum", "_count")
            assert all(name in TRITON_METRICS or name.endswith(ends) for name in names)


@pytest.mark.parametrize(
    "query",
    [
        "silhouette_request_total",
        'silhouette_requests_total{rout="/"}',
        'silhouette_requests_total{code="overload"}',
        "sum by (rout) (silhouette_requests_total)",
        "sum(",
    ],
)
def test_query_check_rejects_unknown_names(query):
    with pytest.raises((AssertionError, ValueError)):
        test_query_uses_existing_metrics_and_labels(query)


def test_prometheus_loads_alerts_from_the_mounted_folder():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert [PROMETHEUS / name for name in config["rule_files"]] == [PROMETHEUS / "alerts.yml"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["services"]["prometheus"]["volumes"]


def test_alerts_have_summary_severity_and_duration():
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["for"]


def test_queries_name_scraped_jobs_only():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    named = {
        matcher.value
        for parameters in QUERIES
        for selector in selectors(promql.parse(parameters.values[0]))
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert named
    assert named <= jobs


def test_panels_have_unique_ids_and_targets():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert DASHBOARD["panels"][0]["type"] == "row"
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["targets"]


def test_dashboard_variables_use_existing_labels():
    for variable in DASHBOARD["templating"]["list"]:
        metric, label = re.fullmatch(
            r"label_values\((\w+), (\w+)\)", variable["query"]["query"]
        ).groups()
        assert label in SERIES[metric] | SCRAPE_LABELS


def test_dashboard_shows_every_metric():
    queries = json.dumps([panel.get("targets") for panel in DASHBOARD["panels"]])
    metrics = [name for name in exported() if name.startswith("silhouette_")]
    assert [name for name in metrics if name not in queries] == []
