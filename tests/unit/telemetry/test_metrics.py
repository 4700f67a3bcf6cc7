"""Metrics, their document, the dashboard and the alerts: each names what the others have."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from silhouette_seg.api.openapi import error_classes
from silhouette_seg.errors import EngineFailed
from silhouette_seg.telemetry import RequestRecord, Telemetry
from tests.support.documents import ROOT, blocks, code_spans, table_rows

DOCUMENT = ROOT / "docs/metrics.md"
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/silhouette.json").read_text())
PROMETHEUS = ROOT / "deploy/prometheus"
ALERTS = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPED = {"job", "instance"}
"""Labels that the collector adds to every series."""
TRITON = {
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_request_success",
    "nv_inference_request_failure",
}
"""tests/triton/test_metrics.py finds them in the real server's."""
CODES = {kind.code for kind in error_classes()} | {"ok", "client_gone", "internal"}


@dataclass(frozen=True)
class Label:
    label: str


@dataclass(frozen=True)
class Routed:
    domain: Label


@dataclass(frozen=True)
class Found:
    """A person, as a matte tells of one."""

    decision: Routed = Routed(Label("half_body"))
    passes: int = 2
    foreground: bool = True
    coverage: float = 0.3
    connectivity: float = 1.0
    confidence: float = 0.9

    @property
    def quality(self) -> "Found":
        return self


def exercised() -> Telemetry:
    """One that has seen everything once."""
    telemetry = Telemetry()
    telemetry.set_version("1.2.3")
    telemetry.count_request(RequestRecord("/v1/segment", 200))
    telemetry.count_batch_photo(200, "ok")
    telemetry.observe_image("net", {"infer": 0.01}, Found())
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


def labels_of_series() -> dict[str, set[str]]:
    """Of every series that is exported, its labels."""
    text = exercised().exposition().decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def exported() -> dict[str, tuple[str, set[str]]]:
    """Kind and labels of every metric, by the name that its series begin with."""
    text, series = exercised().exposition().decode(), labels_of_series()
    found = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        if not name.endswith("_created"):
            labels = series[f"{name}_count" if kind == "histogram" else name]
            found[name] = kind, labels
    return found


SERIES = labels_of_series()


def documented() -> dict[str, tuple[str, set[str]]]:
    return {
        code_spans(name)[0]: (kind, set(code_spans(labels)))
        for name, kind, labels, _ in table_rows(DOCUMENT, "metric")
    }


def test_every_metric_is_in_the_document_as_it_is():
    process = {name for name in exported() if not name.startswith("silhouette_")}
    assert documented() == exported()
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= process


def test_every_alert_is_in_the_document():
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
    """Of a parsed query, it and all below it."""
    yield expression
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        below = getattr(expression, name, None)
        if below is not None:
            yield from nodes(below)
    for argument in getattr(expression, "args", ()):
        yield from nodes(argument)


def selectors(expression: object) -> list[promql.VectorSelector]:
    return [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]


@pytest.mark.parametrize("query", QUERIES)
def test_queries_ask_for_what_there_is(query):
    parsed = promql.parse(query)
    there: set[str] = set()
    for selector in selectors(parsed):
        if selector.name in TRITON:
            there |= {"model", "reason"}
            continue
        assert selector.name in SERIES, selector.name
        labels = SERIES[selector.name] | SCRAPED
        there |= labels
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels, (selector.name, matcher.name)
            if matcher.name == "code":
                assert set(matcher.value.split("|")) <= CODES
    for node in nodes(parsed):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= there


@pytest.mark.parametrize("query", QUERIES)
def test_quantiles_are_of_buckets_and_rates_of_counters(query):
    for node in nodes(promql.parse(query)):
        if not isinstance(node, promql.Call):
            continue
        names = [selector.name for selector in selectors(node)]
        if node.func.name == "histogram_quantile":
            assert all(name.endswith("_bucket") for name in names)
        if node.func.name in ("rate", "increase"):
            ends = ("_total", "_bucket", "_sum", "_count")
            assert all(name in TRITON or name.endswith(ends) for name in names)


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
def test_the_check_sees_what_there_is_not(query):
    with pytest.raises((AssertionError, ValueError)):
        test_queries_ask_for_what_there_is(query)


def test_alerts_are_loaded_where_compose_puts_them():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert [PROMETHEUS / name for name in config["rule_files"]] == [PROMETHEUS / "alerts.yml"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["services"]["prometheus"]["volumes"]


def test_alerts_say_what_is_wrong_and_how_urgent_it_is():
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["for"]


def test_jobs_that_queries_name_are_those_that_are_scraped():
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


def test_panels_have_rows_and_ids_of_their_own():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert DASHBOARD["panels"][0]["type"] == "row"
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["targets"]


def test_variables_of_the_dashboard_are_of_metrics_that_there_are():
    for variable in DASHBOARD["templating"]["list"]:
        metric, label = re.fullmatch(
            r"label_values\((\w+), (\w+)\)", variable["query"]["query"]
        ).groups()
        assert label in SERIES[metric] | SCRAPED


def test_every_metric_of_ours_is_on_the_dashboard():
    """But for what is read off another: the counts of histograms, or the release."""
    asked = json.dumps([panel.get("targets") for panel in DASHBOARD["panels"]])
    ours = [name for name in exported() if name.startswith("silhouette_")]
    assert [name for name in ours if name not in asked] == []
