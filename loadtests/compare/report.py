"""`RESULTS.md` and its plots, from the figures that were kept."""

from collections.abc import Iterable, Iterator
from os.path import relpath
from pathlib import Path

from loadtests.compare.plots import plot_overload, plot_requests
from loadtests.compare.summary import THIRDS, Figures

AIMS = {"plain": 3.0, "litserve": 2.0}
"""Times its answers a second that we want to give."""
REQUESTS_PNG, OVERLOAD_PNG = "requests.png", "overload.png"


def write_report(figures: Figures, report: Path, plots: Path) -> None:
    """The page, and the plots in a folder that is there."""
    subjects = figures["subjects"]
    plot_requests(subjects, plots / REQUESTS_PNG)
    plot_overload(subjects, plots / OVERLOAD_PNG)
    report.write_text(page(figures, relpath(plots, report.parent)))


def page(figures: Figures, plots: str) -> str:
    return f"""# The service beside what people would use instead

Measured {figures["measured"]} by `make compare` on {_machine(figures)}.
One harness sends the same photos to each server and checks every answer; the tables are made from
[the figures]({plots}/figures.json) by `python -m loadtests.compare --report-only`.

{_findings(figures)}

## Masks of 1280x720 photos

{_requests(figures)}

![Answers a second by clients, and processor time of one]({plots}/{REQUESTS_PNG})

{_housekeeping(figures)}

## Three times what each can do

Requests arrive at random moments, three times as many as that same server answered a second at
most, for {figures["plan"]["overload_s"]:g} s, and each client waits 10 s at most. Latencies are
those of what was answered, by the third of the run in which it was due.

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
- The client shares the processors with the server. What it takes of them is in the table; the
  answers a second of a server that costs little would gain most from a client elsewhere. Processor
  time for a mask is the figure that depends least on what else runs.
- MediaPipe's model is another one, made for other photos; only its speed is compared here, not
  its masks.
- "Edges refined" is what our server does where nobody chooses: more work than any other here.
- The model is small (ConnectNet, 192x192), so what is compared is mostly what surrounds it:
  decoding, resizing, encoding, and the way to and from the model. With a large model all of these
  servers come closer to each other.
- LitServe is made for machines with GPUs, where its batches pay; here there is none. Its workers
  are processes with an interpreter and a session each, so its memory grows with them.
- Our server reads limits, turns photos upright, reads colour profiles, counts and logs as it
  always does; the others are as small as they are shown in their documentation."""


def _machine(figures: Figures) -> str:
    machine = figures["machine"]
    load = machine["load_before"][0]
    return (
        f"{machine['processors']} processors ({machine['processor']}), {machine['system']}; "
        f"load average before the start {load:.2f}"
    )


def _findings(figures: Figures) -> str:
    found = {subject["name"]: subject for subject in figures["subjects"]}
    ours = found.get("silhouette")
    if ours is None:
        return "Our own server was not measured in this run."
    lines = [_ratio(ours, found[name], aim) for name, aim in AIMS.items() if name in found]
    flat = [each["title"] for each in figures["subjects"] if each["overload"]["holds"]]
    lines.append(
        "Latency stays flat, and everybody gets a mask or a refusal, at three times the capacity: "
        f"{', '.join(flat) or 'none'}."
    )
    return "\n".join(f"- {line}" for line in lines)


def _ratio(ours: Figures, other: Figures, aim: float) -> str:
    answers = _most(ours) / _most(other)
    costs = _middle(other)["cpu_ms"] / _middle(ours)["cpu_ms"]
    return (
        f"**{answers:.1f} times** the answers a second of {other['title']} (aim {aim:g}: "
        f"{'met' if answers >= aim else 'missed'}), for {1 / costs:.0%} of the processor time."
    )


def _most(subject: Figures) -> float:
    return max(float(row["per_s"]) for row in subject["closed"].values())


def _middle(subject: Figures) -> Figures:
    """Of the number of clients in the middle."""
    rows: list[Figures] = list(subject["closed"].values())
    return rows[len(rows) // 2]


def _requests(figures: Figures) -> str:
    clients = list(figures["subjects"][0]["closed"])
    middle = clients[len(clients) // 2]
    head = (
        "server",
        *(f"masks/s, {count} client{'s' * (count != '1')}" for count in clients),
        "processor ms a mask",
        *(f"p50 / p95 / p99 ms, {count}" for count in clients),
        "errors",
    )
    return _table(
        f"Medians; rounds: {figures['plan']['rounds']}. Processor time is with {middle} clients.",
        head,
        (
            (
                subject["title"],
                *(_number(row["per_s"]) for row in subject["closed"].values()),
                _number(_middle(subject)["cpu_ms"]),
                *(_latencies(row, 50, 95, 99) for row in subject["closed"].values()),
                _share(max(row["error_share"] for row in subject["closed"].values())),
            )
            for subject in figures["subjects"]
        ),
    )


def _housekeeping(figures: Figures) -> str:
    return _table(
        "Memory is of all processes of a server, with pages that they share counted once: after "
        "the load, and the most that was seen, overload included. Agreement is the intersection "
        "over union of its masks with those of the first server, of the worst photo.",
        (
            *("server", "processes", "MB after", "MB at most", "s to start", "agreement"),
            *("client ms a mask", "processors busy with others"),
        ),
        (
            (
                subject["title"],
                str(subject["processes"]),
                _number(subject["steady_mb"]),
                _number(_peak(subject)),
                _number(subject["ready_s"]),
                f"{subject['agreement']:.3f}",
                _number(_middle(subject)["client_cpu_ms"]),
                _number(_middle(subject)["others_share"]),
            )
            for subject in figures["subjects"]
        ),
    )


def _peak(subject: Figures) -> float:
    rows = (row for each in subject["rounds"] for row in each["closed"].values())
    return max(float(row["peak_mb"]) for row in (subject["overload"], *rows))


def _overload(figures: Figures) -> str:
    head = ("server", "arrivals/s", "masks/s", "answered", "refused", "refusal p50 / p95 ms")
    more = ("failed or no answer in 10 s", *(f"p50 / p95 ms, {name} third" for name in THIRDS))
    return _table(
        "",
        (*head, *more, "health answered, p95 ms", "latency"),
        (_overload_row(subject) for subject in figures["subjects"]),
    )


def _overload_row(subject: Figures) -> tuple[str, ...]:
    found = subject["overload"]
    health = found["health"]
    return (
        subject["title"],
        _number(found["offered_per_s"]),
        _number(found["goodput_per_s"]),
        _share(found["answered_share"]),
        _share(found["refused_share"]),
        _latencies(found["refusals"], 50, 95),
        _share(found["failed_share"] + found["late_share"]),
        *(_latencies(found["thirds"][name], 50, 95) for name in THIRDS),
        f"{health['answered']} of {health['asked']}, {_number(health['p95_ms'])}",
        "flat" if found["holds"] else "climbs",
    )


def _how(figures: Figures) -> str:
    plan = figures["plan"]
    photos = ", ".join(
        f"{each['name']} ({each['bytes'] / 1000:.0f} kB)" for each in _photos(figures)
    )
    versions = "\n".join(f"- {name}: {told}" for name, told in figures["versions"].items())
    return f"""The photos come with scikit-image, cropped to 16:9, resized to 1280x720 and saved as
JPEG: {photos}.
They are sent in turn, as the file of a form, over HTTP/1.1 connections that stay open. Every
answer has to be a PNG of 8 bits in one channel and 1280x720 pixels: what is not counts as an
error. Where the model and what is asked of it are the same, the masks have to agree with ours
(intersection over union above 0.97 for each photo), or the server is left out.

Only one server runs at a time. In each of {plan["rounds"]} rounds all of them come in turn, from
another one on each time, with a fresh start and {plan["warm_up_s"]:g} s of warming up, then
{plan["seconds"]:g} s with each number of clients; a client sends its next request when the last is
answered. Processor time is that of all processes of the server (`/proc`), divided by the masks it
gave. The overload comes after the rounds, with another fresh start for each. Latency is called
flat when the p95 of what was answered in the last third is at most 1.5 times that in the first,
and at most 1 % got neither a mask nor a refusal.

{versions}"""


def _photos(figures: Figures) -> list[Figures]:
    return list(figures["photos"])


def _servers(figures: Figures) -> str:
    lines = [
        f"- **{each['title']}**: {each['says']}\n  `{each['command']}`"
        for each in figures["subjects"]
    ]
    lines += [f"- **{name}**: {why}." for name, why in figures["left_out"].items()]
    if not figures["trials"]:
        return "\n".join(lines)
    trials = _table(
        "Settings of LitServe that were tried, with 4 clients:",
        ("settings", "masks/s", "processor ms a mask"),
        (
            (each["title"], _number(each["per_s"]), _number(each["cpu_ms"]))
            for each in figures["trials"]
        ),
    )
    return "\n".join(lines) + f"\n\n{trials}"


def _table(says: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(([says, ""] if says else []) + list(_lines([*head], rows)))


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
