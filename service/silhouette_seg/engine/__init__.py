"""Model execution: the Engine protocol, its implementations and their wrappers."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from silhouette_seg.engine.base import Engine, InferenceServer, TritonConfig
from silhouette_seg.runtime.extras import InstallationError, check_runtime, missing_module
from silhouette_seg.spec import ModelSpec

ENGINES = {
    "onnx": "silhouette_seg.engine.onnx:open_engine",
    "fake": "silhouette_seg.engine.fake:open_engine",
}
"""Name -> factory of an engine in this process. A factory is imported when it is chosen, so that a
runtime that is not installed costs nothing."""

INFERENCE_SERVERS = {"triton": "silhouette_seg.engine.triton:TritonServer"}
"""Name -> class of an inference server. Such a server batches by itself: its engines need no
Batcher."""


def open_engine(
    name: str, spec: ModelSpec, repository: Path, *, device: str = "cpu", workers: int = 1
) -> Engine:
    """Opens a model on the engine called `name`. Blocks while the weights load.

    Raises ValueError for a name that is not in `ENGINES`, InstallationError without one runtime,
    and errors.EngineFailed for a model that does not load.
    """
    if name not in ENGINES:
        available = ", ".join(ENGINES | INFERENCE_SERVERS)
        raise ValueError(f"unknown engine {name!r}; available: {available}")
    if name == "onnx":
        check_runtime()
    factory: Callable[..., Engine] = _import(ENGINES[name])
    return factory(spec, repository, device=device, workers=workers)


def open_inference_server(name: str, config: TritonConfig) -> InferenceServer:
    """Returns the server that all models of a process share.

    The server connects at its first use, in the event loop of that use. Raises InstallationError
    when its client library is not installed.
    """
    try:
        factory: Callable[[TritonConfig], InferenceServer] = _import(INFERENCE_SERVERS[name])
    except ModuleNotFoundError as error:
        # tritonclient may be there without its gRPC part.
        missing = missing_module(error.name or "tritonclient", "Models in Triton", "triton")
        raise InstallationError(missing) from error
    return factory(config)


def _import(path: str) -> Callable[..., Any]:
    module, name = path.split(":")
    factory: Callable[..., Any] = getattr(import_module(module), name)
    return factory
