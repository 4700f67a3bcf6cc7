"""What the figures were measured on."""

import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path

from loadtests.compare.subjects import MEDIAPIPE, ONNX
from loadtests.compare.summary import Figures

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = (
    *("fastapi", "uvicorn", "onnxruntime", "numpy", "pillow", "opencv-python-headless"),
    *("opencv-contrib-python", "litserve", "mediapipe"),
)


def machine() -> Figures:
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


def versions() -> dict[str, str]:
    """Of what matters, by environment; those that are there."""
    environments = {
        "Silhouette": Path(sys.prefix),
        "LitServe and FastAPI": ONNX.parent,
        "MediaPipe": MEDIAPIPE.parent,
    }
    return {name: _versions(home) for name, home in environments.items() if home.is_dir()}


def _versions(home: Path) -> str:
    folders = sorted(home.glob("lib/python*/site-packages"))
    found = {each.name.lower(): each.version for each in distributions(path=[*map(str, folders)])}
    return ", ".join(
        (
            *(f"Python {folder.parent.name.removeprefix('python')}" for folder in folders),
            *(f"{name} {found[name]}" for name in PACKAGES if name in found),
        )
    )
