"""Registry of the models of this process: the served, the failed, and the choice of `auto`."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from silhouette_seg.engine.base import Engine
from silhouette_seg.errors import (
    Draining,
    EngineFailed,
    ModelFailed,
    Overloaded,
    ServiceError,
    UnknownModel,
)
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.model_folders import AUTO, FACE_DETECTOR, read_folders
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.pipeline.warm_up import warm_up_frame
from silhouette_seg.runtime.thread_pool import Workers
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import Frame

PHOTO_PREFERENCE = ("unet", "rcrnet", "md_trisenet", "connectnet")
"""Model names in the order in which `auto` prefers them for photos.

The order is that of person IoU on data sources without training photos, see docs/models.md.
"""
STREAM_PREFERENCE = ("connectnet", "rcrnet", "unet", "md_trisenet")
"""Model names in the order in which `auto` prefers them for frames of a stream.

training/RESULTS.md has the reasons.
"""
WARM_UP_FAILED = "it failed on its first picture"
"""Reason of a model after an error in its warm-up that is not one of the service."""

log = logging.getLogger(__name__)


class ModelRegistry:
    """The models of a repository: at least one segmentation model, and perhaps the face detector.

    `failures` has the reason of each model that does not serve. `required` are the names without
    which the service is not ready: the model of `auto`, those in `named`, and the face detector if
    one of them takes a domain. A model is warm once `warm_up` has run it.
    """

    def __init__(
        self,
        segmenters: list[Segmenter],
        workers: Workers,
        face_router: FaceRouter | None = None,
        *,
        failures: Mapping[str, str] | None = None,
        named: Collection[str] = (),
    ) -> None:
        self._by_name = {segmenter.spec.name: segmenter for segmenter in segmenters}
        self._face_router = face_router
        self._workers = workers
        self._warm: set[str] = set()
        self.failures = dict(failures or {})
        """Reason, a sentence without paths, by the name of each model that does not serve."""
        self.auto = self._select_auto()
        """Name of the model that `auto` selects for photos, even if that model has failed."""
        self.required = self._find_required(named)
        """Names of the models without which the service is not ready."""

    def __iter__(self) -> Iterator[Segmenter]:
        return (model for name, model in self._by_name.items() if name not in self.failures)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the served segmentation models."""
        return tuple(segmenter.spec.name for segmenter in self)

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """Models that `GET /v1/models` lists as served: segmenters, then the face detector."""
        if self._face_router is None or FACE_DETECTOR in self.failures:
            return tuple(self)
        return (*self, self._face_router)

    @property
    def cold(self) -> tuple[str, ...]:
        """Names of the models that are neither warm nor failed, the required ones first."""
        opened = [FACE_DETECTOR] if self._face_router else []
        waiting = set(opened + list(self._by_name)) - self._warm - self.failures.keys()
        return tuple(sorted(waiting, key=lambda name: (name not in self.required, name)))

    @property
    def tried(self) -> bool:
        """True once every required model is warm or has failed: other models serve from then on."""
        return self.required <= self._warm | self.failures.keys()

    @property
    def ready(self) -> bool:
        """True while every required model is warm."""
        return self.required <= self._warm - self.failures.keys()

    def is_warm(self, name: str) -> bool:
        """Returns True once the warm-up of a model has succeeded."""
        return name in self._warm

    def get(self, name: str = AUTO) -> Segmenter:
        """Returns the segmentation model of that name; `auto` is the preferred one for photos.

        Raises errors.UnknownModel for a name that the repository does not have, and
        errors.ModelFailed with the reason for a model that has failed.
        """
        name = self.auto if name == AUTO else name
        self.check(name)
        segmenter = self._by_name.get(name)
        if segmenter is None:
            raise UnknownModel(name, self.names)
        return segmenter

    def get_for_stream(self, name: str = AUTO) -> Segmenter:
        """Returns the segmentation model of that name; `auto` is the preferred one for frames.

        `auto` passes over models that have failed. Raises the errors of `get`.
        """
        if name == AUTO:
            preferred = (name for name in STREAM_PREFERENCE if name in self.names)
            name = next(preferred, self.auto)
        return self.get(name)

    def check(self, name: str) -> None:
        """Raises errors.ModelFailed with the reason if the model of that name has failed."""
        if name in self.failures:
            raise ModelFailed(name, self.failures[name])

    def fail(self, name: str, reason: str) -> None:
        """Takes a model out of service. `reason` is a sentence without paths and full stop."""
        log.error("%s is not available: %s", name, reason)
        self.failures[name] = reason

    async def warm_up(
        self, names: Collection[str] | None = None, *, retry: bool = False
    ) -> Mapping[str, Exception]:
        """Runs a drawn portrait through the cold models of `names`, from the resize to the mask.

        All models are tried if `names` is None. Returns the error of each that failed. Such a model
        is in `failures` from then on. With `retry`, or if its queue is full, it stays cold. Raises
        errors.Draining.
        """
        errors: dict[str, Exception] = {}
        cold = [name for name in self.cold if names is None or name in names]
        if not cold:
            return errors
        frame = await self._workers.run_in_thread(warm_up_frame)
        for name in cold:
            try:
                await self._run(name, frame)
            except Draining:
                raise
            except Exception as error:  # any error means that the model does not work
                errors[name] = error
                if not (retry or isinstance(error, Overloaded)):
                    self.fail(name, _reason(error))
            else:
                self._warm.add(name)
        return errors

    async def close(self) -> None:
        """Closes the engines of all models, the failed included."""
        self._warm.clear()
        opened = [*self._by_name.values(), *filter(None, [self._face_router])]
        await asyncio.gather(*(model.close() for model in opened))

    async def _run(self, name: str, frame: Frame) -> None:
        if name == FACE_DETECTOR and self._face_router:
            await (await self._workers.run_in_thread(self._face_router.prepare, frame))()
        else:
            await self._by_name[name].segment(frame)

    def _select_auto(self) -> str:
        """Returns the first preferred name, else the first model, else the first that failed."""
        known = [*self._by_name, *self.failures]
        segmenters = [name for name in known if name != FACE_DETECTOR] or known
        preferred = (name for name in PHOTO_PREFERENCE if name in segmenters)
        return next(preferred, segmenters[0])

    def _find_required(self, named: Collection[str]) -> frozenset[str]:
        required = {self.auto, *named}
        takes_domain = any(model.takes_domain for model in self if model.spec.name in required)
        if takes_domain and (self._face_router or FACE_DETECTOR in self.failures):
            required.add(FACE_DETECTOR)
        return frozenset(required)


def _reason(error: Exception) -> str:
    """Returns the public detail of an error of the service, or WARM_UP_FAILED."""
    return error.detail.rstrip(".") if isinstance(error, ServiceError) else WARM_UP_FAILED


def load_registry(
    repository: Path,
    models: tuple[str, ...] | None,
    workers: Workers,
    open_engine: Callable[[ModelSpec], Engine],
) -> ModelRegistry:
    """Opens an engine for each model that `read_folders` selects, and returns their registry.

    `repository` is the folder of models, and `models` their names, or None for all. A model that
    does not load is in the registry's `failures`. Blocks while weights load. Raises the errors of
    `read_folders`, and errors.EngineFailed for a device that can run no model.
    """
    folders = read_folders(repository, models)
    failures = dict(folders.failures)
    engines: dict[str, Engine] = {}
    for spec in folders.specs:
        try:
            engines[spec.name] = open_engine(spec)
        except EngineFailed as error:
            if error.of_device:
                raise
            log.error("%s is not available: %s (%r)", spec.name, error.detail, error.__cause__)
            failures[spec.name] = _reason(error)
    detector = engines.pop(FACE_DETECTOR, None)
    face_router = FaceRouter(detector, workers) if detector else None
    segmenters = [Segmenter(engine, workers, face_router) for engine in engines.values()]
    if not face_router:
        log.info("there is no %s: person=dominant goes by size and place", FACE_DETECTOR)
    for segmenter in segmenters:
        if segmenter.takes_domain and not face_router:
            log.warning(
                "%s takes a domain and there is no %s: every photo gets the domain no_face",
                segmenter.spec.name,
                FACE_DETECTOR,
            )
    return ModelRegistry(segmenters, workers, face_router, failures=failures, named=models or ())
