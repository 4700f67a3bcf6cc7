"""What runs models: the Engine protocol and the implementations behind it."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from silhouette_seg.engine.base import Engine, InferenceServer, TritonConfig
from silhouette_seg.spec import ModelSpec

ENGINES = {
    "onnx": "silhouette_seg.engine.onnx:open_engine",
    "fake": "silhouette_seg.engine.fake:open_engine",
}
"""Name -> factory, imported when it is chosen so that an absent SDK costs nothing."""

INFERENCE_SERVERS = {"triton": "silhouette_seg.engine.triton:TritonServer"}
"""The same for what runs elsewhere, and batches there: no Batcher in front of these."""


def open_engine(
    name: str, spec: ModelSpec, repository: Path, *, device: str = "cpu", workers: int = 1
) -> Engine:
    """Opens the model on the engine of that name. Blocks while weights load.

    Raises ValueError for a name that is not in the table, errors.EngineFailed for a model that
    does not load.
    """
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}; there are {', '.join(ENGINES | INFERENCE_SERVERS)}")
    opened: Callable[..., Engine] = _load(ENGINES[name])
    return opened(spec, repository, device=device, workers=workers)


def open_inference_server(name: str, config: TritonConfig) -> InferenceServer:
    """One for all the models of a process. Connects with its first use, in that event loop.

    Raises ValueError when its client is not installed.
    """
    try:
        opened: Callable[[TritonConfig], InferenceServer] = _load(INFERENCE_SERVERS[name])
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: install silhouette[{name}]") from error
    return opened(config)


def _load(factory: str) -> Callable[..., Any]:
    module, name = factory.split(":")
    loaded: Callable[..., Any] = getattr(import_module(module), name)
    return loaded
