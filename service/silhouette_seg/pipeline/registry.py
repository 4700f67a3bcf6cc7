"""Registry of the models that this process serves, and the choice that the name `auto` makes."""

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
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import SPEC_FILE, ModelSpec, ModelTask, load_spec
from silhouette_seg.vision.codec.decode import Frame, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.header import ImageFormat

AUTO = "auto"
PHOTO_PREFERENCE = ("unet", "rcrnet", "md_trisenet", "connectnet")
"""Model names in the order in which `auto` prefers them for photos.

The first that is served is used, else the first model. The order is that of person IoU on data
sources without training photos, see docs/models.md.
"""
STREAM_PREFERENCE = ("connectnet", "rcrnet", "unet", "md_trisenet")
"""Model names in the order in which `auto` prefers them for frames of a stream.

training/RESULTS.md has the reasons.
"""
FACE_DETECTOR = "face_detector"
"""Name and folder of the face detector.

It finds faces, decides the distance domain of photos, and cannot be requested.
"""

log = logging.getLogger(__name__)


class ModelRegistry:
    """The served models: at least one segmentation model, and perhaps the face detector.

    `ready` is False until `warm_up` has returned.
    """

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
        """Names of the served segmentation models."""
        return tuple(self._by_name)

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """Models that `GET /v1/models` lists: segmentation models, then the face detector."""
        return (*self, self._face_router) if self._face_router else tuple(self)

    def get(self, name: str = AUTO, *, preference: tuple[str, ...] = PHOTO_PREFERENCE) -> Segmenter:
        """Returns the segmentation model of that name.

        `auto` selects the first name of `preference` that is served, else the first model. Raises
        errors.UnknownModel for a name that is not served.
        """
        if name == AUTO:
            served = (preferred for preferred in preference if preferred in self._by_name)
            name = next(served, self.names[0])
        segmenter = self._by_name.get(name)
        if segmenter is None:
            raise UnknownModel(name, self.names)
        return segmenter

    async def warm_up(self) -> None:
        """Runs a drawn portrait through every model, from the resize to the mask, and sets `ready`.

        Raises errors.ServiceError if a model fails.
        """
        frame = await self._workers.run_in_thread(_warm_up_frame)
        if self._face_router:
            pending = await self._workers.run_in_thread(self._face_router.prepare, frame)
            await pending()
        for segmenter in self:
            await segmenter.segment(frame)
        self.ready = True

    async def close(self) -> None:
        """Closes the engines of all models."""
        self.ready = False
        await asyncio.gather(*(model.close() for model in self.models))


def load_registry(
    repository: Path,
    models: tuple[str, ...] | None,
    workers: ThreadPool,
    open_engine: Callable[[ModelSpec], Engine],
) -> ModelRegistry:
    """Opens an engine for each model that `read_specs` selects, and returns their registry.

    `repository` is the folder of models, and `models` their names, or None for all. Blocks while
    weights load. Raises ValueError or OSError for an invalid repository, and errors.EngineFailed
    for a model that does not load.
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
                "%s takes a domain and there is no %s: every photo gets the domain no_face",
                segmenter.spec.name,
                FACE_DETECTOR,
            )
    return ModelRegistry(segmenters, workers, face_router)


def read_specs(repository: Path, models: tuple[str, ...] | None) -> list[ModelSpec]:
    """Returns the specs of the named `models`, or of all models of the repository.

    All are read, in the order of their names, if `models` is None. The face detector is added for a
    model that takes a domain, if the repository has one. Raises OSError for a spec that cannot be
    read. Raises ValueError for one that is invalid, for an unknown name, and if no segmentation
    model is selected.
    """
    available = find_models(repository)
    if unknown := sorted(set(models or ()) - set(available)):
        raise ValueError(
            f"{repository} has no model {', '.join(unknown)}; available: {', '.join(available)}"
        )
    specs = [read_spec(repository, name) for name in models or available]
    if not any(spec.task is ModelTask.SEGMENTATION for spec in specs):
        raise ValueError(f"no segmentation model among {', '.join(s.name for s in specs)}")
    missing = FACE_DETECTOR not in (spec.name for spec in specs)
    if missing and any(spec.has_input("domain") for spec in specs):
        specs += [read_spec(repository, name) for name in available if name == FACE_DETECTOR]
    return specs


def find_models(repository: Path) -> tuple[str, ...]:
    """Returns the sorted names of the folders in the repository that contain a `spec.json`.

    Raises ValueError if there is none.
    """
    names = tuple(sorted(path.parent.name for path in repository.glob(f"*/{SPEC_FILE}")))
    if not names:
        raise ValueError(f"{repository} contains no model")
    return names


def read_spec(repository: Path, name: str) -> ModelSpec:
    """Returns the spec of the model called `name` in the repository.

    Raises OSError if it cannot be read. Raises ValueError if it is invalid, has another name or the
    name `auto`. Raises ValueError too unless the face detector, and no other model, outputs faces.
    """
    spec = load_spec(repository / name)
    if spec.name != name:
        raise ValueError(f"{repository / name / SPEC_FILE} describes the model {spec.name!r}")
    if name == AUTO:
        raise ValueError(f"a model cannot be named {AUTO!r}")
    if (spec.task is ModelTask.FACES) != (name == FACE_DETECTOR):
        raise ValueError(f"{name} outputs {spec.output.name}: {FACE_DETECTOR} alone has faces")
    return spec


def _warm_up_frame() -> Frame:
    """Returns a drawing of head and shoulders, encoded as JPEG and decoded again like a request."""
    jpeg = encode(_portrait((480, 360)), ImageFormat.JPEG)
    return decode(jpeg, read_header(jpeg))


def _portrait(hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Draws head and shoulders in plain colours and returns uint8 [*hw,3]."""
    y, x = np.mgrid[-1 : 1 : hw[0] * 1j, -1 : 1 : hw[1] * 1j]
    rgb = np.stack([60 + 40 * y, 90 + 30 * x, 140 - 40 * y], axis=-1)
    rgb[x**2 / 0.6 + (y - 1.1) ** 2 < 0.7] = 40, 50, 110
    rgb[x**2 / 0.5 + (y + 0.2) ** 2 < 0.16] = 205, 160, 135
    return rgb.astype(np.uint8)
