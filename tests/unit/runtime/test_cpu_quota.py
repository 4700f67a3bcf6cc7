import math
import os
from pathlib import Path

import pytest

from silhouette_seg.runtime.cpu_quota import available_cpus, cgroup_quota


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1_LINES = "4:memory:/pod/box\n1:cpu,cpuacct:/pod/box\n"


@pytest.mark.parametrize(
    ("files", "own_cgroups", "processors"),
    [
        pytest.param({}, "", math.inf, id="no files"),
        pytest.param({"cpu.max": "max 100000\n"}, "0::/\n", math.inf, id="v2 unlimited"),
        pytest.param({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5, id="v2 in a container"),
        pytest.param({"pod/box/cpu.max": "200000 100000\n"}, "0::/pod/box\n", 2, id="v2 nested"),
        pytest.param(
            {"pod/cpu.max": "50000 100000\n", "pod/box/cpu.max": "max 100000\n"},
            "0::/pod/box\n",
            0.5,
            id="v2 parent is tighter",
        ),
        pytest.param(
            {"other/cpu.max": "50000 100000\n"},
            "0::/pod/box\n",
            math.inf,
            id="v2 other group",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            "1:cpu:/\n0::/\n",
            math.inf,
            id="v1 unlimited",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            "1:cpu:/host/path\n",
            3,
            id="v1 in a container",
        ),
        pytest.param(
            {
                "cpu,cpuacct/pod/box/cpu.cfs_quota_us": "25000\n",
                "cpu,cpuacct/pod/box/cpu.cfs_period_us": "10000\n",
            },
            V1_LINES,
            2.5,
            id="v1 nested, joint controllers",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "300000\n"}, "1:cpu:/\n", math.inf, id="v1 no period"
        ),
    ],
)
def test_cgroup_quota_is_tightest_limit_found(tmp_path, files, own_cgroups, processors):
    assert cgroup_quota(write_files(tmp_path, files), own_cgroups) == processors


def test_available_cpus_are_within_affinity_mask():
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))
