"""Portrait segmentation service: turns photos and video into masks, cut-outs and composites.

    from silhouette_seg import Client

The import itself loads nothing else; `Client` and `__version__` are loaded on first use.
"""

import os
from typing import TYPE_CHECKING

# ONNX Runtime sends telemetry unless this variable is set before it loads.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from silhouette_seg.client import Client

    __version__: str

__all__ = ["Client", "__version__"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Returns `Client` or `__version__`, loaded on first use (PEP 562).

        Raises AttributeError for any other name.
        """
        if name == "Client":
            from silhouette_seg.client import Client

            return Client
        if name == "__version__":
            return _installed_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _installed_version() -> str:
    """Returns the version of the installed package, or `0+source` if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("silhouette-seg")
    except PackageNotFoundError:
        return "0+source"
