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
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.pipeline.temporal_context import NoContext
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
    """Median milliseconds from pixels to matte by the first pass; 0 without a zoomed photo."""
    served_ms: float
    alarms: tuple[int, int]
    """Number of scenes with a detected person: by the first pass, and as served."""

    def select(self, group: Group) -> tuple[list[MaskScore], list[MaskScore]]:
        """Returns the scores of a group by the first pass, and as served."""
        return [self.first[row] for row in group.rows], [self.served[row] for row in group.rows]


@dataclass(frozen=True, slots=True)
class ZoomFigures:
    """Results of every measured model."""

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
    models = asyncio.run(_measure(repository, names, portraits, backgrounds)) if names else ()
    return ZoomFigures(
        models=models,
        groups=tuple(group_portraits(portraits)),
        scenes=len(backgrounds),
        decode_ms={model.spec.name: _decode_ms(model.spec) for model in models},
    )


async def _measure(
    repository: Path,
    names: tuple[str, ...],
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> tuple[ZoomResult, ...]:
    workers = ThreadPool(1)
    open_model = partial(open_engine, "onnx", repository=repository)
    registry = load_registry(repository, names, workers, open_model)
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
    photos = track(portraits, name, console=Console(stderr=True), transient=True)
    for row, portrait in enumerate(photos):
        first_matte, served_matte = await _mattes(segmenter, portrait.image)
        is_zoomed = served_matte.passes > 1
        truth = portrait.truth() > 127
        served.append(score_mask(_mask(served_matte), truth))
        first.append(score_mask(_mask(first_matte), truth) if is_zoomed else served[-1])
        if is_zoomed:
            pairs[row] = first_matte, served_matte
    scenes = [await _mattes(segmenter, scene) for scene in backgrounds]
    return ZoomResult(
        spec=segmenter.spec,
        first=tuple(first),
        served=tuple(served),
        rows=tuple(pairs),
        first_ms=_median_ms([first_matte for first_matte, _ in pairs.values()]),
        served_ms=_median_ms([served_matte for _, served_matte in pairs.values()]),
        alarms=(
            sum(first_matte.quality.foreground for first_matte, _ in scenes),
            sum(served_matte.quality.foreground for _, served_matte in scenes),
        ),
    )


async def _mattes(segmenter: Segmenter, photo: Path) -> tuple[Matte, Matte]:
    """Returns the mattes by the first pass and as served; equal without a zoom pass."""
    frame = read_frame(photo)
    served = await segmenter.segment(frame)
    if served.passes == 1:
        return served, served
    # Without temporal context the segmenter makes one pass.
    first = await segmenter.segment(frame, context=NoContext())
    return first, served


def _mask(matte: Matte) -> Mask:
    return np.asarray(empty_if_noise(matte.alpha, matte.quality) > 127)


def _median_ms(mattes: Sequence[Matte]) -> float:
    totals = [sum(matte.timings.stages().values()) for matte in mattes]
    return 1000 * median(totals) if totals else 0.0


def _decode_ms(spec: ModelSpec) -> tuple[float, float]:
    data = encoded(SIZES[DECODE_SIZE])
    header = read_header(data)
    height, width = spec.size_hw

    def cpu_ms(factor: int) -> float:
        min_size = factor * height, factor * width
        cost = measure_cost(lambda: decode(data, header, min_size=min_size), calls=20, budget_s=2)
        return cost.cpu_ms

    return cpu_ms(1), cpu_ms(ZOOM_FACTOR)


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
    for model in figures.models:
        parts += [
            f"### {model.spec.name}, zoom",
            _costs_text(model, figures),
            _gains_table(model, figures),
        ]
    return "\n\n".join(parts)


def _costs_text(model: ZoomResult, figures: ZoomFigures) -> str:
    first_alarms, served_alarms = model.alarms
    first_decode_ms, zoom_decode_ms = figures.decode_ms[model.spec.name]
    times = (
        f" From pixels to matte, median of these: {model.first_ms:.0f} ms by the first pass,"
        f" {model.served_ms:.0f} ms by both."
        if model.rows
        else ""
    )
    return (
        f"{len(model.rows)} of {len(model.first)} photos have a zoom pass.{times} Decoding a"
        f" {DECODE_SIZE} JPEG for its mask alone takes {zoom_decode_ms:.1f} ms of processor time"
        f" with enough pixels for the zoom pass, and would take {first_decode_ms:.1f} ms without."
        f" Of {figures.scenes} scenes without a person the first pass finds one in {first_alarms},"
        f" both passes together in {served_alarms}."
    )


def _gains_table(model: ZoomResult, figures: ZoomFigures) -> str:
    zoomed = set(model.rows)
    groups = [group for group in figures.groups if zoomed & set(group.rows)]
    if zoomed:
        groups.append(Group("all", "zoomed photos", model.rows))
    head = ["", "photos", "zoomed"]
    for metric in ZOOM_METRICS:
        head += [f"{METRIC_TITLES[metric]}: first pass", "as served", "difference"]
    rows = []
    for group in groups:
        first, served = model.select(group)
        cells = [group.title, f"{len(group.rows)}", f"{len(zoomed & set(group.rows))}"]
        for metric in ZOOM_METRICS:
            difference: Estimate = compare_metrics(served, first)[metric]
            cells += [
                figure(estimate_metrics(first)[metric]),
                figure(estimate_metrics(served)[metric]),
                signed(difference),
            ]
        rows.append(cells)
    return table(head, rows) if rows else ""
