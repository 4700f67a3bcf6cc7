"""`python -m loadtests.compare`: our server beside others, into a table and plots."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from loadtests.compare.machine import machine, versions
from loadtests.compare.measure import Plan, measure
from loadtests.compare.photos import photos
from loadtests.compare.report import write_report
from loadtests.compare.subjects import LEFT_OUT, LITSERVE, ROOT, SUBJECTS, Subject
from loadtests.compare.summary import Figures

FAILED = 1
FIGURES = "figures.json"
PLAN = Plan()
NOT_BUILT = "not measured: its environment was not built, as `make compare` does"


def main(arguments: list[str] | None = None) -> int:
    """0 when all that is there was measured, 1 when a server broke."""
    options = _options(arguments)
    file = options.out / FIGURES
    if not options.report_only:
        plan = Plan(options.rounds, options.clients, options.seconds, overload_s=options.overload)
        figures = compared(_chosen(SUBJECTS, options), _chosen(LITSERVE, options), plan)
        if not figures["subjects"]:
            return FAILED
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures, indent=1) + "\n")
    figures = json.loads(file.read_text())
    write_report(figures, options.report, options.out)
    print(f"see {options.report}")
    return FAILED if figures["broken"] else 0


def compared(subjects: Sequence[Subject], trials: Sequence[Subject], plan: Plan) -> Figures:
    """Everything that the report needs."""
    figures: Figures = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "versions": versions(),
        "plan": asdict(plan),
        "photos": [{"name": photo.name, "bytes": len(photo.jpeg)} for photo in photos()],
    }
    there = [subject for subject in subjects if subject.is_there]
    to_try = [subject for subject in trials if subject.is_there]
    absent = {subject.title for subject in (*subjects, *trials) if not subject.is_there}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures |= runner.run(measure(there, to_try, plan, _say))
    left_out = dict.fromkeys(sorted(absent), NOT_BUILT) | LEFT_OUT | figures["broken"]
    return figures | {"left_out": left_out}


def _chosen(subjects: Sequence[Subject], options: argparse.Namespace) -> list[Subject]:
    return [subject for subject in subjects if not options.only or subject.name in options.only]


def _say(line: str) -> None:
    print(datetime.now().strftime("%H:%M:%S"), line, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m loadtests.compare", description=__doc__)
    add = parser.add_argument
    add("--report-only", action="store_true", help="tables and plots anew, from the figures kept")
    add("--rounds", type=int, default=PLAN.rounds)
    add(
        "--seconds",
        type=float,
        default=PLAN.seconds,
        help="of each number of clients in each round",
    )
    add(
        "--overload",
        type=float,
        default=PLAN.overload_s,
        help="seconds of three times what it can do",
    )
    add("--clients", type=_numbers, default=PLAN.clients, help="with commas")
    add("--only", type=_names, default=(), help="names of servers, with commas")
    add("--out", type=Path, default=ROOT / "loadtests" / "results", help="figures and plots")
    add("--report", type=Path, default=ROOT / "loadtests" / "RESULTS.md")
    return parser.parse_args(arguments)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
