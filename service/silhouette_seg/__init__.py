"""Portrait segmentation: turns photos and video into masks, cut-outs and composites.

    from silhouette_seg import cut_out      # in this process
    from silhouette_seg import Client       # by a running service

The import itself loads nothing else; each name is loaded on first use.
"""

import os
from typing import TYPE_CHECKING

# ONNX Runtime sends telemetry unless this variable is set before it loads.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from silhouette_seg import client, errors, library
    from silhouette_seg.client import AsyncClient, Client
    from silhouette_seg.errors import InvalidArgument
    from silhouette_seg.library import Session, composite, cut_out, map_photos, segment

    __version__: str

__all__ = [
    "AsyncClient",
    "Client",
    "InvalidArgument",
    "Session",
    "__version__",
    "client",
    "composite",
    "cut_out",
    "errors",
    "library",
    "map_photos",
    "segment",
]

_MODULES = {
    "silhouette_seg.client": ("AsyncClient", "Client"),
    "silhouette_seg.errors": ("InvalidArgument",),
    "silhouette_seg.library": ("Session", "composite", "cut_out", "map_photos", "segment"),
}
"""Module -> names that the package exports from it."""
_SUBMODULES = ("client", "errors", "library")
"""Modules that are attributes of the package without an import of their own."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Returns an exported name, loaded on first use (PEP 562).

        Raises AttributeError for any other name.
        """
        from importlib import import_module

        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(module), name)
        if name in _SUBMODULES:
            return import_module(f"{__name__}.{name}")
        if name == "__version__":
            return _installed_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__


def _installed_version() -> str:
    """Returns the version of the installed package, or `0+source` if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("silhouette-seg")
    except PackageNotFoundError:
        return "0+source"
