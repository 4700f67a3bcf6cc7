"""Writes `RESULTS.md` and its plots from the stored figures."""

from collections.abc import Iterable, Iterator
from os.path import relpath
from pathlib import Path

from loadtests.compare.summary import THIRDS
from loadtests.measurement.latency import Figures
from loadtests.report.plots import plot_overload, plot_throughput

TARGET_RATIOS = {"plain": 3.0, "litserve": 2.0}
"""Aim for our rate divided by that of each server."""
THROUGHPUT_PNG, OVERLOAD_PNG = "requests.png", "overload.png"


def write_report(figures: Figures, report: Path, plots: Path) -> None:
    """Writes the page, and the plots to an existing folder."""
    servers = figures["subjects"]
    plot_throughput(servers, plots / THROUGHPUT_PNG)
    plot_overload(servers, plots / OVERLOAD_PNG)
    report.write_text(render_markdown(figures, relpath(plots, report.parent)))


def render_markdown(figures: Figures, plots: str) -> str:
    """Returns the page; `plots` is the path of the plots from the page."""
    return f"""# Silhouette compared with alternative servers

Measured {figures["measured"]} by `make compare` on {_machine(figures)}.
The same clients send the same photos to each server and check every response. The tables are
generated from [the figures]({plots}/figures.json) by `python -m loadtests.compare --report-only`.

{_findings(figures)}

## Masks of 1280x720 photos

{_throughput(figures)}

![Masks per second by clients, and processor time of a mask]({plots}/{THROUGHPUT_PNG})

{_resources(figures)}

## Three times the capacity of each server

Requests arrive at random times for {figures["plan"]["overload_s"]:g} s. Their rate is three times
the highest rate that the same server answered. A client waits at most 10 s. Latencies are those of
answered requests, by the third of the run in which they were due.

{_overload(figures)}

![Latency and outcomes over time, by server]({plots}/{OVERLOAD_PNG})

## How it was measured

{_how(figures)}

## The servers

{_servers(figures)}

## What is not comparable

{NOT_COMPARABLE}
"""


NOT_COMPARABLE = """\
- The client shares the processors with the server. The table shows its share. A server with a low
  cost per mask would gain most from a client on another machine. Processor time per mask depends
  least on other load.
- MediaPipe has another model, made for other photos. Only its speed is compared, not its masks.
- "Edges refined" is the default of our server, which does more work than any other server here.
- The model is small (ConnectNet, 192x192). The comparison is therefore mostly about the rest:
  decoding, resizing, encoding and the path to the model. With a large model all of these servers
  are closer to each other.
- LitServe is made for machines with GPUs, where batches help. This machine has none. Each worker is
  a process with an interpreter and a session, so memory grows with the number of workers.
- Our server checks limits, turns photos upright, reads colour profiles, and writes metrics and
  logs, as in production. The others are as small as in their documentation."""


def _machine(figures: Figures) -> str:
    machine = figures["machine"]
    load = machine["load_before"][0]
    return (
        f"{machine['processors']} processors ({machine['processor']}), {machine['system']}; "
        f"load average before the start {load:.2f}"
    )


def _findings(figures: Figures) -> str:
    servers = {server["name"]: server for server in figures["subjects"]}
    ours = servers.get("silhouette")
    if ours is None:
        return "Our own server was not measured in this run."
    lines = [
        _ratio(ours, servers[name], aim) for name, aim in TARGET_RATIOS.items() if name in servers
    ]
    stable = [server["title"] for server in servers.values() if server["overload"]["holds"]]
    lines.append(
        "At three times the capacity, latency stays flat and clients get a mask or a refusal: "
        f"{', '.join(stable) or 'none'}."
    )
    return "\n".join(f"- {line}" for line in lines)


def _ratio(ours: Figures, other: Figures, aim: float) -> str:
    ratio = _peak_rate(ours) / _peak_rate(other)
    costs = _middle_row(other)["cpu_ms"] / _middle_row(ours)["cpu_ms"]
    return (
        f"**{ratio:.1f} times** the masks per second of {other['title']} (aim {aim:g}: "
        f"{'met' if ratio >= aim else 'missed'}), for {1 / costs:.0%} of the processor time."
    )


def _peak_rate(server: Figures) -> float:
    return max(float(row["per_s"]) for row in server["closed"].values())


def _middle_row(server: Figures) -> Figures:
    """Returns the figures of the middle number of clients."""
    rows: list[Figures] = list(server["closed"].values())
    return rows[len(rows) // 2]


def _throughput(figures: Figures) -> str:
    clients = list(figures["subjects"][0]["closed"])
    middle = clients[len(clients) // 2]
    head = (
        "server",
        *(f"masks/s, {count} client{'s' * (count != '1')}" for count in clients),
        "processor ms per mask",
        *(f"p50 / p95 / p99 ms, {count}" for count in clients),
        "errors",
    )
    return _table(
        f"Medians of {figures['plan']['rounds']} rounds. Processor time is with {middle} clients.",
        head,
        (
            (
                server["title"],
                *(_number(row["per_s"]) for row in server["closed"].values()),
                _number(_middle_row(server)["cpu_ms"]),
                *(_latencies(row, 50, 95, 99) for row in server["closed"].values()),
                _share(max(row["error_share"] for row in server["closed"].values())),
            )
            for server in figures["subjects"]
        ),
    )


def _resources(figures: Figures) -> str:
    return _table(
        "Memory is that of all processes of a server, with shared pages counted once. It is given "
        "after the load and at its peak, overload included. Agreement is the intersection over "
        "union of the masks with those of the first server, for the photo with the lowest value.",
        (
            *("server", "processes", "MB after", "peak MB", "s to start", "agreement"),
            *("client ms per mask", "processors busy with others"),
        ),
        (
            (
                server["title"],
                str(server["processes"]),
                _number(server["steady_mb"]),
                _number(_peak_mb(server)),
                _number(server["ready_s"]),
                f"{server['agreement']:.3f}",
                _number(_middle_row(server)["client_cpu_ms"]),
                _number(_middle_row(server)["others_share"]),
            )
            for server in figures["subjects"]
        ),
    )


def _peak_mb(server: Figures) -> float:
    rows = (row for one in server["rounds"] for row in one["closed"].values())
    return max(float(row["peak_mb"]) for row in (server["overload"], *rows))


def _overload(figures: Figures) -> str:
    head = ("server", "arrivals/s", "masks/s", "answered", "refused", "refusal p50 / p95 ms")
    more = ("failed or no answer in 10 s", *(f"p50 / p95 ms, {name} third" for name in THIRDS))
    return _table(
        "",
        (*head, *more, "health answered, p95 ms", "latency"),
        (_overload_row(server) for server in figures["subjects"]),
    )


def _overload_row(server: Figures) -> tuple[str, ...]:
    overload = server["overload"]
    health = overload["health"]
    return (
        server["title"],
        _number(overload["offered_per_s"]),
        _number(overload["goodput_per_s"]),
        _share(overload["answered_share"]),
        _share(overload["refused_share"]),
        _latencies(overload["refusals"], 50, 95),
        _share(overload["failed_share"] + overload["late_share"]),
        *(_latencies(overload["thirds"][name], 50, 95) for name in THIRDS),
        f"{health['answered']} of {health['asked']}, {_number(health['p95_ms'])}",
        "flat" if overload["holds"] else "climbs",
    )


def _how(figures: Figures) -> str:
    plan = figures["plan"]
    photos = ", ".join(
        f"{photo['name']} ({photo['bytes'] / 1000:.0f} kB)" for photo in figures["photos"]
    )
    versions = "\n".join(f"- {name}: {packages}" for name, packages in figures["versions"].items())
    return f"""The photos are images of scikit-image, cropped to 16:9, resized to 1280x720 and saved
as JPEG: {photos}.
They are sent in turn, as the file of a form, over HTTP/1.1 keep-alive connections. Every response
must be a PNG with one 8-bit channel and 1280x720 pixels; others count as errors. If the model and
the parameters are the same, the masks must agree with ours (intersection over union of at least
0.97 for each photo), or the server is left out.

Only one server runs at a time. In each of {plan["rounds"]} rounds all servers run once, in an order
that rotates. Each starts anew and warms up for {plan["warm_up_s"]:g} s.
It then runs for {plan["seconds"]:g} s with each number of clients. A client sends its next request
after the response to the last one. Processor time is that of all processes of the server (`/proc`),
divided by its masks. The overload follows the rounds, with another start of each server. Latency is
flat if two conditions hold: the p95 of the last third is at most 1.5 times that of the first, and
at most 1 % of requests got neither a mask nor a refusal.

{versions}"""


def _servers(figures: Figures) -> str:
    lines = [
        f"- **{server['title']}**: {server['says']}\n  `{server['command']}`"
        for server in figures["subjects"]
    ]
    lines += [f"- **{name}**: {reason}." for name, reason in figures["left_out"].items()]
    if not figures["trials"]:
        return "\n".join(lines)
    trials = _table(
        "Settings of LitServe that were tried, with 4 clients:",
        ("settings", "masks/s", "processor ms per mask"),
        (
            (trial["title"], _number(trial["per_s"]), _number(trial["cpu_ms"]))
            for trial in figures["trials"]
        ),
    )
    return "\n".join(lines) + f"\n\n{trials}"


def _table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(([caption, ""] if caption else []) + list(_lines([*head], rows)))


def _lines(head: list[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _latencies(row: Figures, *percentiles: int) -> str:
    return " / ".join(_milliseconds(row[f"p{q}_ms"]) for q in percentiles)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _share(value: float) -> str:
    if value and value < 0.001:
        return "<0.1 %"
    return f"{100 * value:.1f} %"
