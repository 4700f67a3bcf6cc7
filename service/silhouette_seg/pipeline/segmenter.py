"""One photo through one model: fit, route, infer, unfit; twice where that helps. Stateless."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Inference, Tensors, with_timings
from silhouette_seg.pipeline.domain_router import (
    DomainRouter,
    FaceRouter,
    FixedDomain,
    PendingDecision,
)
from silhouette_seg.pipeline.faces import Domain, DomainDecision, domain_of
from silhouette_seg.pipeline.zoom import (
    ZOOM_FACTOR,
    blend_into,
    crop,
    find_crop,
    fuse_log_odds,
    scale_box,
)
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, fit, inside, resize, unfit
from silhouette_seg.vision.mask.quality import Box, MaskQuality, empty_if_noise, measure_quality

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of each stage, of all looks together, waits for a free thread included."""

    fit_s: float
    """Loading included."""
    route_s: float
    """Finding the domain, where the model takes one."""
    queue_s: float
    """Waiting for the engine."""
    infer_s: float
    post_s: float

    def __add__(self, other: "Timings") -> "Timings":
        return Timings(
            fit_s=self.fit_s + other.fit_s,
            route_s=self.route_s + other.route_s,
            queue_s=self.queue_s + other.queue_s,
            infer_s=self.infer_s + other.infer_s,
            post_s=self.post_s + other.post_s,
        )

    def plus_post(self, post_s: float) -> "Timings":
        """With so much more of the last stage."""
        return replace(self, post_s=self.post_s + post_s)

    def response_stages(self, paint_s: float, encode_s: float) -> dict[str, float]:
        """Those of an answer that is an image file, painted and encoded after the matte came."""
        whole = self.plus_post(paint_s).stages()
        return {"decode": whole.pop("fit"), **whole, "encode": encode_s}

    def stages(self) -> dict[str, float]:
        """By the names that metrics and `Server-Timing` use, in order."""
        return {
            "fit": self.fit_s,
            "route": self.route_s,
            "queue": self.queue_s,
            "infer": self.infer_s,
            "post": self.post_s,
        }


@dataclass(frozen=True, slots=True)
class Matte:
    """`alpha` is uint8 [*photo_hw], 255 = person; `quality` is of it at the model's size;
    `routed` is of the whole photo, and None where the model takes no domain.
    """

    alpha: NDArray[np.uint8]
    quality: MaskQuality
    decision: DomainDecision | None
    timings: Timings
    passes: int = 1
    """Times that the model was asked, see silhouette_seg.pipeline.zoom."""


class TemporalContext(Protocol):
    """What a stream knows of the frames before this one. Both are called in a worker, in turn."""

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """The mask before this one, uint8 [h,w] for an image [h,w,3]; zeros for none."""
        ...

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What to show for the mask uint8 [h,w] that the model gave for that image."""
        ...


class NoContext:
    """A photo has no frame before it."""

    def prior(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        return np.zeros(image.shape[:2], np.uint8)

    def update(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return alpha


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A photo fitted to the model; `route` finds its domain."""

    frame: Frame
    image: NDArray[np.uint8]
    placement: Placement
    prior: NDArray[np.uint8]
    route: PendingDecision


@dataclass(frozen=True, slots=True)
class _Prediction:
    """A photo that the model has looked at; `alpha` is what it gave, at its own size."""

    frame: Frame
    placement: Placement
    alpha: NDArray[np.uint8]
    decision: DomainDecision | None
    timings: Timings

    def full_size(self) -> NDArray[np.uint8]:
        """The mask at the size of the photo."""
        return unfit(self.alpha, self.placement, self.frame.photo_hw)

    def fused_with(self, other: NDArray[np.uint8]) -> Self:
        """As seen by one who knows another mask of the same photo, of any size."""
        place, alpha = inside(self.placement), self.alpha.copy()
        size_hw = (self.placement.height, self.placement.width)
        alpha[place] = fuse_log_odds(resize(other, size_hw), alpha[place])
        return replace(self, alpha=alpha)


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of a photo as a photo of its own, and where it lies in the whole, in its pixels."""

    frame: Frame
    box: Box
    decision: DomainDecision | None


class Segmenter:
    """A model with its pixels: photo in, matte of the photo's size out.

    Where the model takes a domain `faces` finds that of each photo; without `faces` every photo
    is one without a face.
    """

    def __init__(
        self, engine: Engine, workers: ThreadPool, face_router: FaceRouter | None = None
    ) -> None:
        self._engine = engine
        self._workers = workers
        self._infer = with_timings(engine)
        self.face_router = face_router if self.takes_domain else None
        nobody_looks = (
            DomainDecision(Domain.NO_FACE, None, detector_ran=False) if self.takes_domain else None
        )
        self._router: DomainRouter = self.face_router or FixedDomain(nobody_looks)

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def digest(self) -> str:
        """sha256 of the weights, in hexadecimal."""
        return self.spec.sha256

    @property
    def takes_domain(self) -> bool:
        return self.spec.has_input("domain")

    def with_pool(self, workers: ThreadPool) -> Self:
        """The same model with other threads for its pixels."""
        return type(self)(self._engine, workers, self.face_router)

    async def segment(self, frame: Frame, *, domain: Domain | None = None) -> Matte:
        """Raises errors.Unavailable when an engine is full or broken."""
        return await self.run(lambda _: frame, lambda _, matte: matte, domain=domain)

    async def run(
        self,
        load: Callable[[Size], Frame],
        finish: Callable[[Frame, Matte], T],
        *,
        domain: Domain | None = None,
        context: TemporalContext | None = None,
    ) -> T:
        """What `finish` makes of the photo that `load` gives, and of its matte.

        `load` is told the sides that are enough: a decoder may halve a photo while both stay as
        long, and so does `fit` itself. Both are called in a thread, together with the work that
        is next to them, because every change of threads costs a wait. A `domain` is used as it
        is and nobody looks for a face; raises ValueError where the model takes none. With a
        `memory` the photo is the next frame of its stream, which has no other in work and no
        time for a second look. Raises what they raise, and errors.Unavailable when an engine is
        full or broken.
        """
        router = self._router if domain is None else self._fixed_domain(domain)
        temporal = context or NoContext()
        sides = self._sides(router, ZOOM_FACTOR if context is None else 1)
        first = await self._predict(partial(load, sides), router, temporal)
        lap = _stopwatch()

        def complete() -> T | _Crop:
            seen = replace(first, alpha=temporal.update(first.alpha))
            measured = measure_quality(seen.alpha[inside(seen.placement)])
            window = _find_crop(seen, measured) if context is None else None
            if window is not None:
                return window
            alpha = seen.full_size()
            timings = seen.timings.plus_post(lap())
            return finish(seen.frame, Matte(alpha, measured, seen.decision, timings))

        done = await self._workers.run_in_thread(complete)
        if not isinstance(done, _Crop):
            return done
        return await self._predict_crop(
            replace(first, timings=first.timings.plus_post(lap())), done, finish
        )

    async def _predict_crop(
        self, first: _Prediction, window: _Crop, finish: Callable[[Frame, Matte], T]
    ) -> T:
        """What `finish` makes of the photo when its window was looked at too."""
        second = await self._predict(
            lambda: window.frame, FixedDomain(window.decision), NoContext()
        )
        lap = _stopwatch()

        def complete() -> T:
            whole = first.full_size()
            alpha = blend_into(
                whole, second.fused_with(crop(whole, window.box)).full_size(), window.box
            )
            placement = first.placement
            measured = measure_quality(resize(alpha, (placement.height, placement.width)))
            timings = (first.timings + second.timings).plus_post(lap())
            return finish(first.frame, Matte(alpha, measured, first.decision, timings, passes=2))

        return await self._workers.run_in_thread(complete)

    async def _predict(
        self, load: Callable[[], Frame], router: DomainRouter, context: TemporalContext
    ) -> _Prediction:
        lap = _stopwatch()
        prepared = await self._workers.run_in_thread(self._prepare, load, router, context)
        fit_s = lap()
        routed = await prepared.route()
        route_s = lap()
        inference = await self._infer(self._inputs(prepared, routed))
        timings = Timings(fit_s, route_s, inference.queue_s, inference.infer_s, post_s=0)
        return _Prediction(prepared.frame, prepared.placement, inference.output[0], routed, timings)

    def _fixed_domain(self, domain: Domain) -> DomainRouter:
        if not self.takes_domain:
            raise ValueError(f"{self.spec.name} takes no domain")
        return FixedDomain(DomainDecision(domain, None, detector_ran=False))

    def _sides(self, router: DomainRouter, detail: int) -> Size:
        """Pixels that are enough to be looked at with so many times the model's detail."""
        (height, width), (also_height, also_width) = self.spec.size_hw, router.min_size
        return max(detail * height, also_height), max(detail * width, also_width)

    def _prepare(
        self, load: Callable[[], Frame], router: DomainRouter, context: TemporalContext
    ) -> _Prepared:
        frame = load()
        image, placement = fit(frame.rgb, self.spec.size_hw, self.spec.resize)
        prior = context.prior(image, frame.photo_hw)
        return _Prepared(frame, image, placement, prior, router.prepare(frame))

    def _inputs(self, prepared: _Prepared, routed: DomainDecision | None) -> Tensors:
        """One row of each input of the model."""
        inputs: dict[str, NDArray[Any]] = {"image": prepared.image[None]}
        if self.spec.has_input("prior"):
            inputs["prior"] = prepared.prior[None]
        if routed is not None:
            inputs["domain"] = np.array([routed.domain], np.int64)
        return inputs

    async def infer(self, inputs: Tensors) -> Inference:
        """For who brings the model's own inputs, and no photo; raises what its engine does."""
        return await self._infer(inputs)

    async def close(self) -> None:
        """Closes its engine; `faces` may be others' too."""
        await self._engine.close()


def _find_crop(seen: _Prediction, measured: MaskQuality) -> _Crop | None:
    """What of the photo to look at again; None where the first look is enough."""
    frame, routed = seen.frame, seen.decision
    rgb_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
    mask = empty_if_noise(seen.alpha[inside(seen.placement)], measured)
    box = find_crop(mask, routed.face if routed else None, rgb_hw)
    if box is None:
        return None
    in_photo = scale_box(box, rgb_hw, frame.photo_hw)
    part = Frame(crop(frame.rgb, box), (in_photo.height, in_photo.width))
    return _Crop(
        part, in_photo, _rescale_domain(routed, box.height * box.width / (rgb_hw[0] * rgb_hw[1]))
    )


def _rescale_domain(routed: DomainDecision | None, share: float) -> DomainDecision | None:
    """For a window of that share of the photo. What somebody told stays as it is."""
    if routed is None or routed.face_ratio is None:
        return routed
    return replace(routed, domain=domain_of(routed.face_ratio / share))


def _stopwatch() -> Callable[[], float]:
    """Each call gives the seconds since the one before."""
    last = perf_counter()

    def lap() -> float:
        nonlocal last
        before, last = last, perf_counter()
        return last - before

    return lap
