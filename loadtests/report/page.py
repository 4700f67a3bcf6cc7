"""Writes the figures of a run as JSON, plots and an HTML page."""

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from loadtests.measurement.figures import KINDS
from loadtests.measurement.latency import Figures
from loadtests.report.plots import plot_run
from loadtests.report.thresholds import Verdict

COUNTS = ("sent", "ok", "refused", "skipped", "failed")
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "worst_ms", "refusal_p95_ms")

MAX_GOODPUT_SHARE = 1.2
"""Goodput divided by measured capacity, above which the capacity was measured too low."""

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:right;
border-bottom:1px solid #ccc}td:first-child,th:first-child{text-align:left}img{max-width:100%}
.missed{color:#b00020;font-weight:600}.met{color:#0a7d33}"""

Row = Sequence[object]


def write_report(folder: Path, figures: Figures, verdicts: list[Verdict], locust_html: str) -> None:
    """Writes `figures.json`, `plots.png`, `report.html` and `locust.html`. Creates the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "locust.html").write_text(locust_html)
    png = plot_run(figures)
    (folder / "plots.png").write_bytes(png)
    (folder / "report.html").write_text(render_html(figures, verdicts, png))


def render_html(figures: Figures, verdicts: list[Verdict], png: bytes) -> str:
    """Returns the report as a page with the plots inside."""
    title = f"Load: {escape(str(figures['shape']))}"
    image = b64encode(png).decode("ascii")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>{STYLE}</style><h1>{title}</h1><p>{escape(summary_line(figures))}</p>
<h2>Thresholds</h2>{_verdicts(verdicts)}
<h2>Over time</h2><img alt="Latency, rates, stages and memory over time"
src="data:image/png;base64,{image}">
<h2>Phases</h2>{_phases(figures)}
<h2>Requests</h2>{_table(("", *COUNTS, *LATENCIES), _requests(figures))}
<h2>Stages in the server</h2>{_stages(figures)}
<h2>Failures</h2>{_table(("failure", "count"), figures["failures"].items())}
<p><a href="locust.html">Report of locust</a> · <a href="figures.json">all figures</a></p></html>
"""


def summary_line(figures: Figures) -> str:
    """Returns the main figures in one line."""
    parts = [f"{figures['requests']} requests in {figures['seconds']:.0f} s"]
    if "capacity_per_s" in figures:
        parts.append(f"capacity {figures['capacity_per_s']:.1f} per second")
        if figures["goodput_share"] > MAX_GOODPUT_SHARE:
            parts.append("which is too low: the server answered more")
    parts.append(f"refused {figures['refused_share']:.1%}")
    parts.append(f"failed {figures['failed_share']:.2%} of all requests and frames")
    if "memory" in figures:
        parts.append(f"memory grew by {figures['memory']['growth_mb']:.1f} MB")
    else:
        parts.append("memory is not reported")
    parts.append(f"requests started {_text(figures['generator']['late_p95_ms'])} ms late (p95)")
    return ", ".join(parts)


def verdict_line(verdict: Verdict) -> str:
    """Returns a verdict as one line for the terminal."""
    word = {True: "met", False: "MISSED", None: "not measured"}[verdict.met]
    return f"{word:>12}  {verdict.threshold}: {_text(verdict.value)}"


def _verdicts(verdicts: Iterable[Verdict]) -> str:
    words = {True: ("met", "met"), False: ("missed", "missed"), None: ("", "not measured")}
    rows = "".join(
        f"<tr><td>{escape(str(verdict.threshold))}</td><td>{_text(verdict.value)}</td>"
        f'<td class="{words[verdict.met][0]}">{words[verdict.met][1]}</td></tr>'
        for verdict in verdicts
    )
    return f"<table><tr><th>figure</th><th>measured</th><th></th></tr>{rows}</table>"


def _requests(figures: Figures) -> Iterable[Row]:
    kinds = {kind: figures[kind] for kind in KINDS if kind in figures}
    for name, row in (kinds | figures["names"]).items():
        yield name, *(row[column] for column in (*COUNTS, *LATENCIES))


def _phases(figures: Figures) -> str:
    rows: list[Row] = [
        (
            name,
            phase["level"],
            phase["ok_per_s"],
            phase["refused_share"],
            *(phase.get(kind, {}).get("p95_ms") for kind in KINDS),
        )
        for name, phase in figures["phases"].items()
    ]
    kinds = (f"{kind} p95 ms" for kind in KINDS)
    return _table(("phase", "load", "answered per second", "share refused", *kinds), rows)


def _stages(figures: Figures) -> str:
    rows: list[Row] = [
        (f"{kind}: {stage}", *row.values())
        for kind, stages in figures["stages"].items()
        for stage, row in stages.items()
    ]
    return _table(("stage", "mean ms", "p50 ms", "p95 ms", "p99 ms", "worst ms"), rows)


def _table(head: Iterable[str], rows: Iterable[Row]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{titles}</tr>{body}</table>"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
