"""The models this process serves: name -> Segmenter, and what `auto` means."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.engine.base import Engine
from service.errors import UnknownModel
from service.segmenter import Segmenter
from service.spec import SPEC_FILE, ModelSpec, load_spec
from service.vision.decode import Frame, decode
from service.vision.encode import encode
from service.vision.header import ImageFormat, read_header
from service.workers import Workers

AUTO = "auto"
AUTO_MODEL = "connectnet"


class Catalog:
    """What `GET /v1/models` lists. Not ready until `warm_up` has returned."""

    def __init__(self, segmenters: list[Segmenter], workers: Workers) -> None:
        self._by_name = {segmenter.spec.name: segmenter for segmenter in segmenters}
        self._workers = workers
        self.ready = False

    def __iter__(self) -> Iterator[Segmenter]:
        return iter(self._by_name.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def get(self, name: str = AUTO) -> Segmenter:
        """The model of that name; `auto` is connectnet, or the only model there is.

        Raises errors.UnknownModel.
        """
        if name == AUTO:
            name = self.names[0] if len(self.names) == 1 else AUTO_MODEL
        segmenter = self._by_name.get(name)
        if segmenter is None:
            raise UnknownModel(f"There is no model of that name; there are {', '.join(self.names)}")
        return segmenter

    async def warm_up(self) -> None:
        """Takes a real photo through every model's whole path; raises what that raises."""
        frame = await self._workers.run(_warm_up_frame)
        for segmenter in self:
            await segmenter.segment(frame)
        self.ready = True

    async def close(self) -> None:
        self.ready = False
        await asyncio.gather(*(segmenter.close() for segmenter in self))


def open_catalog(
    repository: Path,
    models: tuple[str, ...] | None,
    workers: Workers,
    open_engine: Callable[[ModelSpec], Engine],
) -> Catalog:
    """Opens `models`, or all that the repository holds, in the order of their names.

    Blocks while weights load. Raises ValueError or OSError for a repository that is not as it
    should be, errors.EngineFailed for a model that does not load.
    """
    specs = [read_spec(repository, name) for name in models or find_models(repository)]
    return Catalog([Segmenter(open_engine(spec), workers) for spec in specs], workers)


def find_models(repository: Path) -> tuple[str, ...]:
    """The folders with a `spec.json`; raises ValueError when there is none."""
    names = tuple(sorted(path.parent.name for path in repository.glob(f"*/{SPEC_FILE}")))
    if not names:
        raise ValueError(f"{repository} holds no model")
    return names


def read_spec(repository: Path, name: str) -> ModelSpec:
    """The spec of one model of the repository; raises OSError or ValueError."""
    spec = load_spec(repository / name)
    if spec.name != name:
        raise ValueError(f"{repository / name / SPEC_FILE} is the spec of {spec.name!r}")
    if name == AUTO:
        raise ValueError(f"a model cannot be called {AUTO!r}")
    return spec


def _warm_up_frame() -> Frame:
    """A JPEG of something like a head and shoulders, decoded as a client's would be."""
    jpeg = encode(_portrait((480, 360)), ImageFormat.JPEG)
    return decode(jpeg, read_header(jpeg))


def _portrait(hw: tuple[int, int]) -> NDArray[np.uint8]:
    y, x = np.mgrid[-1 : 1 : hw[0] * 1j, -1 : 1 : hw[1] * 1j]
    rgb = np.stack([60 + 40 * y, 90 + 30 * x, 140 - 40 * y], axis=-1)
    rgb[x**2 / 0.6 + (y - 1.1) ** 2 < 0.7] = 40, 50, 110
    rgb[x**2 / 0.5 + (y + 0.2) ** 2 < 0.16] = 205, 160, 135
    return rgb.astype(np.uint8)
