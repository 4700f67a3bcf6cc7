"""Segments one image with one model: resize, choose the domain, infer, postprocess, render.

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
    FacesOfDomain,
    FixedDomain,
    PendingDecision,
)
from silhouette_seg.pipeline.faces import Domain, DomainDecision, domain_of
from silhouette_seg.pipeline.model_input import fit_photo
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.pipeline.temporal_context import NoContext, TemporalContext
from silhouette_seg.pipeline.timings import Stopwatch, Timings
from silhouette_seg.pipeline.zoom import (
    ZOOM_FACTOR,
    blend_into,
    crop,
    find_crop,
    fuse_log_odds,
    scale_box,
)
from silhouette_seg.runtime.thread_pool import Workers
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, inside, resize, unfit
from silhouette_seg.vision.mask.opacity import VisibleMask
from silhouette_seg.vision.mask.quality import Box, MaskQuality, empty_if_noise, measure_quality

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Matte:
    """The predicted alpha mask of a photo, with measures of its quality."""

    alpha: NDArray[np.uint8]
    """Mask uint8 [*photo_hw], 0 = background or clear, 255 = person.

    It is the mask of the photo on white; see `vision.mask.opacity`.
    """
    quality: MaskQuality
    """Measures of the mask at the model's resolution."""
    decision: DomainDecision | None
    """Distance domain of the whole photo, from head shot to far shot, and the face that decided it.

    None if the model takes no domain and no face was searched for.
    """
    timings: Timings
    passes: int = 1
    """Number of predictions: 2 if a small person was predicted again on a crop, else 1."""
    cut_out: bool = False
    """True if the transparency of the photo is already the mask of its people."""


class FrameTask(Protocol[T_co]):
    """Work on one image before and after its prediction: decoding it, and rendering the result.

    Both methods run in a worker thread, `decode` first.
    """

    def decode(self, min_size: Size) -> Frame:
        """Returns the decoded image.

        A decoder may halve it while both sides stay at least `min_size` (height, width).
        """
        ...

    def render(self, frame: Frame, matte: Matte) -> T_co:
        """Returns the result of the task for the decoded image and its predicted mask."""
        ...


@dataclass(frozen=True, slots=True)
class MatteTask:
    """Task for an image that is already decoded; its result is the predicted mask, a Matte."""

    frame: Frame

    def decode(self, min_size: Size) -> Frame:
        """Returns the image at its own size, regardless of `min_size`."""
        return self.frame

    def render(self, frame: Frame, matte: Matte) -> Matte:
        """Returns the predicted mask as it is."""
        return matte


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A decoded image, resized to the model's input, before its domain is known.

    `image` is that input, uint8 [h,w,3], and `placement` the rectangle that the photo covers in it.
    `prior` is the mask of the previous frame, uint8 [h,w]. `route` completes the choice of the
    domain.
    """

    frame: Frame
    image: NDArray[np.uint8]
    placement: Placement
    prior: NDArray[np.uint8]
    route: PendingDecision


@dataclass(frozen=True, slots=True)
class _Prediction:
    """The model's mask `alpha` of an image, uint8 [h,w] at the model's size, letterbox included.

    `placement` is the rectangle of it that the image covers.
    """

    frame: Frame
    placement: Placement
    alpha: NDArray[np.uint8]
    decision: DomainDecision | None
    timings: Timings
    since_inference: Stopwatch

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Part of the mask that the image covers, uint8 [h,w], without the letterbox."""
        return self.alpha[inside(self.placement)]

    def full_size(self) -> NDArray[np.uint8]:
        """Returns the mask at the size of the photo, uint8 [*photo_hw]."""
        return unfit(self.alpha, self.placement, self.frame.photo_hw)

    def fused_with(self, other: NDArray[np.uint8]) -> Self:
        """Returns a copy of this prediction with its mask fused with `other` by `fuse_log_odds`.

        `other` is a mask of the same photo, uint8 of any size.
        """
        alpha = self.alpha.copy()
        size_hw = (self.placement.height, self.placement.width)
        alpha[inside(self.placement)] = fuse_log_odds(resize(other, size_hw), self.mask)
        return replace(self, alpha=alpha)

    def timings_until_now(self) -> Timings:
        """Returns the timings up to now.

        The time since inference, or since the last call, counts as postprocessing.
        """
        return self.timings.plus_post(self.since_inference.lap())


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of a photo, treated as a photo of its own in a second prediction.

    `box` is its place in pixels of the whole photo, and `decision` its domain.
    """

    frame: Frame
    box: Box
    decision: DomainDecision | None


class Segmenter(ServedModel):
    """A segmentation model: an image in, a mask of the image's size out. Stateless.

    `face_router` finds the face and the distance domain of each photo if the model takes a domain,
    else of the photos whose face is asked for. Without it every photo has the domain `NO_FACE`.
    Closing a segmenter leaves the face router open, because several segmenters share it.
    """

    def __init__(
        self, engine: Engine, workers: Workers, face_router: FaceRouter | None = None
    ) -> None:
        super().__init__(engine)
        self._workers = workers
        self._face_router = face_router

    @property
    def takes_domain(self) -> bool:
        """True if the model has the distance domain of the photo as an input."""
        return self.spec.has_input("domain")

    def with_pool(self, workers: Workers) -> Self:
        """Returns a segmenter of the same engine that works in the threads of `workers`."""
        return type(self)(self._engine, workers, self._face_router)

    def face_router(self, *, find_faces: bool) -> FaceRouter | None:
        """Returns the face router if `run` uses it for a photo without a given domain, else None.

        `find_faces` has the meaning that it has in `run`.
        """
        return self._face_router if self.takes_domain or find_faces else None

    async def segment(
        self,
        frame: Frame,
        *,
        domain: Domain | None = None,
        find_faces: bool = False,
        context: TemporalContext | None = None,
    ) -> Matte:
        """Returns the mask of an image that is already decoded.

        Options and errors are those of `run`.
        """
        return await self.run(
            MatteTask(frame), domain=domain, find_faces=find_faces, context=context
        )

    async def run(
        self,
        task: FrameTask[T],
        *,
        domain: Domain | None = None,
        find_faces: bool = False,
        context: TemporalContext | None = None,
    ) -> T:
        """Decodes a task's image, predicts its mask, and returns the result that the task renders.

        A `domain` replaces the decision of the face router. With `find_faces` the face router also
        runs for a model that takes no domain, and for a photo with a given domain. With a
        `context` the image is the next frame of a stream: frames of one context run one at a time,
        and none is predicted twice. Decoding runs in the same thread call as the resize, rendering
        as the postprocessing, because each change of thread costs a wait.

        Raises ValueError for a domain that the model does not take, the errors of the task, and
        errors.Unavailable when an engine is full or broken.
        """
        if domain is not None and not self.takes_domain:
            raise ValueError(f"{self.spec.name} takes no domain")
        router = self._select_router(domain, find_faces=find_faces)
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
        """Predicts a crop of the photo too, and returns the task's result for both masks.

        `first` is the prediction of the whole photo, and `zoomed` is the crop.
        """
        first = replace(first, timings=first.timings_until_now())
        second = await self._predict(
            lambda: zoomed.frame, FixedDomain(zoomed.decision), NoContext()
        )
        return await self._workers.run_in_thread(
            _postprocess_zoomed, task, first, second, zoomed.box
        )

    def _select_router(self, domain: Domain | None, *, find_faces: bool) -> DomainRouter:
        face_router = self.face_router(find_faces=find_faces)
        if domain is None:
            return face_router or self._fixed_domain(Domain.NO_FACE)
        if find_faces and face_router is not None:
            return FacesOfDomain(face_router, domain)
        return self._fixed_domain(domain)

    def _fixed_domain(self, domain: Domain) -> DomainRouter:
        """Returns a domain router that decides for `domain` without running the face detector.

        Its decision is None if the model takes no domain.
        """
        decision = DomainDecision(domain, (), detector_ran=False) if self.takes_domain else None
        return FixedDomain(decision)

    def _min_size(self, router: DomainRouter, factor: int) -> Size:
        """Returns the smallest (height, width), in pixels, at which a photo is decoded.

        It suffices for `router`, the domain router, which finds the face. It is also at least
        `factor` times the model's input.
        """
        (height, width), (router_height, router_width) = self.spec.size_hw, router.min_size
        return max(factor * height, router_height), max(factor * width, router_width)

    def _prepare(
        self, decode: Callable[[], Frame], router: DomainRouter, context: TemporalContext
    ) -> _Prepared:
        frame = decode()
        image, placement = fit_photo(frame, self.spec.size_hw, self.spec.resize)
        prior = context.prior(image, frame.photo_hw)
        return _Prepared(frame, image, placement, prior, router.prepare(frame))

    def _inputs(self, prepared: _Prepared, decision: DomainDecision | None) -> Tensors:
        """Returns the model's input tensors by name, with one row each.

        `image` is uint8 [1,h,w,3]. A model may also take `prior`, uint8 [1,h,w], the mask of the
        previous frame, which is zeros if there is none. It may take `domain`, int64 [1].
        """
        inputs: dict[str, NDArray[Any]] = {"image": prepared.image[None]}
        if self.spec.has_input("prior"):
            inputs["prior"] = prepared.prior[None]
        if self.takes_domain and decision is not None:
            inputs["domain"] = np.array([decision.domain], np.int64)
        return inputs


def _postprocess(
    task: FrameTask[T], prediction: _Prediction, context: TemporalContext | None
) -> T | _Crop:
    """Returns the task's result for a prediction, or a crop that must be predicted first.

    Only a photo is cropped. A stream has a `context`, which may smooth the mask.
    """
    if context is not None:
        prediction = replace(prediction, alpha=context.update(prediction.alpha))
    visible = VisibleMask.of(prediction.mask, prediction.frame.opacity)
    quality = measure_quality(visible.mask)
    if context is None and (zoomed := _find_crop(prediction, visible, quality)) is not None:
        return zoomed
    alpha = visible.enlarged(prediction.full_size())
    timings = prediction.timings_until_now()
    matte = Matte(alpha, quality, prediction.decision, timings, cut_out=visible.cut_out)
    return task.render(prediction.frame, matte)


def _postprocess_zoomed(task: FrameTask[T], first: _Prediction, second: _Prediction, box: Box) -> T:
    """Returns the task's result for the prediction of a photo and that of a crop of it.

    The second mask is fused with the first inside `box`, the crop in pixels of the photo, and
    blended into it.
    """
    whole = first.full_size()
    alpha = blend_into(whole, second.fused_with(crop(whole, box)).full_size(), box)
    mask = resize(alpha, (first.placement.height, first.placement.width))
    visible = VisibleMask.of(mask, first.frame.opacity)
    alpha, quality = visible.enlarged(alpha), measure_quality(visible.mask)
    timings = first.timings + second.timings_until_now()
    matte = Matte(alpha, quality, first.decision, timings, passes=2, cut_out=visible.cut_out)
    return task.render(first.frame, matte)


def _find_crop(prediction: _Prediction, visible: VisibleMask, quality: MaskQuality) -> _Crop | None:
    """Returns the part of the photo to predict a second time; None if one prediction suffices."""
    if visible.cut_out:
        return None
    frame, decision = prediction.frame, prediction.decision
    rgb_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
    mask = empty_if_noise(visible.mask, quality)
    box = find_crop(mask, decision.face if decision else None, rgb_hw)
    if box is None:
        return None
    in_photo = scale_box(box, rgb_hw, frame.photo_hw)
    opacity = None if frame.opacity is None else crop(frame.opacity, box)
    part = Frame(crop(frame.rgb, box), (in_photo.height, in_photo.width), opacity=opacity)
    share = box.height * box.width / (rgb_hw[0] * rgb_hw[1])
    return _Crop(part, in_photo, _rescale_domain(decision, share))


def _rescale_domain(decision: DomainDecision | None, share: float) -> DomainDecision | None:
    """Returns the domain decision for a crop that covers the given share of the photo, 0..1.

    The face ratio grows by 1 / `share`. A decision without a search for faces stays unchanged.
    """
    if decision is None or decision.face_ratio is None:
        return decision
    return replace(decision, domain=domain_of(decision.face_ratio / share))
