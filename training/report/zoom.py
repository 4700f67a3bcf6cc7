"""Measures the gain and the cost of the zoom pass through the service's own segmenters."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.progress import track

from silhouette_seg.engine import open_engine
from silhouette_seg.pipeline.registry import load_registry
from silhouette_seg.pipeline.segmenter import Matte, NoContext, Segmenter
from silhouette_seg.pipeline.zoom import CROP_MARGIN, MAX_CROP_SHARE, ZOOM_FACTOR
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import decode, read_header
from silhouette_seg.vision.mask.quality import empty_if_noise
from training.benchmark.measure import measure_cost
from training.benchmark.photos import SIZES, encoded
from training.data.dataset import Portrait, read_frame
from training.evaluation.metrics import (
    Estimate,
    Mask,
    MaskScore,
    compare_metrics,
    estimate_metrics,
    score_mask,
)
from training.report.markdown import figure, signed, table
from training.report.scores import METRIC_TITLES, Group, group_portraits

ZOOM_MODELS = ("md_trisenet", "connectnet")
ZOOM_METRICS = ("iou_fg_image_mean", "miou_image_mean")
DECODE_SIZE = "4000x3000"
"""Size of the benchmark photo that is decoded for timing."""


@dataclass(frozen=True, slots=True)
class ZoomResult:
    """Scores of a model by the first pass alone and as served, on the same photos."""

    spec: ModelSpec
    first: tuple[MaskScore, ...]
    served: tuple[MaskScore, ...]
    rows: tuple[int, ...]
    """Positions of the photos with a zoom pass."""
    first_ms: float
    """Median milliseconds from pixels to matte by the first pass, over photos with a zoom pass; 0
    without any.
    """
    served_ms: float
    alarms: tuple[int, int]
    """Number of scenes with a detected person: by the first pass, and as served."""

    def select(self, part: Group) -> tuple[list[MaskScore], list[MaskScore]]:
        """Returns the scores of a group by the first pass, and as served."""
        return [self.first[row] for row in part.rows], [self.served[row] for row in part.rows]


@dataclass(frozen=True, slots=True)
class ZoomFigures:
    models: tuple[ZoomResult, ...]
    groups: tuple[Group, ...]
    scenes: int
    """Number of photos without a person."""
    decode_ms: Mapping[str, tuple[float, float]]
    """Processor time to decode a large JPEG for one pass and for two, in milliseconds, by model."""


def measure_zoom(
    specs: Sequence[ModelSpec],
    repository: Path,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> ZoomFigures:
    """Measures the models of `ZOOM_MODELS`, with the repository's face detector for domains."""
    names = tuple(name for name in ZOOM_MODELS if any(spec.name == name for spec in specs))
    measured = asyncio.run(_measure(repository, names, portraits, backgrounds)) if names else ()
    return ZoomFigures(
        models=measured,
        groups=tuple(group_portraits(portraits)),
        scenes=len(backgrounds),
        decode_ms={each.spec.name: _decode_ms(each.spec) for each in measured},
    )


async def _measure(
    repository: Path,
    names: tuple[str, ...],
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> tuple[ZoomResult, ...]:
    workers = ThreadPool(1)
    opened = partial(open_engine, "onnx", repository=repository)
    registry = load_registry(repository, names, workers, opened)
    try:
        return tuple(
            [await _measure_model(registry.get(name), portraits, backgrounds) for name in names]
        )
    finally:
        await registry.close()
        workers.close()


async def _measure_model(
    segmenter: Segmenter, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> ZoomResult:
    first: list[MaskScore] = []
    served: list[MaskScore] = []
    pairs: dict[int, tuple[Matte, Matte]] = {}
    name = segmenter.spec.name
    for row, each in enumerate(
        track(portraits, name, console=Console(stderr=True), transient=True)
    ):
        once, both = await _mattes(segmenter, each.image)
        truth = each.truth() > 127
        served.append(score_mask(_mask(both), truth))
        first.append(score_mask(_mask(once), truth) if both.passes > 1 else served[-1])
        if both.passes > 1:
            pairs[row] = once, both
    scenes = [await _mattes(segmenter, scene) for scene in backgrounds]
    return ZoomResult(
        spec=segmenter.spec,
        first=tuple(first),
        served=tuple(served),
        rows=tuple(pairs),
        first_ms=_median_ms([once for once, _ in pairs.values()]),
        served_ms=_median_ms([both for _, both in pairs.values()]),
        alarms=(
            sum(once.quality.foreground for once, _ in scenes),
            sum(both.quality.foreground for _, both in scenes),
        ),
    )


async def _mattes(segmenter: Segmenter, photo: Path) -> tuple[Matte, Matte]:
    """Returns the mattes by the first pass and as served; equal without a zoom pass."""
    frame = read_frame(photo)
    served = await segmenter.segment(frame)
    if served.passes == 1:
        return served, served
    # without temporal context the segmenter makes one pass
    once = await segmenter.segment(frame, context=NoContext())
    return once, served


def _mask(found: Matte) -> Mask:
    return np.asarray(empty_if_noise(found.alpha, found.quality) > 127)


def _median_ms(mattes: Sequence[Matte]) -> float:
    return 1000 * median(sum(each.timings.stages().values()) for each in mattes) if mattes else 0.0


def _decode_ms(spec: ModelSpec) -> tuple[float, float]:
    data = encoded(SIZES[DECODE_SIZE])
    header = read_header(data)
    height, width = spec.size_hw

    def decoding(times: int) -> float:
        at_least = times * height, times * width
        return measure_cost(
            lambda: decode(data, header, min_size=at_least), calls=20, budget_s=2
        ).cpu_ms

    return decoding(1), decoding(ZOOM_FACTOR)


def zoom_text(figures: ZoomFigures) -> str:
    """Writes the section of RESULTS.md; empty if no model was measured."""
    if not figures.models:
        return ""
    parts = [
        "## Zoom",
        "The service segments small people twice: they fill less than"
        f" {100 * MAX_CROP_SHARE:.0f} % of the photo, with a margin of {100 * CROP_MARGIN:.0f} % of"
        " their height and width on every side. It segments this crop again and fuses both masks"
        " (silhouette_seg.pipeline.zoom, chosen on training photos). Streams have no zoom pass."
        " The tables compare the first pass alone with the service, which uses the repository's"
        " own face detector. Differences are paired; bold: the interval excludes zero. Groups"
        " without a zoomed photo are left out, because nothing changes there.",
    ]
    for each in figures.models:
        parts += [
            f"### {each.spec.name}, zoom",
            _costs(each, figures),
            _gains(each, figures),
        ]
    return "\n\n".join(parts)


def _costs(each: ZoomResult, figures: ZoomFigures) -> str:
    before, after = each.alarms
    one, more = figures.decode_ms[each.spec.name]
    times = (
        f" From pixels to matte, median of these: {each.first_ms:.0f} ms by the first pass,"
        f" {each.served_ms:.0f} ms by both."
        if each.rows
        else ""
    )
    return (
        f"{len(each.rows)} of {len(each.first)} photos have a zoom pass.{times} Decoding a"
        f" {DECODE_SIZE} JPEG for its mask alone takes {more:.1f} ms of processor time with enough"
        f" pixels for the zoom pass, and would take {one:.1f} ms without. Of {figures.scenes}"
        f" scenes without a person the first pass finds one in {before}, both passes together in"
        f" {after}."
    )


def _gains(each: ZoomResult, figures: ZoomFigures) -> str:
    twice = set(each.rows)
    zoomed = Group("zoomed photos", "zoomed photos", each.rows)
    groups = [part for part in figures.groups if twice & set(part.rows)]
    head = ["", "photos", "zoomed"]
    for metric in ZOOM_METRICS:
        head += [f"{METRIC_TITLES[metric]}: first pass", "as served", "difference"]
    rows = []
    for part in [*groups, zoomed] if twice else []:
        first, served = each.select(part)
        cells = [_titled(part), f"{len(part.rows)}", f"{len(twice & set(part.rows))}"]
        for metric in ZOOM_METRICS:
            differs: Estimate = compare_metrics(served, first)[metric]
            cells += [
                figure(estimate_metrics(first)[metric]),
                figure(estimate_metrics(served)[metric]),
                signed(differs),
            ]
        rows.append(cells)
    return table(head, rows) if rows else ""


def _titled(part: Group) -> str:
    return f"{part.kind} {part.name}" if part.kind in ("source", "domain") else part.name
