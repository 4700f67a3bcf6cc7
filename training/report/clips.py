"""What a stream shows of a labelled clip, by the code that serves streams."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.base import Engine, Inference, Tensors
from silhouette_seg.engine.wrapper import EngineWrapper
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec, ResizeRule
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.streaming.smoothing import (
    PRIOR_GAIN,
    SCENE_CUT_CHANGE,
    PreviousFrame,
    brightness_change,
    damped_prior,
    is_scene_cut,
    smooth,
)
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Size, fit
from training.benchmark.measure import cost_of
from training.data.clips import Clip, read_videos
from training.evaluation.metrics import mask_iou
from training.evaluation.temporal_stability import Alpha, dtssd, follow, steadiness

STREAMED = ("connectnet", "rcrnet")
"""Of the models of a repository, those that are fast enough for a stream."""
DIALS = (0.0, 0.5, 1.0)
WITHOUT, WHOLE = "without prior", "whole prior"
PRIORS = {WITHOUT: 0.0, WHOLE: 1 / PRIOR_GAIN, "": 1.0}
"""What the prior that a stream gives is multiplied by before the model sees it."""


@dataclass(frozen=True, slots=True)
class Showing:
    """A clip as a stream of one model shows it, at one setting of the dial."""

    clip: str
    spec: ModelSpec
    way: str
    """Of `PRIORS`; empty as it is served."""
    dial: float
    alphas: tuple[Alpha, ...]
    iou: float
    """Of person, mean over frames, in percent."""
    dtssd: float
    steadiness: float

    @property
    def label(self) -> str:
        return f"{self.spec.name} {self.way}".strip()


@dataclass(frozen=True, slots=True)
class Cuts:
    """How much a frame differs from the one before it, as `smoothing.brightness_change` has it."""

    clips: int
    pairs: int
    """Neighbours within clips."""
    within: float
    """The largest."""
    between: tuple[float, ...]
    """The end of each clip to the beginning of each other, in order of size."""

    @property
    def seen(self) -> float:
        """The share of changes of clip that `smoothing.is_scene_cut` sees."""
        return sum(each > SCENE_CUT_CHANGE for each in self.between) / len(self.between)


@dataclass(frozen=True, slots=True)
class Streamed:
    """What was measured on labelled clips."""

    clips: tuple[Clip, ...]
    showings: tuple[Showing, ...]
    reference: dict[str, float]
    """Steadiness of each clip's own masks: what the flow, and the labels, allow."""

    def of(self, clip: str, dial: float) -> list[Showing]:
        return [each for each in self.showings if (each.clip, each.dial) == (clip, dial)]


def stream_clips(specs: Sequence[ModelSpec], repository: Path, clips: Sequence[Clip]) -> Streamed:
    """Every clip through every model, with the priors that it may take, by the dial."""
    showings: list[Showing] = []
    reference: dict[str, float] = {}
    for clip in track(clips, "clips", console=Console(stderr=True), transient=True):
        places = [follow(image, before) for before, image in pairwise(clip.frames)]
        reference[clip.name] = steadiness(clip.truths, places)
        for spec in (spec for spec in specs if spec.name in STREAMED):
            for way in PRIORS if spec.has_input("prior") else ("",):
                for dial, alphas in asyncio.run(_show(spec, repository, way, clip)).items():
                    iou, restlessness = person_iou(alphas, clip.truths), dtssd(alphas, clip.truths)
                    steady = steadiness(alphas, places)
                    row = Showing(clip.name, spec, way, dial, alphas, iou, restlessness, steady)
                    showings.append(row)
    return Streamed(tuple(clips), tuple(showings), reference)


async def _show(
    spec: ModelSpec, repository: Path, way: str, clip: Clip
) -> dict[float, tuple[Alpha, ...]]:
    """The masks by the dial."""
    workers = ThreadPool(1)
    engine = Once(open_engine("onnx", spec, repository), prior=PRIORS[way])
    segmenter = Segmenter(engine, workers)
    try:
        return {dial: await play(segmenter, clip, dial) for dial in DIALS}
    finally:
        await segmenter.close()
        workers.close()


async def play(segmenter: Segmenter, clip: Clip, dial: float) -> tuple[Alpha, ...]:
    """The clip's masks, uint8 [H,W] each, from one stream at the clip's own pace."""
    now = 0.0
    session = StreamSession(StreamOptions(segmenter, smoothing=dial), clock=lambda: now)
    shown = []
    for number, rgb in enumerate(clip.frames):
        now = number / clip.fps
        shown.append(await session.segment(MaskTask(rgb)))
    return tuple(shown)


@dataclass(frozen=True, slots=True)
class MaskTask:
    """The frame task of an RGB image uint8 [H,W,3]; its result is the mask that is shown."""

    rgb: NDArray[np.uint8]

    def decode(self, min_size: Size) -> Frame:
        """Returns the image at its own size."""
        return Frame(self.rgb, (self.rgb.shape[0], self.rgb.shape[1]))

    def render(self, frame: Frame, matte: Matte) -> Alpha:
        """Renders the mask, uint8 [H,W]."""
        return render_image(RenderOptions(), frame, None, matte).image


class Once(EngineWrapper):
    """An engine that computes what it is asked for but once: the dial changes no input.

    The model sees the prior multiplied by `prior`, at most 255.
    """

    def __init__(self, engine: Engine, *, prior: float = 1.0) -> None:
        super().__init__(engine)
        self._prior = prior
        self._known: dict[bytes, Inference] = {}

    async def infer_timed(self, inputs: Tensors) -> Inference:
        if "prior" in inputs:
            told = np.minimum(self._prior * inputs["prior"].astype(np.float32), 255)
            inputs = {**inputs, "prior": told.astype(np.uint8)}
        key = b"".join(inputs[name].tobytes() for name in sorted(inputs))
        if key not in self._known:
            self._known[key] = await super().infer_timed(inputs)
        return self._known[key]


def person_iou(alphas: Sequence[Alpha], truths: Sequence[Alpha]) -> float:
    """Mean over frames, in percent; two empty masks agree."""
    pairs = zip(alphas, truths, strict=True)
    return float(100 * np.mean([mask_iou(alpha > 127, truth > 127) for alpha, truth in pairs]))


def measure_cuts(data: Path, clips: Sequence[Clip], *, frames: int, size_hw: Size) -> Cuts | None:
    """Of every clip, labelled or not; None where there are not two."""
    within: list[float] = []
    ends = []
    for images in _fitted(data, clips, frames, size_hw):
        within += [brightness_change(image, before) for before, image in pairwise(images)]
        ends.append((images[0], images[-1]))
    if len(ends) < 2:
        return None
    between = sorted(
        brightness_change(begin, end) for (_, end), (begin, _) in permutations(ends, 2)
    )
    return Cuts(len(ends), len(within), max(within), tuple(between))


def _fitted(
    data: Path, clips: Sequence[Clip], frames: int, size_hw: Size
) -> Iterator[list[NDArray[np.uint8]]]:
    """The frames of each clip as a model is given them."""
    played = [(clip.name, clip.frames) for clip in clips]
    for _, images in chain(played, read_videos(data, frames=frames)):
        yield [fit(image, size_hw, ResizeRule.STRETCH)[0] for image in images]


def smoothing_ms(hw: Size) -> float:
    """Processor time of what a frame's memory costs beside the model: cut, smoothing and hint."""
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (*hw, 3), np.uint8) for _ in range(2))
    alpha, shown = (rng.integers(0, 256, hw, np.uint8) for _ in range(2))
    before = PreviousFrame(other, alpha, shown)

    def call() -> None:
        is_scene_cut(one, other)
        smooth(alpha, one, before, 0.5)
        damped_prior(alpha)

    return cost_of(call, calls=200, budget_s=2).cpu_ms


def restless(streamed: Streamed, count: int) -> tuple[Clip, slice]:
    """The `count` neighbours, of all clips, in which the first model flickers most."""
    firsts = [(clip, streamed.of(clip.name, 0.0)[0].alphas) for clip in streamed.clips]
    places = [
        (dtssd(alphas[start : start + count], clip.truths[start : start + count]), row, start)
        for row, (clip, alphas) in enumerate(firsts)
        for start in range(max(1, len(alphas) - count + 1))
    ]
    _, row, start = max(places)
    return firsts[row][0], slice(start, start + count)
