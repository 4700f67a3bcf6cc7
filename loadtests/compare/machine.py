"""Describes the machine and the package versions of a measurement."""

import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path

from loadtests.compare.server_specs import MEDIAPIPE_BIN, ONNX_BIN
from loadtests.measurement.latency import Figures

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = (
    *("fastapi", "uvicorn", "onnxruntime", "numpy", "pillow", "opencv-python-headless"),
    *("opencv-contrib-python", "litserve", "mediapipe"),
)


def describe_machine() -> Figures:
    """Returns processor, number of processors, load averages and operating system."""
    names = [
        line.partition(":")[2].strip()
        for line in CPU_INFO.read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def package_versions() -> dict[str, str]:
    """Returns the versions of Python and PACKAGES in each environment that exists."""
    environments = {
        "Silhouette": Path(sys.prefix),
        "LitServe and FastAPI": ONNX_BIN.parent,
        "MediaPipe": MEDIAPIPE_BIN.parent,
    }
    return {name: _versions(home) for name, home in environments.items() if home.is_dir()}


def _versions(home: Path) -> str:
    folders = sorted(home.glob("lib/python*/site-packages"))
    installed = {
        package.name.lower(): package.version
        for package in distributions(path=[*map(str, folders)])
    }
    return ", ".join(
        (
            *(f"Python {folder.parent.name.removeprefix('python')}" for folder in folders),
            *(f"{name} {installed[name]}" for name in PACKAGES if name in installed),
        )
    )
