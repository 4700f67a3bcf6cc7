"""Number of processors available to this process."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
"""Mount point of the Linux cgroup file system, which has the CPU limits of containers."""
PROC_SELF_CGROUP = Path("/proc/self/cgroup")
"""File that names the cgroups of this process."""


def available_cpus() -> int:
    """Returns the number of processors that this process may use, at least 1.

    It is the smaller of the affinity mask and the cgroup's CPU quota, rounded down.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = cgroup_quota(CGROUP_ROOT, _read_or_none(PROC_SELF_CGROUP) or "")
    # The scheduler would throttle a thread on a fraction of a processor: round down.
    return max(1, math.floor(min(allowed, quota)))


def cgroup_quota(root: Path, own_cgroups: str) -> float:
    """Returns the tightest CPU quota of the process's cgroup and its parents, in processors.

    `root` is the mount of the cgroup file system and `own_cgroups` the text of `/proc/self/cgroup`.
    The quota is infinite where no cgroup sets a limit or the files are missing.
    """
    v2 = (
        _parse_cpu_max(_read_or_none(folder / "cpu.max"))
        for folder in _cgroup_folders(root, own_cgroups, "")
    )
    v1 = (
        _parse_cfs_quota(
            _read_or_none(folder / "cpu.cfs_quota_us"), _read_or_none(folder / "cpu.cfs_period_us")
        )
        for controllers in ("cpu", "cpu,cpuacct")
        for folder in _cgroup_folders(root / controllers, own_cgroups, "cpu")
    )
    return min(*v2, *v1, math.inf, math.inf)


def _cgroup_folders(mount: Path, own_cgroups: str, controller: str) -> Iterator[Path]:
    """Yields the folder `mount`, and the folders of this process's cgroup and its parents below it.

    `own_cgroups` is the text of `/proc/self/cgroup`. `controller` is `cpu`, or empty in cgroup v2.
    Inside a container only the mount exists.
    """
    yield mount
    for line in own_cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            below = Path(path.lstrip("/"))
            yield from (mount / part for part in (below, *below.parents))


def _parse_cpu_max(cpu_max: str | None) -> float:
    """Parses cgroup v2 text such as `max 100000` or `150000 100000` to a quota in processors.

    `max` or no text means infinity. The numbers are quota and period in microseconds.
    """
    if cpu_max is None:
        return math.inf
    quota, period = cpu_max.split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _parse_cfs_quota(quota: str | None, period: str | None) -> float:
    """Parses the cgroup v1 texts of quota and period, in microseconds, to a quota in processors.

    A quota of -1, or no text, means infinity.
    """
    if quota is None or period is None or int(quota) <= 0:
        return math.inf
    return int(quota) / int(period)


def _read_or_none(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
