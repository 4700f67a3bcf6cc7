"""What a second look is worth, and what it costs: photos through the service's own segmenters."""

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
"""The photo whose decoding is timed, of the benchmark's."""


@dataclass(frozen=True, slots=True)
class ZoomResult:
    """A model on the same photos, by the first look alone and as it is served."""

    spec: ModelSpec
    first: tuple[MaskScore, ...]
    served: tuple[MaskScore, ...]
    rows: tuple[int, ...]
    """Places of the photos that were looked at twice."""
    first_ms: float
    """Median from pixels to matte of those photos by the first look alone; 0 without any."""
    served_ms: float
    alarms: tuple[int, int]
    """Scenes without a person in which the first look sees one; the same as served."""

    def select(self, part: Group) -> tuple[list[MaskScore], list[MaskScore]]:
        """By the first look, and as served."""
        return [self.first[row] for row in part.rows], [self.served[row] for row in part.rows]


@dataclass(frozen=True, slots=True)
class ZoomFigures:
    models: tuple[ZoomResult, ...]
    groups: tuple[Group, ...]
    scenes: int
    """Photos without a person."""
    decode_ms: Mapping[str, tuple[float, float]]
    """By model: processor time to decode a large JPEG for one look, and for two."""


def measure_zoom(
    specs: Sequence[ModelSpec],
    repository: Path,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> ZoomFigures:
    """Those of `MODELS` among them, with the repository's faces where they take a domain."""
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
    """By the first look alone, and as served; the same where that is one look."""
    frame = read_frame(photo)
    served = await segmenter.segment(frame)
    if served.passes == 1:
        return served, served
    # what remembers nothing has the first look of a photo
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


def zoom_text(figures: ZoomFigures, pictures: str) -> str:
    """A section of RESULTS.md; nothing where no model was measured."""
    if not figures.models:
        return ""
    parts = [
        "## A second look",
        f"A photo whose people, with a margin of {100 * CROP_MARGIN:.0f} % of their height and"
        f" width on every side, take less than {100 * MAX_CROP_SHARE:.0f} % of it is looked at"
        " again there, and both masks agree on what is said (silhouette_seg.pipeline.zoom,"
        " chosen on training photos). Streams"
        " are not. First look alone against as served, with the repository's own faces; the"
        " differences are paired, bold where the interval leaves out zero. Groups without a photo"
        " that was looked at twice are left out: nothing changes there.",
    ]
    for each in figures.models:
        parts += [
            f"### {each.spec.name}, looked at twice",
            _costs(each, figures),
            _gains(each, figures),
        ]
    return "\n\n".join(parts)


def _costs(each: ZoomResult, figures: ZoomFigures) -> str:
    before, after = each.alarms
    one, more = figures.decode_ms[each.spec.name]
    times = (
        f" From pixels to matte, median of these: {each.first_ms:.0f} ms by one look,"
        f" {each.served_ms:.0f} ms by both."
        if each.rows
        else ""
    )
    return (
        f"{len(each.rows)} of {len(each.first)} photos are looked at twice.{times} Decoding a"
        f" {DECODE_SIZE} JPEG for its mask alone takes {more:.1f} ms of processor time, so that a"
        f" second look finds pixels enough, and would take {one:.1f} ms without. Of"
        f" {figures.scenes} scenes without a person the first look sees one in {before}, both"
        f" together in {after}."
    )


def _gains(each: ZoomResult, figures: ZoomFigures) -> str:
    twice = set(each.rows)
    zoomed = Group("looked at twice", "looked at twice", each.rows)
    groups = [part for part in figures.groups if twice & set(part.rows)]
    head = ["", "photos", "twice"]
    for metric in ZOOM_METRICS:
        head += [f"{METRIC_TITLES[metric]}: first look", "as served", "difference"]
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
