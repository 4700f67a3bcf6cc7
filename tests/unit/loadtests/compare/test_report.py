"""The page and the plots are made from figures that were kept."""

import json

from loadtests.compare.__main__ import main
from loadtests.compare.load import Load, Sample
from loadtests.compare.report import page
from loadtests.compare.summary import Figures, closed_figures, overload_figures
from tests.support.mask_server import mask_png

COSTS = {"client_s": 0.5, "machine_s": 3.0}


def of_subject(name: str, seconds: float, *, climbs: bool = False) -> Figures:
    """A server with answers that take so long, one after the other."""
    load = Load([Sample(0, seconds, "ok")] * 50, seconds=50 * seconds)
    over = [Sample(n / 10, seconds * (1 + n * climbs), "ok") for n in range(90)]
    for each in (load, hard := Load(over, seconds=9)):
        for _ in each.samples:
            each.bodies.add(mask_png())
    row = closed_figures(load, server_s=50 * seconds, **COSTS) | {"peak_mb": 90.0}
    overload = overload_figures(hard, per_s=30, seconds=9, server_s=2.0, **COSTS)
    return {
        "name": name,
        "ours": name == "silhouette",
        "title": f"Server {name}",
        "says": "Does it.",
        "command": f"run {name}",
        "agreement": 0.99,
        "ready_s": 1.5,
        "processes": 2,
        "steady_mb": 80.0,
        "closed": {"1": row, "4": row, "16": row},
        "rounds": [{"closed": {"1": row}}],
        "overload": overload | {"peak_mb": 123.0},
    }


def figures(*subjects: Figures) -> Figures:
    return {
        "measured": "2026-01-02 03:04 UTC",
        "machine": {"processor": "P", "processors": 2, "load_before": [0.5], "system": "S"},
        "versions": {"Silhouette": "numpy 1"},
        "plan": {"rounds": 3, "seconds": 4.0, "overload_s": 9.0, "warm_up_s": 1.0},
        "photos": [{"name": "astronaut", "bytes": 123_456}],
        "trials": [{"title": "LitServe (1 worker)", "per_s": 3.25, "cpu_ms": 44.0}],
        "subjects": list(subjects),
        "broken": {},
        "left_out": {"rembg": "not measured: no weights"},
    }


OURS = of_subject("silhouette", 0.01)
SLOW = of_subject("plain", 0.045, climbs=True)
NEAR = of_subject("litserve", 0.015)


def test_findings_are_those_of_the_figures():
    text = page(figures(OURS, SLOW, NEAR), "results")
    assert "**4.5 times** the answers a second of Server plain (aim 3: met), for 22% of" in text
    assert "**1.5 times** the answers a second of Server litserve (aim 2: missed)" in text
    assert "three times the capacity: Server silhouette, Server litserve." in text


def test_every_server_has_its_rows_and_what_was_left_out_says_why():
    text = page(figures(OURS, SLOW), "results")
    assert text.count("| Server plain |") == 3
    assert "| 100 | 100 | 100 | 10.0 | 10 / 10 / 10 |" in text
    assert "| climbs |" in text
    assert "**rembg**: not measured: no weights." in text
    assert "| LitServe (1 worker) | 3.2 | 44.0 |" in text
    assert "(results/figures.json)" in text


def test_without_our_own_server_nothing_is_found():
    assert "was not measured" in page(figures(SLOW), "results")


def test_tables_and_plots_are_made_anew_without_a_run(tmp_path):
    folder, report = tmp_path / "results", tmp_path / "RESULTS.md"
    folder.mkdir()
    (folder / "figures.json").write_text(json.dumps(figures(OURS, SLOW)))
    assert main(["--report-only", "--out", str(folder), "--report", str(report)]) == 0
    assert "(results/overload.png)" in report.read_text()
    for name in ("requests.png", "overload.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
