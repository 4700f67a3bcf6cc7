"""Checks optional dependencies, and names the extras of silhouette-seg that install them."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from silhouette_seg.errors import InstallationError

RUNTIMES = (
    "onnxruntime",
    "onnxruntime-directml",
    "onnxruntime-gpu",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-training",
)
"""Names of the distributions that install the package `onnxruntime`.

Two of them overwrite each other's files.
"""


def is_installed(module: str) -> bool:
    """Returns whether a top-level module can be imported. The module is not loaded."""
    return find_spec(module) is not None


def missing_module(module: str, purpose: str, *extras: str) -> str:
    """Returns the error message for a module that is not installed.

    `purpose` is its subject, for example `Models`. The message names the pip commands for `extras`,
    the extras of silhouette-seg that install the module.
    """
    commands = " or ".join(f"pip install 'silhouette-seg[{extra}]'" for extra in extras)
    return f"{purpose} need {module}, which is not installed. Run {commands}."


def require(module: str, purpose: str, *extras: str) -> None:
    """Raises InstallationError if a top-level module is not installed.

    `purpose` and `extras` are those of `missing_module`.
    """
    if not is_installed(module):
        raise InstallationError(missing_module(module, purpose, *extras))


def check_runtime() -> None:
    """Raises InstallationError unless exactly one distribution provides ONNX Runtime.

    A build from source, which no distribution provides, is accepted.
    """
    require("onnxruntime", "Models", "cpu", "gpu")
    installed = [name for name in RUNTIMES if _is_distribution(name)]
    if len(installed) > 1:
        names = " and ".join(installed)
        raise InstallationError(
            f"{names} install the same package, onnxruntime, and overwrite each other."
            f" Run pip uninstall {' '.join(installed)}, then install one of them again."
        )


def _is_distribution(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
