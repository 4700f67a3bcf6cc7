"""Metrics of a server with several processes: shared counters, and processor time and memory.

Each process writes its counters and histograms to files of its own, which outlive it. `GET
/metrics` adds those of all processes.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SHARED_TYPES = ("counter", "histogram")
"""Types of the metrics that are added over processes; gauges are read from shared memory."""
SUPERVISOR = "supervisor"
"""Name of the supervisor in the names of its files."""
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_CPU_FIELDS = slice(11, 15)
"""Fields of `/proc/<pid>/stat` after the name: user and system time, own and of ended children."""


def share_counters(folder: Path, name: Callable[[], int | str]) -> None:
    """Makes metrics that are created from now on count in files in `folder`.

    `name` returns the name of the running process, which is part of the names of its files.
    """
    os.environ[_FOLDER_VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(name)  # type: ignore[no-untyped-call]


def merge_processes(own: Iterable[Metric], folder: Path) -> Iterator[Metric]:
    """Yields the metrics of this process, with the counters and histograms of all processes."""
    collector: Collector = MultiProcessCollector(  # type: ignore[no-untyped-call]
        CollectorRegistry(), str(folder)
    )
    shared = {family.name: family for family in collector.collect() if family.type in SHARED_TYPES}
    for family in own:
        yield shared.get(family.name, family)


class ServerProcessCollector(Collector):
    """Standard metrics `process_*` of a server: the sums over its processes.

    `pids` returns the system ids of the processes. Memory that they share counts once. The
    processor time includes that of processes that have ended.
    """

    def __init__(self, supervisor: int, pids: Callable[[], list[int]]) -> None:
        self._supervisor = supervisor
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        totals: dict[str, float] = {}
        started: list[float] = []
        documents: dict[str, str] = {}
        pids = (self._supervisor, *self._pids())
        for pid in pids:
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                documents[family.name] = family.documentation
                value = family.samples[0].value
                if family.name == "process_start_time_seconds":
                    started.append(value)
                else:
                    totals[family.name] = totals.get(family.name, 0.0) + value
        totals["process_resident_memory_bytes"] = _sum(_proportional_memory, pids)
        totals["process_cpu_seconds"] = _sum(_cpu_seconds, pids)
        totals["process_start_time_seconds"] = min(started, default=0.0)
        for name, value in totals.items():
            if name in documents:
                is_counter = name == "process_cpu_seconds"
                family_of = CounterMetricFamily if is_counter else GaugeMetricFamily
                yield family_of(name, documents[name], value=value)


def _sum(read: Callable[[int], float], pids: Iterable[int]) -> float:
    total = 0.0
    for pid in pids:
        with suppress(OSError):  # the process has just ended
            total += read(pid)
    return total


def _cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[_CPU_FIELDS])) / _TICKS_A_SECOND


def _proportional_memory(pid: int) -> float:
    """Returns the resident bytes of a process, of which shared ones count in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    return 0.0
