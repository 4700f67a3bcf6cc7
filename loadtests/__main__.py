"""Runs a load against a server and compares the figures with thresholds.

python -m loadtests --url URL --shape SHAPE
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

import locust  # noqa: F401  # imported first: it patches sockets and threads for gevent

from loadtests.measurement.figures import compute_figures
from loadtests.measurement.latency import Figures
from loadtests.report.page import summary_line, verdict_line, write_report
from loadtests.report.thresholds import (
    DEFAULT_FILE,
    InvalidThresholds,
    check_thresholds,
    read_thresholds,
)
from loadtests.scenario.shapes import PEAK_SHARE, SHAPES, make_phases
from loadtests.users.runner import RunOptions, execute, measure_capacity

EXIT_MISSED = 1
EXIT_UNUSABLE = 2


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if every threshold is met, 1 if one is missed, 2 if the load could not run."""
    options = _parse_options(arguments)
    run_options = RunOptions(
        options.url.rstrip("/"),
        options.key,
        options.seed,
        options.batch_share,
        options.streams,
        options.fps,
    )
    try:
        thresholds = read_thresholds(options.thresholds, options.shape)
    except (InvalidThresholds, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
    peak, capacity = options.users or options.rate, None
    if peak is None:
        print(f"measuring the capacity for {options.calibration:g} s", flush=True)
        capacity = measure_capacity(run_options, options.calibration)
        peak = PEAK_SHARE[options.shape] * capacity
        print(f"{capacity:.1f} requests per second; the highest load is {peak:.1f}", flush=True)
    if not peak:
        print("the server answered no request", file=sys.stderr)
        return EXIT_UNUSABLE
    phases = make_phases(options.shape, peak=peak, seconds=60 * options.minutes)
    run = run_options.make_run("closed" if options.users else options.arrivals, *phases)
    locust_html = execute(run, options.streams)
    figures: Figures = {"shape": options.shape, "url": run.url, "seconds": run.seconds}
    figures |= {"plan": [asdict(phase) for phase in phases]}
    figures |= compute_figures(run.record, phases, measured_capacity=capacity)
    verdicts = check_thresholds(thresholds, figures, unmeasured=_unmeasured(options, figures))
    write_report(options.out, figures, verdicts, locust_html)
    print(
        summary_line(figures),
        *map(verdict_line, verdicts),
        f"see {options.out}/report.html",
        sep="\n",
    )
    return EXIT_MISSED if any(verdict.met is False for verdict in verdicts) else 0


def _unmeasured(options: argparse.Namespace, figures: Figures) -> list[str]:
    """Returns the names of figures that this run or the server's metrics do not have."""
    measured = {
        "stream": options.streams > 0,
        "batch": options.batch_share > 0,
        "goodput_share": "capacity_per_s" in figures,
        "memory": "memory" in figures,
    }
    return [name for name, is_measured in measured.items() if not is_measured]


def _parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m loadtests", description=__doc__)
    add = parser.add_argument
    add("--url", default="http://127.0.0.1:8000", help="Address of the service.")
    add(
        "--key",
        default=os.environ.get("SILHOUETTE_CLIENT_KEY"),
        help="API key, if the service requires one.",
    )
    add("--shape", choices=SHAPES, default="steady", help="Course of the load over time.")
    add("--minutes", type=_positive, default=1.0, help="Duration of the load.")
    load = parser.add_mutually_exclusive_group()
    load.add_argument(
        "--rate",
        type=_positive,
        help="Highest number of requests per second, which do not wait for responses. Without "
        "--rate and --users, the capacity is measured first, and the load is a share of it.",
    )
    load.add_argument(
        "--users",
        type=_count,
        help="Highest number of users, instead of a rate; each user waits for its responses.",
    )
    add(
        "--arrivals",
        choices=("poisson", "constant"),
        default="poisson",
        help="Arrival process of a rate.",
    )
    add("--streams", type=_count, default=2, help="Number of WebSocket streams during the load.")
    add("--fps", type=_positive, default=15.0, help="Frames per second of each stream.")
    add("--batch-share", type=float, default=0.05, help="Share of batches among the requests.")
    add(
        "--calibration",
        type=_positive,
        default=30.0,
        help="Duration of the capacity measurement in seconds.",
    )
    add("--thresholds", type=Path, default=DEFAULT_FILE, help="TOML file of the thresholds.")
    add("--seed", type=int, default=0, help="Seed of the requests and their times.")
    add("--out", type=Path, default=Path("build/loadtests"), help="Folder for the report.")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdigit():
        raise ValueError(text)
    return int(text)


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise ValueError(text)
    return value


if __name__ == "__main__":
    sys.exit(main())
