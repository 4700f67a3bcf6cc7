"""Measures this server beside others, and writes tables and plots.

python -m loadtests.compare
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from loadtests.compare.machine import describe_machine, package_versions
from loadtests.compare.measure import Plan, measure_servers
from loadtests.compare.photos import photos
from loadtests.compare.report import write_report
from loadtests.compare.server_specs import (
    LITSERVE_SETTINGS,
    NOT_MEASURED,
    ROOT,
    SERVERS,
    ServerSpec,
)
from loadtests.measurement.latency import Figures

EXIT_FAILED = 1
FIGURES_FILE = "figures.json"
DEFAULT_PLAN = Plan()
NOT_BUILT = "not measured: its environment was not built; `make compare` builds it"


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if every installed server was measured, 1 if one failed."""
    options = _parse_options(arguments)
    file = options.out / FIGURES_FILE
    if not options.report_only:
        plan = Plan(options.rounds, options.clients, options.seconds, overload_s=options.overload)
        figures = compare(_select(SERVERS, options), _select(LITSERVE_SETTINGS, options), plan)
        if not figures["subjects"]:
            return EXIT_FAILED
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures, indent=1) + "\n")
    figures = json.loads(file.read_text())
    write_report(figures, options.report, options.out)
    print(f"see {options.report}")
    return EXIT_FAILED if figures["broken"] else 0


def compare(servers: Sequence[ServerSpec], trials: Sequence[ServerSpec], plan: Plan) -> Figures:
    """Measures all installed servers and returns the figures of the report."""
    figures: Figures = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe_machine(),
        "versions": package_versions(),
        "plan": asdict(plan),
        "photos": [{"name": photo.name, "bytes": len(photo.jpeg)} for photo in photos()],
    }
    installed = [server for server in servers if server.is_installed]
    installed_trials = [server for server in trials if server.is_installed]
    absent = {server.title for server in (*servers, *trials) if not server.is_installed}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures |= runner.run(measure_servers(installed, installed_trials, plan, _log))
    left_out = dict.fromkeys(sorted(absent), NOT_BUILT) | NOT_MEASURED | figures["broken"]
    return figures | {"left_out": left_out}


def _select(servers: Sequence[ServerSpec], options: argparse.Namespace) -> list[ServerSpec]:
    return [server for server in servers if not options.only or server.name in options.only]


def _log(line: str) -> None:
    print(datetime.now().strftime("%H:%M:%S"), line, flush=True)


def _parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m loadtests.compare", description=__doc__)
    add = parser.add_argument
    add("--report-only", action="store_true", help="Rewrite the report from the stored figures.")
    add(
        "--rounds", type=int, default=DEFAULT_PLAN.rounds, help="Number of rounds over all servers."
    )
    add(
        "--seconds",
        type=float,
        default=DEFAULT_PLAN.seconds,
        help="Seconds per number of clients and round.",
    )
    add(
        "--overload",
        type=float,
        default=DEFAULT_PLAN.overload_s,
        help="Seconds at three times the capacity of the server.",
    )
    add(
        "--clients",
        type=_parse_numbers,
        default=DEFAULT_PLAN.clients,
        help="Numbers of clients, separated by commas.",
    )
    add("--only", type=_parse_names, default=(), help="Names of servers, separated by commas.")
    add(
        "--out",
        type=Path,
        default=ROOT / "loadtests" / "results",
        help="Folder for figures and plots.",
    )
    add(
        "--report",
        type=Path,
        default=ROOT / "loadtests" / "RESULTS.md",
        help="Markdown file of the report.",
    )
    return parser.parse_args(arguments)


def _parse_numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
