"""Measures edge refinement and colour decontamination by source, with their cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from silhouette_seg.vision.compose.foreground import estimate_foreground
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.guided_filter import refine_edges
from training.benchmark.measure import measure_cost
from training.data.augmentation import random_crop
from training.data.dataset import Portrait, read_frame
from training.evaluation.metrics import (
    CONTOUR_TOLERANCE,
    Estimate,
    boundary_iou,
    contour_accuracy,
    mask_iou,
    mean_estimate,
)
from training.report.markdown import figure, signed, table
from training.report.scores import Group, PredictMask, group_portraits

FINE_WIDTH = 0.005
"""Width of the fine boundary region as a share of the diagonal, a pixel or two."""
LEVEL_BAND_WIDTH = 0.01
"""Width of the band on either side of the outline for wrong levels, as a share of the diagonal."""
METRICS = {
    "iou": "IoU person",
    "contour": "CA",
    "boundary": "boundary IoU",
    "fine": "fine boundary IoU",
    "levels": "wrong levels",
}
TIMED_SIZES: tuple[Size, ...] = ((480, 640), (720, 1280), (3000, 4000))
SCENES_PER_SOURCE = 8
"""Number of composite scenes per source."""
SOFTENING_SIGMA_PX = 2.0
"""Sigma of the softened outline of a composite scene, in pixels."""


@dataclass(frozen=True, slots=True)
class RefinementFigures:
    """Metrics of a model's masks, a row per photo, before and after refinement.

    The columns are those of `METRICS`, in percent.
    """

    model: str
    plain: NDArray[np.float64]
    guided: NDArray[np.float64]

    def gain(self, metric: str, group: Group) -> Estimate:
        """Returns guided minus plain, in points, over the photos of a group."""
        column = list(METRICS).index(metric)
        rows = list(group.rows)
        return mean_estimate(self.guided[rows, column] - self.plain[rows, column])

    def plain_mean(self, metric: str, group: Group) -> Estimate:
        """Returns the mean of the plain masks, in percent, over the photos of a group."""
        return mean_estimate(self.plain[list(group.rows), list(METRICS).index(metric)])


@dataclass(frozen=True, slots=True)
class ColourFigures:
    """Mean colour error of a cut-out in levels, one value per scene, by the mask used."""

    mask: str
    photo: tuple[float, ...]
    """Errors with the photo's own colours."""
    clean: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EdgeFigures:
    """Metrics of refined masks and colours, and their cost."""

    groups: tuple[Group, ...]
    refined: tuple[RefinementFigures, ...]
    colours: tuple[ColourFigures, ...]
    cpu_ms: Mapping[Size, tuple[float, float]]
    """Median processor time of refinement and of decontamination, by the photo's size."""


def measure_edges(
    predictors: Mapping[str, PredictMask],
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> EdgeFigures:
    """Measures the masks of models, by name, and colours with the masks of the first one.

    `backgrounds` are photos without a person.
    """
    return EdgeFigures(
        groups=tuple(group for group in group_portraits(portraits) if group.kind != "domain"),
        refined=tuple(
            _measure_refinement(name, predict_mask, portraits)
            for name, predict_mask in predictors.items()
        ),
        colours=_measure_colours(predictors, portraits, backgrounds),
        cpu_ms={size: _measure_cpu_ms(size) for size in TIMED_SIZES},
    )


def _measure_refinement(
    name: str, predict_mask: PredictMask, portraits: Sequence[Portrait]
) -> RefinementFigures:
    plain, guided = [], []
    console = Console(stderr=True)
    for portrait in track(portraits, f"{name}, edges", console=console, transient=True):
        truth, alpha = portrait.truth(), predict_mask(portrait, portrait.domain)
        plain.append(edge_metrics(alpha, truth))
        guided.append(edge_metrics(refine_edges(portrait.rgb(), alpha), truth))
    return RefinementFigures(name, np.array(plain), np.array(guided))


def edge_metrics(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[float, ...]:
    """Returns the metrics in the order of `METRICS`, in percent."""
    person, true_person = alpha > 127, truth > 127
    shares = (
        mask_iou(person, true_person),
        contour_accuracy(person, true_person),
        boundary_iou(person, true_person),
        boundary_iou(person, true_person, width=FINE_WIDTH),
        _wrong_levels(alpha, truth),
    )
    return tuple(100 * share for share in shares)


def _wrong_levels(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Returns the mean difference of two masks, 0..1, around the outline of the true one."""
    side = 2 * max(1, round(LEVEL_BAND_WIDTH * float(np.hypot(*truth.shape)))) + 1
    hard = cv2.threshold(truth, 127, 1, cv2.THRESH_BINARY)[1]
    near = cv2.morphologyEx(hard, cv2.MORPH_GRADIENT, np.ones((side, side), np.uint8)) > 0
    difference = cv2.absdiff(alpha, truth)[near]
    return float(difference.mean()) / 255 if difference.size else 0.0


@dataclass(frozen=True, slots=True)
class CompositeScene:
    """A person of known colours in front of another background; images are uint8."""

    portrait: Portrait
    """Portrait from which the scene was composed."""
    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    foreground: NDArray[np.uint8]


def _measure_colours(
    predictors: Mapping[str, PredictMask],
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> tuple[ColourFigures, ...]:
    """Measures colours with the true mask, and with the first model's refined mask."""
    name, predict_mask = next(iter(predictors.items()))
    errors: dict[str, list[tuple[float, float]]] = {"true": [], f"{name}, guided": []}
    with TemporaryDirectory() as folder:
        for scene in composite_scenes(portraits, backgrounds):
            file = Path(folder) / f"{scene.portrait.id}.png"
            cv2.imwrite(str(file), scene.rgb[..., ::-1])
            photo = replace(scene.portrait, image=file)
            refined = refine_edges(scene.rgb, predict_mask(photo, photo.domain))
            for mask, rows in zip((scene.alpha, refined), errors.values(), strict=True):
                rows.append(
                    (
                        colour_error(scene.rgb, scene, mask),
                        colour_error(estimate_foreground(scene.rgb, mask), scene, mask),
                    )
                )
    return tuple(
        ColourFigures(mask, tuple(row[0] for row in rows), tuple(row[1] for row in rows))
        for mask, rows in errors.items()
    )


def composite_scenes(
    portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> Iterator[CompositeScene]:
    """Yields up to `SCENES_PER_SOURCE` scenes of each source; always the same."""
    rng = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for portrait in portraits:
        counts[portrait.source] += 1
        truth = portrait.truth()
        if counts[portrait.source] <= SCENES_PER_SOURCE and (truth > 250).any():
            background = read_frame(backgrounds[int(rng.integers(len(backgrounds)))]).rgb
            alpha = np.asarray(cv2.GaussianBlur(truth, (0, 0), SOFTENING_SIGMA_PX), np.uint8)
            foreground = _extend_colours(portrait.rgb(), truth)
            share = alpha[..., None] / 255
            crop = random_crop(background, (alpha.shape[0], alpha.shape[1]), rng)
            rgb = np.rint(foreground * share + crop * (1 - share)).astype(np.uint8)
            yield CompositeScene(portrait, rgb, alpha, foreground)


def _extend_colours(rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Extends the person's colours outwards from the nearest pixel well inside the mask."""
    inside = cv2.erode((truth > 250).astype(np.uint8), np.ones((5, 5), np.uint8))
    if not inside.any():
        inside = (truth > 250).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    palette = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    palette[nearest[inside > 0]] = rgb[inside > 0]
    return np.asarray(palette[nearest], np.uint8)


def colour_error(rgb: NDArray[np.uint8], scene: CompositeScene, mask: NDArray[np.uint8]) -> float:
    """Returns the mean difference in levels from the person's own colours.

    It covers pixels with a partial `mask` that show some of the person, weighted by `mask`.
    """
    weight = mask * ((mask > 0) & (mask < 255) & (scene.alpha > 0)).astype(np.float64)
    difference = cv2.absdiff(rgb, scene.foreground).mean(axis=2)
    return float((difference * weight).sum() / max(weight.sum(), 1.0))


def _measure_cpu_ms(size: Size) -> tuple[float, float]:
    """Returns processor times on one thread, for a synthetic person of usual proportions."""
    rng = np.random.default_rng(0)
    height, width = size
    coarse = rng.integers(0, 256, (60, 80, 3), np.uint8)
    rgb = np.asarray(cv2.resize(coarse, (width, height)), np.uint8)
    small = np.zeros((384, 384), np.uint8)
    cv2.ellipse(small, (190, 110), (60, 80), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(small, (190, 340), (130, 160), 0, 0, 360, 255, -1, cv2.LINE_AA)
    alpha = np.asarray(cv2.resize(small, (width, height)), np.uint8)
    refined = refine_edges(rgb, alpha)
    edges = measure_cost(lambda: refine_edges(rgb, alpha), calls=15, budget_s=2)
    colours = measure_cost(lambda: estimate_foreground(rgb, refined), calls=15, budget_s=2)
    return edges.cpu_ms, colours.cpu_ms


def edges_text(figures: EdgeFigures) -> str:
    """Writes the section of RESULTS.md."""
    parts = [
        "## Edges and colours",
        _opening_text(),
        *(_gains_text(refined, figures.groups) for refined in figures.refined),
        _colours_text(figures),
        _times_text(figures),
    ]
    return "\n\n".join(parts)


def _opening_text() -> str:
    return f"""`refine=guided` aligns a mask's uncertain pixels with the photo's edges. The
tables show the change in points, guided minus plain on the same photos. Bold: the interval
excludes zero. *CA* allows {100 * CONTOUR_TOLERANCE:g} % of the diagonal, about the precision of
the labels, so it says little about edges. *Boundary IoU* compares boundary regions as wide as 2
% of the diagonal (Cheng et al., CVPR 2021), *fine* of {100 * FINE_WIDTH:g} %. *Wrong levels* is
the mean difference from the reference, in percent, within {100 * LEVEL_BAND_WIDTH:g} % of its
outline; less is better. The outlines of eg1800 and ccp are coarse; those of facesynthetics are
exact, hair included."""


def _gains_text(refined: RefinementFigures, groups: Sequence[Group]) -> str:
    head = ("", "photos", *METRICS.values())
    all_photos = groups[0]
    plain = (figure(refined.plain_mean(metric, all_photos)) for metric in METRICS)
    rows: list[tuple[str, ...]] = [("plain, all", f"{len(all_photos.rows)}", *plain)]
    for group in groups:
        gains = (signed(refined.gain(metric, group)) for metric in METRICS)
        rows.append((f"guided, {group.name}", f"{len(group.rows)}", *gains))
    return f"### {refined.model}\n\n{table(head, rows)}"


def _colours_text(figures: EdgeFigures) -> str:
    head = ("mask", "scenes", "photo's colours", "clean colours", "clean minus photo's")
    rows = [
        (
            colours.mask,
            f"{len(colours.photo)}",
            figure(mean_estimate(colours.photo)),
            figure(mean_estimate(colours.clean)),
            signed(mean_estimate(np.subtract(colours.clean, colours.photo))),
        )
        for colours in figures.colours
    ]
    return f"""### Colours

`decontaminate=true` on composite scenes: people of the photos, in front of backgrounds of other
photos. Their outline is softened and their colours are extended over it. The error is the mean
difference of a cut-out's colour, in levels of 255, over partially covered pixels, weighted by the
mask.

{table(head, rows)}"""


def _times_text(figures: EdgeFigures) -> str:
    rows = [
        (f"{width}x{height}", f"{edges:.1f}", f"{colours:.1f}")
        for (height, width), (edges, colours) in figures.cpu_ms.items()
    ]
    head = ("photo", "edges, processor ms", "colours, processor ms")
    return f"One thread, median, a person in the middle:\n\n{table(head, rows)}"
