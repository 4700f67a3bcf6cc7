"""The models this process serves: name -> Segmenter, and what `auto` means."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine
from silhouette_seg.errors import UnknownModel
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import SPEC_FILE, ModelSpec, ModelTask, load_spec
from silhouette_seg.vision.codec.decode import Frame, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.header import ImageFormat, read_header

AUTO = "auto"
PHOTO_PREFERENCE = ("md_trisenet", "connectnet", "rcrnet")
"""What `auto` means for a photo: the first of these that is served, else the first that is."""
STREAM_PREFERENCE = ("connectnet", "rcrnet", "md_trisenet")
"""The same for the frames of a stream: training/RESULTS.md says why."""
FACE_DETECTOR = "face_detector"
"""Its folder in the repository: not a model to ask for, but what finds a photo's domain."""

log = logging.getLogger(__name__)


class ModelRegistry:
    """What may be asked for: at least one segmenter. Not ready until `warm_up` has returned."""

    def __init__(
        self,
        segmenters: list[Segmenter],
        workers: ThreadPool,
        face_router: FaceRouter | None = None,
    ) -> None:
        self._by_name = {segmenter.spec.name: segmenter for segmenter in segmenters}
        self._face_router = face_router
        self._workers = workers
        self.ready = False

    def __iter__(self) -> Iterator[Segmenter]:
        return iter(self._by_name.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def models(self) -> tuple[Segmenter | FaceRouter, ...]:
        """What `GET /v1/models` lists: those to ask for, then the face detector."""
        return (*self, self._face_router) if self._face_router else tuple(self)

    def get(self, name: str = AUTO, *, preference: tuple[str, ...] = PHOTO_PREFERENCE) -> Segmenter:
        """The model of that name, or what `auto` means: the first of these that is served, else the
        first that is. Raises errors.UnknownModel."""
        if name == AUTO:
            name = next((each for each in preference if each in self._by_name), self.names[0])
        segmenter = self._by_name.get(name)
        if segmenter is None:
            raise UnknownModel(name, self.names)
        return segmenter

    async def warm_up(self) -> None:
        """Takes a real photo through every model's whole path; raises what that raises."""
        frame = await self._workers.run_in_thread(_warm_up_frame)
        if self._face_router:
            pending = await self._workers.run_in_thread(self._face_router.prepare, frame)
            await pending()
        for segmenter in self:
            await segmenter.segment(frame)
        self.ready = True

    async def close(self) -> None:
        self.ready = False
        await asyncio.gather(*(model.close() for model in self.models))


def load_registry(
    repository: Path,
    models: tuple[str, ...] | None,
    workers: ThreadPool,
    open_engine: Callable[[ModelSpec], Engine],
) -> ModelRegistry:
    """Opens what `read_specs` reads.

    Blocks while weights load. Raises ValueError or OSError for a repository that is not as it
    should be, errors.EngineFailed for a model that does not load.
    """
    specs = read_specs(repository, models)
    detectors = [spec for spec in specs if spec.task is ModelTask.FACES]
    face_router = FaceRouter(open_engine(detectors[0]), workers) if detectors else None
    segmenters = [
        Segmenter(open_engine(spec), workers, face_router)
        for spec in specs
        if spec.task is ModelTask.SEGMENTATION
    ]
    for segmenter in segmenters:
        if segmenter.takes_domain and not face_router:
            log.warning(
                "%s routes by faces and there is no %s: every photo is taken for one without",
                segmenter.spec.name,
                FACE_DETECTOR,
            )
    return ModelRegistry(segmenters, workers, face_router)


def read_specs(repository: Path, models: tuple[str, ...] | None) -> list[ModelSpec]:
    """The specs of `models`, or of all that the repository holds in the order of their names.

    A model that takes a domain brings the face detector along, when the repository holds one.
    Raises OSError or ValueError, also when nothing would be left to segment with.
    """
    specs = [read_spec(repository, name) for name in models or find_models(repository)]
    if not any(spec.task is ModelTask.SEGMENTATION for spec in specs):
        raise ValueError(f"no model to segment with among {', '.join(s.name for s in specs)}")
    missing = FACE_DETECTOR not in (spec.name for spec in specs)
    if missing and any(spec.has_input("domain") for spec in specs):
        there = set(find_models(repository)) & {FACE_DETECTOR}
        specs += [read_spec(repository, name) for name in there]
    return specs


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
    if (spec.task is ModelTask.FACES) != (name == FACE_DETECTOR):
        raise ValueError(f"{name} gives {spec.output.name}: only {FACE_DETECTOR} gives faces")
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
