"""One photo through one model: fit, route, infer, unfit; twice where that helps. Stateless."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Inference, Tensors, with_timings
from silhouette_seg.pipeline.domain_router import FaceRouter, Pending, Routed, Router, Told
from silhouette_seg.pipeline.faces import Domain, domain_of
from silhouette_seg.pipeline.zoom import DETAIL, agree, cut, find_window, merge, scaled
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, fit, inside, shrink, unfit
from silhouette_seg.vision.mask.quality import Box, MaskQuality, only_person, quality

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

    def later(self, post_s: float) -> "Timings":
        """With so much more of the last stage."""
        return replace(self, post_s=self.post_s + post_s)

    def served(self, paint_s: float, encode_s: float) -> dict[str, float]:
        """Those of an answer that is an image file, painted and encoded after the matte came."""
        whole = self.later(paint_s).stages()
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
    routed: Routed | None
    timings: Timings
    looks: int = 1
    """Times that the model was asked, see silhouette_seg.pipeline.zoom."""


class Memory(Protocol):
    """What a stream knows of the frames before this one. Both are called in a worker, in turn."""

    def recall(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """The mask before this one, uint8 [h,w] for an image [h,w,3]; zeros for none."""
        ...

    def keep(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What to show for the mask uint8 [h,w] that the model gave for that image."""
        ...


class NoMemory:
    """A photo has no frame before it."""

    def recall(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        return np.zeros(image.shape[:2], np.uint8)

    def keep(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return alpha


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A photo fitted to the model; `route` finds its domain."""

    frame: Frame
    image: NDArray[np.uint8]
    placement: Placement
    prior: NDArray[np.uint8]
    route: Pending


@dataclass(frozen=True, slots=True)
class _Seen:
    """A photo that the model has looked at; `alpha` is what it gave, at its own size."""

    frame: Frame
    placement: Placement
    alpha: NDArray[np.uint8]
    routed: Routed | None
    timings: Timings

    def whole(self) -> NDArray[np.uint8]:
        """The mask at the size of the photo."""
        return unfit(self.alpha, self.placement, self.frame.photo_hw)

    def told(self, other: NDArray[np.uint8]) -> Self:
        """As seen by one who knows another mask of the same photo, of any size."""
        place, alpha = inside(self.placement), self.alpha.copy()
        size_hw = (self.placement.height, self.placement.width)
        alpha[place] = agree(shrink(other, size_hw), alpha[place])
        return replace(self, alpha=alpha)


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a photo as a photo of its own, and where it lies in the whole, in its pixels."""

    frame: Frame
    box: Box
    routed: Routed | None


class Segmenter:
    """A model with its pixels: photo in, matte of the photo's size out.

    Where the model takes a domain `faces` finds that of each photo; without `faces` every photo
    is one without a face.
    """

    def __init__(
        self, engine: Engine, workers: ThreadPool, faces: FaceRouter | None = None
    ) -> None:
        self._engine = engine
        self._workers = workers
        self._infer = with_timings(engine)
        self.faces = faces if self.takes_domain else None
        nobody_looks = Routed(Domain.NO_FACE, None, looked=False) if self.takes_domain else None
        self._router: Router = self.faces or Told(nobody_looks)

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

    def on(self, workers: ThreadPool) -> Self:
        """The same model with other threads for its pixels."""
        return type(self)(self._engine, workers, self.faces)

    async def segment(self, frame: Frame, *, domain: Domain | None = None) -> Matte:
        """Raises errors.Unavailable when an engine is full or broken."""
        return await self.run(lambda _: frame, lambda _, matte: matte, domain=domain)

    async def run(
        self,
        load: Callable[[Size], Frame],
        finish: Callable[[Frame, Matte], T],
        *,
        domain: Domain | None = None,
        memory: Memory | None = None,
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
        router = self._router if domain is None else self._told(domain)
        remembered = memory or NoMemory()
        sides = self._sides(router, DETAIL if memory is None else 1)
        first = await self._look(partial(load, sides), router, remembered)
        lap = _stopwatch()

        def complete() -> T | _Window:
            seen = replace(first, alpha=remembered.keep(first.alpha))
            measured = quality(seen.alpha[inside(seen.placement)])
            window = _window(seen, measured) if memory is None else None
            if window is not None:
                return window
            alpha = seen.whole()
            timings = seen.timings.later(lap())
            return finish(seen.frame, Matte(alpha, measured, seen.routed, timings))

        done = await self._workers.run_in_thread(complete)
        if not isinstance(done, _Window):
            return done
        return await self._look_again(
            replace(first, timings=first.timings.later(lap())), done, finish
        )

    async def _look_again(
        self, first: _Seen, window: _Window, finish: Callable[[Frame, Matte], T]
    ) -> T:
        """What `finish` makes of the photo when its window was looked at too."""
        second = await self._look(lambda: window.frame, Told(window.routed), NoMemory())
        lap = _stopwatch()

        def complete() -> T:
            whole = first.whole()
            alpha = merge(whole, second.told(cut(whole, window.box)).whole(), window.box)
            placement = first.placement
            measured = quality(shrink(alpha, (placement.height, placement.width)))
            timings = (first.timings + second.timings).later(lap())
            return finish(first.frame, Matte(alpha, measured, first.routed, timings, looks=2))

        return await self._workers.run_in_thread(complete)

    async def _look(self, load: Callable[[], Frame], router: Router, memory: Memory) -> _Seen:
        lap = _stopwatch()
        prepared = await self._workers.run_in_thread(self._prepare, load, router, memory)
        fit_s = lap()
        routed = await prepared.route()
        route_s = lap()
        inference = await self._infer(self._inputs(prepared, routed))
        timings = Timings(fit_s, route_s, inference.queue_s, inference.infer_s, post_s=0)
        return _Seen(prepared.frame, prepared.placement, inference.output[0], routed, timings)

    def _told(self, domain: Domain) -> Router:
        if not self.takes_domain:
            raise ValueError(f"{self.spec.name} takes no domain")
        return Told(Routed(domain, None, looked=False))

    def _sides(self, router: Router, detail: int) -> Size:
        """Pixels that are enough to be looked at with so many times the model's detail."""
        (height, width), (also_height, also_width) = self.spec.size_hw, router.at_least
        return max(detail * height, also_height), max(detail * width, also_width)

    def _prepare(self, load: Callable[[], Frame], router: Router, memory: Memory) -> _Prepared:
        frame = load()
        image, placement = fit(frame.rgb, self.spec.size_hw, self.spec.resize)
        prior = memory.recall(image, frame.photo_hw)
        return _Prepared(frame, image, placement, prior, router.look(frame))

    def _inputs(self, prepared: _Prepared, routed: Routed | None) -> Tensors:
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


def _window(seen: _Seen, measured: MaskQuality) -> _Window | None:
    """What of the photo to look at again; None where the first look is enough."""
    frame, routed = seen.frame, seen.routed
    rgb_hw = (frame.rgb.shape[0], frame.rgb.shape[1])
    mask = only_person(seen.alpha[inside(seen.placement)], measured)
    box = find_window(mask, routed.face if routed else None, rgb_hw)
    if box is None:
        return None
    in_photo = scaled(box, rgb_hw, frame.photo_hw)
    part = Frame(cut(frame.rgb, box), (in_photo.height, in_photo.width))
    return _Window(
        part, in_photo, _closer(routed, box.height * box.width / (rgb_hw[0] * rgb_hw[1]))
    )


def _closer(routed: Routed | None, share: float) -> Routed | None:
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
