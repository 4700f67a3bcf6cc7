"""Tests of the report of the comparison, made from stored figures."""

import json

from loadtests.compare.__main__ import main
from loadtests.compare.loops import Exchange, LoopResult
from loadtests.compare.report import render_markdown
from loadtests.compare.summary import closed_loop_figures, overload_figures
from loadtests.measurement.latency import Figures
from tests.support.mask_server import mask_png

COSTS = {"client_s": 0.5, "machine_s": 3.0}


def server_figures(name: str, seconds: float, *, climbs: bool = False) -> Figures:
    """Returns figures of a server that takes `seconds` per mask, or ever more if it `climbs`."""
    closed = LoopResult([Exchange(0, seconds, "ok")] * 50, seconds=50 * seconds)
    exchanges = [Exchange(n / 10, seconds * (1 + n * climbs), "ok") for n in range(90)]
    for result in (closed, opened := LoopResult(exchanges, seconds=9)):
        for _ in result.exchanges:
            result.bodies.add(mask_png())
    row = closed_loop_figures(closed, server_s=50 * seconds, **COSTS) | {"peak_mb": 90.0}
    overload = overload_figures(opened, per_s=30, seconds=9, server_s=2.0, **COSTS)
    return {
        "name": name,
        "ours": name == "silhouette",
        "title": f"Server {name}",
        "says": "Serves masks.",
        "command": f"run {name}",
        "agreement": 0.99,
        "ready_s": 1.5,
        "processes": 2,
        "steady_mb": 80.0,
        "closed": {"1": row, "4": row, "16": row},
        "rounds": [{"closed": {"1": row}}],
        "overload": overload | {"peak_mb": 123.0},
    }


def figures(*servers: Figures) -> Figures:
    return {
        "measured": "2026-01-02 03:04 UTC",
        "machine": {"processor": "P", "processors": 2, "load_before": [0.5], "system": "S"},
        "versions": {"Silhouette": "numpy 1"},
        "plan": {"rounds": 3, "seconds": 4.0, "overload_s": 9.0, "warm_up_s": 1.0},
        "photos": [{"name": "astronaut", "bytes": 123_456}],
        "trials": [{"title": "LitServe (1 worker)", "per_s": 3.25, "cpu_ms": 44.0}],
        "subjects": list(servers),
        "broken": {},
        "left_out": {"rembg": "not measured: no weights"},
    }


OURS = server_figures("silhouette", 0.01)
SLOW = server_figures("plain", 0.045, climbs=True)
NEAR = server_figures("litserve", 0.015)


def test_findings_compare_rates_with_targets():
    text = render_markdown(figures(OURS, SLOW, NEAR), "results")
    assert "**4.5 times** the masks per second of Server plain (aim 3: met), for 22% of" in text
    assert "**1.5 times** the masks per second of Server litserve (aim 2: missed)" in text
    assert "a mask or a refusal: Server silhouette, Server litserve." in text


def test_report_has_rows_of_servers_and_reasons_of_others():
    text = render_markdown(figures(OURS, SLOW), "results")
    assert text.count("| Server plain |") == 3
    assert "| 100 | 100 | 100 | 10.0 | 10 / 10 / 10 |" in text
    assert "| climbs |" in text
    assert "**rembg**: not measured: no weights." in text
    assert "| LitServe (1 worker) | 3.2 | 44.0 |" in text
    assert "(results/figures.json)" in text


def test_report_without_own_server_has_no_findings():
    assert "was not measured" in render_markdown(figures(SLOW), "results")


def test_report_only_rewrites_page_and_plots(tmp_path):
    folder, report = tmp_path / "results", tmp_path / "RESULTS.md"
    folder.mkdir()
    (folder / "figures.json").write_text(json.dumps(figures(OURS, SLOW)))
    assert main(["--report-only", "--out", str(folder), "--report", str(report)]) == 0
    assert "(results/overload.png)" in report.read_text()
    for name in ("requests.png", "overload.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
