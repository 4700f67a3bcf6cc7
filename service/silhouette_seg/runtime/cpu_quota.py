"""How many processors this process may really use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Processors by affinity, bounded by the cgroup's quota; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = cgroup_quota(CGROUP_ROOT, _text(OWN_CGROUPS) or "")
    # Half a processor more than whole ones would only be throttled: round down.
    return max(1, math.floor(min(allowed, quota)))


def cgroup_quota(root: Path, own_cgroups: str) -> float:
    """Processors that the quota grants, the tightest from our cgroup up to the root.

    `own_cgroups` is the text of `/proc/self/cgroup`. Infinite where nothing limits, or where
    the files are not there.
    """
    granted = (_v2(_text(group / "cpu.max")) for group in _groups(root, own_cgroups, ""))
    granted_v1 = (
        _v1(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))
        for controllers in ("cpu", "cpu,cpuacct")
        for group in _groups(root / controllers, own_cgroups, "cpu")
    )
    return min(*granted, *granted_v1, math.inf, math.inf)


def _groups(mount: Path, own_cgroups: str, controller: str) -> Iterator[Path]:
    """The mount, and each folder of it down to ours; inside a container only the mount exists."""
    yield mount
    for line in own_cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            below = Path(path.lstrip("/"))
            yield from (mount / part for part in (below, *below.parents))


def _v2(cpu_max: str | None) -> float:
    """`max 100000` or `150000 100000`."""
    if cpu_max is None:
        return math.inf
    quota, period = cpu_max.split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _v1(quota: str | None, period: str | None) -> float:
    """A quota of -1 is none."""
    if quota is None or period is None or int(quota) <= 0:
        return math.inf
    return int(quota) / int(period)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
