"""Measures labelled clips through the code that serves streams."""

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
from training.benchmark.measure import measure_cost
from training.data.clips import Clip, read_videos
from training.evaluation.metrics import mask_iou
from training.evaluation.temporal_stability import Alpha, dtssd, previous_positions, warped_iou

STREAM_MODELS = ("connectnet", "rcrnet")
"""Models that are fast enough for a stream."""
SMOOTHINGS = (0.0, 0.5, 1.0)
NO_PRIOR, FULL_PRIOR = "without prior", "whole prior"
PRIOR_FACTORS = {NO_PRIOR: 0.0, FULL_PRIOR: 1 / PRIOR_GAIN, "": 1.0}
"""Factors for the prior of a stream, before the model receives it."""


@dataclass(frozen=True, slots=True)
class ClipResult:
    """Masks and metrics of a clip in a stream of one model, at one smoothing strength."""

    clip: str
    spec: ModelSpec
    prior: str
    """Key of `PRIOR_FACTORS`; empty for the prior as served."""
    smoothing: float
    alphas: tuple[Alpha, ...]
    iou: float
    """Person IoU, mean over frames, in percent."""
    dtssd: float
    warped_iou: float

    @property
    def label(self) -> str:
        return f"{self.spec.name} {self.prior}".strip()


@dataclass(frozen=True, slots=True)
class CutFigures:
    """Brightness changes between frames, as `smoothing.brightness_change` measures them."""

    clips: int
    pairs: int
    """Number of pairs of neighbouring frames within clips."""
    within: float
    """Largest change within a clip."""
    between: tuple[float, ...]
    """Sorted changes from the end of each clip to the beginning of each other."""

    @property
    def detected_share(self) -> float:
        """Share of the transitions between clips that `smoothing.is_scene_cut` detects."""
        return sum(change > SCENE_CUT_CHANGE for change in self.between) / len(self.between)


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Metrics of labelled clips."""

    clips: tuple[Clip, ...]
    clip_results: tuple[ClipResult, ...]
    reference: dict[str, float]
    """Warped IoU of the reference masks of each clip: the limit set by optical flow and labels."""

    def select(self, clip: str, smoothing: float) -> list[ClipResult]:
        """Returns the results of every model and prior for one clip."""
        return [
            result
            for result in self.clip_results
            if (result.clip, result.smoothing) == (clip, smoothing)
        ]


def measure_streams(
    specs: Sequence[ModelSpec], repository: Path, clips: Sequence[Clip]
) -> StreamFigures:
    """Runs every clip through every model, with each prior and smoothing strength."""
    clip_results: list[ClipResult] = []
    reference: dict[str, float] = {}
    for clip in track(clips, "clips", console=Console(stderr=True), transient=True):
        positions = [
            previous_positions(image, previous) for previous, image in pairwise(clip.frames)
        ]
        reference[clip.name] = warped_iou(clip.truths, positions)
        for spec in (spec for spec in specs if spec.name in STREAM_MODELS):
            for prior in PRIOR_FACTORS if spec.has_input("prior") else ("",):
                masks = asyncio.run(_masks_by_smoothing(spec, repository, prior, clip))
                clip_results += [
                    ClipResult(
                        clip=clip.name,
                        spec=spec,
                        prior=prior,
                        smoothing=smoothing,
                        alphas=alphas,
                        iou=mean_person_iou(alphas, clip.truths),
                        dtssd=dtssd(alphas, clip.truths),
                        warped_iou=warped_iou(alphas, positions),
                    )
                    for smoothing, alphas in masks.items()
                ]
    return StreamFigures(tuple(clips), tuple(clip_results), reference)


async def _masks_by_smoothing(
    spec: ModelSpec, repository: Path, prior: str, clip: Clip
) -> dict[float, tuple[Alpha, ...]]:
    """Returns the masks of a clip by smoothing strength."""
    workers = ThreadPool(1)
    engine = CachedEngine(open_engine("onnx", spec, repository), prior=PRIOR_FACTORS[prior])
    segmenter = Segmenter(engine, workers)
    try:
        return {
            smoothing: await stream_masks(segmenter, clip, smoothing) for smoothing in SMOOTHINGS
        }
    finally:
        await segmenter.close()
        workers.close()


async def stream_masks(segmenter: Segmenter, clip: Clip, smoothing: float) -> tuple[Alpha, ...]:
    """Returns the masks of a clip, uint8 [H,W] each, from one stream at the clip's frame rate."""
    now = 0.0
    session = StreamSession(StreamOptions(segmenter, smoothing=smoothing), clock=lambda: now)
    masks = []
    for number, rgb in enumerate(clip.frames):
        now = number / clip.fps
        masks.append(await session.segment(MaskTask(rgb)))
    return tuple(masks)


@dataclass(frozen=True, slots=True)
class MaskTask:
    """Frame task of an RGB image uint8 [H,W,3]; its result is the smoothed mask."""

    rgb: NDArray[np.uint8]

    def decode(self, min_size: Size) -> Frame:
        """Returns the image at its own size."""
        return Frame(self.rgb, (self.rgb.shape[0], self.rgb.shape[1]))

    def render(self, frame: Frame, matte: Matte) -> Alpha:
        """Renders the mask, uint8 [H,W]."""
        return render_image(RenderOptions(), frame, None, matte).image


class CachedEngine(EngineWrapper):
    """Engine wrapper that computes each input once; the smoothing strength changes no input.

    The model receives the prior multiplied by `prior`, at most 255.
    """

    def __init__(self, engine: Engine, *, prior: float = 1.0) -> None:
        super().__init__(engine)
        self._prior = prior
        self._cache: dict[bytes, Inference] = {}

    async def infer_timed(self, inputs: Tensors) -> Inference:
        if "prior" in inputs:
            scaled = np.minimum(self._prior * inputs["prior"].astype(np.float32), 255)
            inputs = {**inputs, "prior": scaled.astype(np.uint8)}
        key = b"".join(inputs[name].tobytes() for name in sorted(inputs))
        if key not in self._cache:
            self._cache[key] = await super().infer_timed(inputs)
        return self._cache[key]


def mean_person_iou(alphas: Sequence[Alpha], truths: Sequence[Alpha]) -> float:
    """Returns the mean IoU over frames, in percent; two empty masks have IoU 100."""
    pairs = zip(alphas, truths, strict=True)
    return float(100 * np.mean([mask_iou(alpha > 127, truth > 127) for alpha, truth in pairs]))


def measure_cuts(
    data: Path, clips: Sequence[Clip], *, frames: int, size_hw: Size
) -> CutFigures | None:
    """Measures brightness changes of every clip, labelled or not; None for fewer than two clips."""
    within: list[float] = []
    ends = []
    for images in _resized_clips(data, clips, frames, size_hw):
        within += [brightness_change(image, previous) for previous, image in pairwise(images)]
        ends.append((images[0], images[-1]))
    if len(ends) < 2:
        return None
    between = sorted(
        brightness_change(first, last) for (_, last), (first, _) in permutations(ends, 2)
    )
    return CutFigures(len(ends), len(within), max(within), tuple(between))


def _resized_clips(
    data: Path, clips: Sequence[Clip], frames: int, size_hw: Size
) -> Iterator[list[NDArray[np.uint8]]]:
    """Yields the frames of each clip at the model's input size."""
    labelled_clips = [(clip.name, clip.frames) for clip in clips]
    for _, images in chain(labelled_clips, read_videos(data, frames=frames)):
        yield [fit(image, size_hw, ResizeRule.STRETCH)[0] for image in images]


def measure_smoothing_ms(size_hw: Size) -> float:
    """Returns the processor time per frame of the temporal state, in milliseconds.

    It covers cut detection, smoothing and the prior; the model is not included.
    """
    rng = np.random.default_rng(0)
    image, previous_image = (rng.integers(0, 256, (*size_hw, 3), np.uint8) for _ in range(2))
    alpha, smoothed = (rng.integers(0, 256, size_hw, np.uint8) for _ in range(2))
    previous = PreviousFrame(previous_image, alpha, smoothed)

    def call() -> None:
        is_scene_cut(image, previous_image)
        smooth(alpha, image, previous, 0.5)
        damped_prior(alpha)

    return measure_cost(call, calls=200, budget_s=2).cpu_ms


def flicker_window(figures: StreamFigures, count: int) -> tuple[Clip, slice]:
    """Returns the clip and the `count` neighbouring frames with the highest dtSSD.

    The masks are those of the first model without smoothing.
    """
    masks = [(clip, figures.select(clip.name, 0.0)[0].alphas) for clip in figures.clips]
    windows = [
        (dtssd(alphas[start : start + count], clip.truths[start : start + count]), row, start)
        for row, (clip, alphas) in enumerate(masks)
        for start in range(max(1, len(alphas) - count + 1))
    ]
    _, row, start = max(windows)
    return masks[row][0], slice(start, start + count)
