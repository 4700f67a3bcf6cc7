"""Segments one image with one model: prepare, route, infer, postprocess, render.

A `FrameTask` decodes the image and renders the result. A small person in a photo is predicted a
second time on a crop, see `silhouette_seg.pipeline.zoom`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Tensors
from silhouette_seg.pipeline.domain_router import (
    DomainRouter,
    FaceRouter,
    FixedDomain,
    PendingDecision,
)
from silhouette_seg.pipeline.faces import Domain, DomainDecision, domain_of
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.pipeline.timings import Stopwatch, Timings
from silhouette_seg.pipeline.zoom import (
    ZOOM_FACTOR,
    blend_into,
    crop,
    find_crop,
    fuse_log_odds,
    scale_box,
)
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, fit, inside, resize, unfit
from silhouette_seg.vision.mask.quality import Box, MaskQuality, empty_if_noise, measure_quality

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Matte:
    """The mask of a photo with its measures."""

    alpha: NDArray[np.uint8]
    """uint8 [*photo_hw], 255 = person."""
    quality: MaskQuality
    """Measures of the mask at the model's size."""
    decision: DomainDecision | None
    """Distance domain, from a head shot to a far person, of the whole photo.

    None if the model takes no domain.
    """
    timings: Timings
    passes: int = 1
    """Number of predictions: 2 if the person was predicted again on a crop."""


class FrameTask(Protocol[T_co]):
    """One image through a segmenter. Both methods run in a worker thread, `decode` first."""

    def decode(self, min_size: Size) -> Frame:
        """Returns the image; a decoder may halve it while both sides stay at least `min_size`."""
        ...

    def render(self, frame: Frame, matte: Matte) -> T_co:
        """Returns the result for the decoded image and its mask."""
        ...


@dataclass(frozen=True, slots=True)
class MatteTask:
    """The task of an image that is already decoded; its result is the mask."""

    frame: Frame

    def decode(self, min_size: Size) -> Frame:
        """Returns the image at its own size."""
        return self.frame

    def render(self, frame: Frame, matte: Matte) -> Matte:
        """Returns the mask as it is."""
        return matte


class TemporalContext(Protocol):
    """State carried between the frames of one stream. Each frame calls `prior`, then `update`.

    Both methods run in a worker thread.
    """

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """Returns the previous mask uint8 [h,w] for the model input uint8 [h,w,3].

        The mask is zero where the frame has no predecessor.
        """
        ...

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Records the model's mask uint8 [h,w] of that input and returns the mask to show."""
        ...


class NoContext:
    """The context of a frame without predecessor: an empty prior, and masks shown as they are."""

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """Returns zeros, uint8 [h,w] for an image [h,w,3]."""
        return np.zeros(image.shape[:2], np.uint8)

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the mask unchanged: without a stream there is no state to update."""
        return alpha


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An image fitted to the model's input, ready to be routed."""

    frame: Frame
    image: NDArray[np.uint8]
    placement: Placement
    prior: NDArray[np.uint8]
    route: PendingDecision


@dataclass(frozen=True, slots=True)
class _Prediction:
    """The model's mask `alpha` of an image, uint8 [h,w] at the model's size."""

    frame: Frame
    placement: Placement
    alpha: NDArray[np.uint8]
    decision: DomainDecision | None
    timings: Timings
    since_inference: Stopwatch

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The image's part of the mask, without the letterbox."""
        return self.alpha[inside(self.placement)]

    def full_size(self) -> NDArray[np.uint8]:
        """Returns the mask at the size of the photo."""
        return unfit(self.alpha, self.placement, self.frame.photo_hw)

    def fused_with(self, other: NDArray[np.uint8]) -> Self:
        """Fuses this prediction with another mask of the same photo, uint8 of any size."""
        alpha = self.alpha.copy()
        size_hw = (self.placement.height, self.placement.width)
        alpha[inside(self.placement)] = fuse_log_odds(resize(other, size_hw), self.mask)
        return replace(self, alpha=alpha)

    def timings_until_now(self) -> Timings:
        """Returns the timings with the postprocessing since inference, or since the last call."""
        return self.timings.plus_post(self.since_inference.lap())


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of a photo, as a photo of its own; `box` is its place in pixels of the whole."""

    frame: Frame
    box: Box
    decision: DomainDecision | None


class Segmenter(ServedModel):
    """A segmentation model: image in, mask of the image's size out. Stateless.

    `face_router` decides the domain of each photo if the model takes one. Without it every photo
    has the domain `NO_FACE`. Closing a segmenter leaves the router open, because several
    segmenters share it.
    """

    def __init__(
        self, engine: Engine, workers: ThreadPool, face_router: FaceRouter | None = None
    ) -> None:
        super().__init__(engine)
        self._workers = workers
        self.face_router = face_router if self.takes_domain else None
        self._router: DomainRouter = self.face_router or self._fixed_domain(Domain.NO_FACE)

    @property
    def takes_domain(self) -> bool:
        """True if the domain of the photo is an input of the model."""
        return self.spec.has_input("domain")

    def with_pool(self, workers: ThreadPool) -> Self:
        """Returns a segmenter of the same engine that processes pixels in other threads."""
        return type(self)(self._engine, workers, self.face_router)

    async def segment(
        self,
        frame: Frame,
        *,
        domain: Domain | None = None,
        context: TemporalContext | None = None,
    ) -> Matte:
        """Returns the mask of an image that is already decoded. Arguments and errors as `run`."""
        return await self.run(MatteTask(frame), domain=domain, context=context)

    async def run(
        self,
        task: FrameTask[T],
        *,
        domain: Domain | None = None,
        context: TemporalContext | None = None,
    ) -> T:
        """Returns the task's result for the image that it decodes and the predicted mask.

        A `domain` replaces the decision of the face router, which then does not run. With a
        `context` the image is the next frame of a stream: frames of one context run one at a
        time, and none is predicted twice. Decoding shares its thread change with the fit to the
        model, rendering with the postprocessing, because each change costs a wait.

        Raises ValueError for a domain that the model does not take, the errors of the task, and
        errors.Unavailable when an engine is full or broken.
        """
        if domain is not None and not self.takes_domain:
            raise ValueError(f"{self.spec.name} takes no domain")
        router = self._router if domain is None else self._fixed_domain(domain)
        min_size = self._min_size(router, factor=ZOOM_FACTOR if context is None else 1)
        prediction = await self._predict(
            partial(task.decode, min_size), router, context or NoContext()
        )
        result = await self._workers.run_in_thread(_postprocess, task, prediction, context)
        if isinstance(result, _Crop):
            return await self._zoom(task, prediction, result)
        return result

    async def _predict(
        self, decode: Callable[[], Frame], router: DomainRouter, context: TemporalContext
    ) -> _Prediction:
        watch = Stopwatch()
        prepared = await self._workers.run_in_thread(self._prepare, decode, router, context)
        fit_s = watch.lap()
        decision = await prepared.route()
        route_s = watch.lap()
        inference = await self._infer(self._inputs(prepared, decision))
        watch.lap()
        timings = Timings(fit_s, route_s, inference.queue_s, inference.infer_s, post_s=0)
        alpha = inference.output[0]
        return _Prediction(prepared.frame, prepared.placement, alpha, decision, timings, watch)

    async def _zoom(self, task: FrameTask[T], first: _Prediction, zoomed: _Crop) -> T:
        """Predicts the crop as well, and returns the task's result for both predictions."""
        first = replace(first, timings=first.timings_until_now())
        second = await self._predict(
            lambda: zoomed.frame, FixedDomain(zoomed.decision), NoContext()
        )
        return await self._workers.run_in_thread(
            _postprocess_zoomed, task, first, second, zoomed.box
        )

    def _fixed_domain(self, domain: Domain) -> DomainRouter:
        """Returns a router that runs no detector; its decision is None without a domain input."""
        decision = DomainDecision(domain, None, detector_ran=False) if self.takes_domain else None
        return FixedDomain(decision)

    def _min_size(self, router: DomainRouter, factor: int) -> Size:
        """Returns the sides that suffice for the router and for the model `factor` times."""
        (height, width), (router_height, router_width) = self.spec.size_hw, router.min_size
        return max(factor * height, router_height), max(factor * width, router_width)

    def _prepare(
        self, decode: Callable[[], Frame], router: DomainRouter, context: TemporalContext
    ) -> _Prepared:
        frame = decode()
        image, placement = fit(frame.rgb, self.spec.size_hw, self.spec.resize)
        prior = context.prior(image, frame.photo_hw)
        return _Prepared(frame, image, placement, prior, router.prepare(frame))

    def _inputs(self, prepared: _Prepared, decision: DomainDecision | None) -> Tensors:
        """Returns one row for each input of the model."""
        inputs: dict[str, NDArray[Any]] = {"image": prepared.image[None]}
        if self.spec.has_input("prior"):
            inputs["prior"] = prepared.prior[None]
        if decision is not None:
            inputs["domain"] = np.array([decision.domain], np.int64)
        return inputs


def _postprocess(
    task: FrameTask[T], prediction: _Prediction, context: TemporalContext | None
) -> T | _Crop:
    """Returns the task's result, or the crop of a photo that must be predicted first."""
    if context is not None:
        prediction = replace(prediction, alpha=context.update(prediction.alpha))
    quality = measure_quality(prediction.mask)
    if context is None and (zoomed := _find_crop(prediction, quality)) is not None:
        return zoomed
    alpha = prediction.full_size()
    matte = Matte(alpha, quality, prediction.decision, prediction.timings_until_now())
    return task.render(prediction.frame, matte)


def _postprocess_zoomed(task: FrameTask[T], first: _Prediction, second: _Prediction, box: Box) -> T:
    """Returns the task's result for the first mask with the second blended into `box`."""
    whole = first.full_size()
    alpha = blend_into(whole, second.fused_with(crop(whole, box)).full_size(), box)
    quality = measure_quality(resize(alpha, (first.placement.height, first.placement.width)))
    timings = first.timings + second.timings_until_now()
    return task.render(first.frame, Matte(alpha, quality, first.decision, timings, passes=2))


def _find_crop(prediction: _Prediction, quality: MaskQuality) -> _Crop | None:
    """Returns the part of the photo to predict again; None if one prediction suffices."""
    frame, decision = prediction.frame, prediction.decision
    rgb_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
    mask = empty_if_noise(prediction.mask, quality)
    box = find_crop(mask, decision.face if decision else None, rgb_hw)
    if box is None:
        return None
    in_photo = scale_box(box, rgb_hw, frame.photo_hw)
    part = Frame(crop(frame.rgb, box), (in_photo.height, in_photo.width))
    share = box.height * box.width / (rgb_hw[0] * rgb_hw[1])
    return _Crop(part, in_photo, _rescale_domain(decision, share))


def _rescale_domain(decision: DomainDecision | None, share: float) -> DomainDecision | None:
    """Rescales the face ratio to a crop of that share of the photo; a fixed domain is kept."""
    if decision is None or decision.face_ratio is None:
        return decision
    return replace(decision, domain=domain_of(decision.face_ratio / share))
