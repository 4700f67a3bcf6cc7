"""`python -m loadtests --url URL --shape SHAPE`: load on a running server, and whether it holds."""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

import locust  # noqa: F401  # first of all: it makes sockets and threads gevent's

from loadtests.drive import Target, drive, measure_capacity
from loadtests.figures import Figures, figures_of
from loadtests.report import summary, told, write_report
from loadtests.shapes import PEAK, SHAPES, stages_of
from loadtests.thresholds import OWN, BadThresholds, check, read_thresholds

FAILED = 1
UNUSABLE = 2


def main(arguments: list[str] | None = None) -> int:
    """0 when every threshold is met, 1 when one is missed, 2 when there was nothing to judge."""
    options = _options(arguments)
    target = Target(
        options.url.rstrip("/"),
        options.key,
        options.seed,
        options.batch_share,
        options.streams,
        options.fps,
    )
    try:
        thresholds = read_thresholds(options.thresholds, options.shape)
    except (BadThresholds, OSError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    peak, capacity = options.users or options.rate, None
    if peak is None:
        print(f"measuring what the server can do, {options.calibration:g} s", flush=True)
        capacity = measure_capacity(target, options.calibration)
        peak = PEAK[options.shape] * capacity
        print(f"{capacity:.1f} requests a second; the load goes up to {peak:.1f}", flush=True)
    if not peak:
        print("the server answered nothing", file=sys.stderr)
        return UNUSABLE
    stages = stages_of(options.shape, peak=peak, seconds=60 * options.minutes)
    load = target.load("closed" if options.users else options.arrivals, *stages)
    locust_html = drive(load, options.streams)
    figures: Figures = {"shape": options.shape, "url": target.url, "seconds": load.seconds}
    figures |= {"plan": [asdict(stage) for stage in stages]}
    figures |= figures_of(load.record, stages, measured_capacity=capacity)
    verdicts = check(thresholds, figures, unknown=_unknown(options, figures))
    write_report(options.out, figures, verdicts, locust_html)
    print(summary(figures), *map(told, verdicts), f"see {options.out}/report.html", sep="\n")
    return FAILED if any(verdict.met is False for verdict in verdicts) else 0


def _unknown(options: argparse.Namespace, figures: Figures) -> list[str]:
    """Figures that this run cannot have; the server may tell nothing of its memory."""
    known = {
        "stream": options.streams > 0,
        "batch": options.batch_share > 0,
        "goodput_share": "capacity_per_s" in figures,
        "memory": "memory" in figures,
    }
    return [name for name, is_known in known.items() if not is_known]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m loadtests", description=__doc__)
    add = parser.add_argument
    add("--url", default="http://127.0.0.1:8000")
    add("--key", default=os.environ.get("SILHOUETTE_CLIENT_KEY"), help="where keys are asked for")
    add("--shape", choices=SHAPES, default="steady")
    add("--minutes", type=_positive, default=1.0, help="of the whole load")
    load = parser.add_mutually_exclusive_group()
    load.add_argument(
        "--rate",
        type=_positive,
        help="requests a second at the highest point, started when they are due; without it, and "
        "without --users, the capacity is measured first, and the load is a share of it",
    )
    load.add_argument(
        "--users",
        type=_count,
        help="at the highest point, instead of a rate: each waits for its answer",
    )
    add("--arrivals", choices=("poisson", "constant"), default="poisson", help="of a rate")
    add("--streams", type=_count, default=2, help="cameras on WebSockets, all the time")
    add("--fps", type=_positive, default=15.0, help="of each camera")
    add("--batch-share", type=float, default=0.05, help="of the requests; the rest are photos")
    add("--calibration", type=_positive, default=30.0, help="seconds to measure the capacity")
    add("--thresholds", type=Path, default=OWN, help="a TOML file")
    add("--seed", type=int, default=0, help="of what is asked for when")
    add("--out", type=Path, default=Path("build/loadtests"), help="folder for the report")
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
