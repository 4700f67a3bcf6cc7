"""Model execution: the Engine protocol, its implementations and their wrappers."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from silhouette_seg.engine.base import Engine, InferenceServer, TritonConfig
from silhouette_seg.errors import InstallationError
from silhouette_seg.runtime.extras import check_runtime, missing_module
from silhouette_seg.spec import ModelSpec

ENGINES = {
    "onnx": "silhouette_seg.engine.onnx:open_engine",
    "fake": "silhouette_seg.engine.fake:open_engine",
}
"""Engine name -> import path of the function that opens such an engine in this process.

The function is imported when its engine is chosen, so that a runtime that is not installed costs
nothing.
"""

INFERENCE_SERVERS = {"triton": "silhouette_seg.engine.triton.engine:TritonServer"}
"""Server name -> import path of the class of a client for such an inference server.

Such a server batches by itself: its engines need no Batcher.
"""


def open_engine(
    name: str, spec: ModelSpec, repository: Path, *, device: str = "cpu", workers: int | None = 1
) -> Engine:
    """Opens the model of `spec` in a model repository on the engine called `name`.

    `device` is one of `DEVICES`, and the engine runs up to `workers` batches at once. If `workers`
    is None it runs each batch in the thread of its caller. Blocks while the weights load. Raises
    ValueError for a name that is not in `ENGINES`, and errors.EngineFailed for a model that does
    not load. Raises InstallationError for `onnx` if ONNX Runtime is missing or is installed by
    several distributions.
    """
    if name not in ENGINES:
        available = ", ".join(ENGINES | INFERENCE_SERVERS)
        raise ValueError(f"unknown engine {name!r}; available: {available}")
    if name == "onnx":
        check_runtime()
    factory: Callable[..., Engine] = _import(ENGINES[name])
    return factory(spec, repository, device=device, workers=workers)


def open_inference_server(name: str, config: TritonConfig) -> InferenceServer:
    """Returns the client of an inference server that all models of a process share.

    The client connects at its first use, in the event loop of that use. Raises InstallationError
    when its library is not installed, and KeyError for a name that is not in `INFERENCE_SERVERS`.
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
