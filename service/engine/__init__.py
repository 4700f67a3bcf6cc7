"""What runs models: the Engine protocol and the implementations behind it."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from service.engine.base import Engine
from service.spec import ModelSpec

ENGINES = {
    "onnx": "service.engine.onnx:open_engine",
    "fake": "service.engine.fake:open_engine",
}
"""Name -> factory, imported when it is chosen so that an absent SDK costs nothing."""


def open_engine(
    name: str, spec: ModelSpec, repository: Path, *, device: str = "cpu", workers: int = 1
) -> Engine:
    """Opens the model on the engine of that name. Blocks while weights load.

    Raises ValueError for a name that is not in the table, errors.EngineFailed for a model that
    does not load.
    """
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}; there are {', '.join(ENGINES)}")
    module, factory = ENGINES[name].split(":")
    opened: Callable[..., Engine] = getattr(import_module(module), factory)
    return opened(spec, repository, device=device, workers=workers)
