"""Compares networks with published ones on sources inside and outside their training data.

    python -m training.evaluation.unseen --data DATA --scores SCORES model_repository/connectnet
    python -m training.evaluation.unseen --data DATA --scores SCORES RECIPE.toml=RUNS/NAME/last.pt
    python -m training.evaluation.unseen --data DATA --scores SCORES --against PEER

Each network is measured on all val photos and on the scenes without a person. Its scores are
written to `SCORES/<name>.csv`. The table compares these networks with those of the pack's
`peers.csv`, by the image mean of person IoU. `--against` adds the difference from one network with
its paired bootstrap interval of 95 %.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from silhouette_seg.spec import load_spec
from training.data.dataset import Portrait, read_backgrounds, read_portraits, read_rows
from training.data.pack_check import VALIDATION_ONLY_SOURCES
from training.evaluation.masks import Segment, segmenter_from_network, segmenter_from_spec
from training.evaluation.metrics import MIN_INTERVAL_PHOTOS, mask_iou
from training.models import build_model
from training.models.checkpoint import read_average
from training.options import DataPack
from training.recipe import read_recipe

UNSEEN = "unseen"
ALL = "all"
SCENES = "scenes"
"""Source name of the photos without a person."""
DIFFERENCE_RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class PhotoScore:
    """Score of one network on one photo.

    `iou` is None for a scene without a person; `has_person` is None for a published network.
    """

    id: str
    source: str
    iou: float | None
    has_person: bool | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of paired differences in points, with its bootstrap interval."""

    mean: float
    low: float
    high: float


Scores = Mapping[str, PhotoScore]
"""Scores of one network by photo id."""


def load_network(argument: str) -> tuple[str, Segment]:
    """Returns name and function of `RECIPE=CHECKPOINT` or of a folder of the model repository.

    Raises OSError for a missing file.
    """
    recipe_file, _, checkpoint = argument.partition("=")
    if not checkpoint:
        spec = load_spec(Path(argument))
        return spec.name, segmenter_from_spec(spec, spec.model_file(Path(argument).parent))
    recipe = read_recipe(Path(recipe_file))
    model = build_model(recipe.model, recipe.options)
    model.load_state_dict(read_average(Path(checkpoint)))
    size_hw = recipe.phase(recipe.epochs - 1).size_hw
    return recipe.name, segmenter_from_network(model, size_hw=size_hw, resize=recipe.resize)


def measure_network(
    segment: Segment, portraits: Sequence[Portrait], scenes: Sequence[Path]
) -> list[PhotoScore]:
    """Scores a network on photos of people, then on scenes without a person."""
    console = Console(stderr=True)
    scores = []
    for portrait in track(portraits, "photos", console=console, transient=True):
        mask = segment(portrait) > 127
        iou = mask_iou(mask, portrait.truth() > 127)
        scores.append(PhotoScore(portrait.id, portrait.source, iou, bool(mask.any())))
    for path in track(scenes, "scenes", console=console, transient=True):
        scene = Portrait(path.stem, SCENES, path.stem, path, path, face=None)
        has_person = bool((segment(scene) > 127).any())
        scores.append(PhotoScore(scene.id, SCENES, None, has_person))
    return scores


def write_scores(file: Path, scores: Iterable[PhotoScore]) -> None:
    """Writes the scores of one network as CSV, IoU with four decimals."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["id", "source", "iou_person", "found"])
        for score in scores:
            iou = "" if score.iou is None else f"{score.iou:.4f}"
            writer.writerow([score.id, score.source, iou, int(bool(score.has_person))])


def read_scores(file: Path) -> Scores:
    """Reads the file that `write_scores` writes."""
    return {
        row["id"]: PhotoScore(
            row["id"],
            row["source"],
            float(row["iou_person"]) if row["iou_person"] else None,
            row["found"] == "1",
        )
        for row in read_rows(file)
    }


def read_peers(data: Path) -> dict[str, Scores]:
    """Returns the scores of the published networks in `peers.csv`, by name."""
    peers: dict[str, dict[str, PhotoScore]] = {}
    for row in read_rows(data / "peers.csv"):
        score = PhotoScore(row["id"], row["source"], float(row["iou_person"]), None)
        peers.setdefault(row["peer"], {})[row["id"]] = score
    return dict(peers)


def photos_by_group(scores: Scores) -> dict[str, list[str]]:
    """Returns ids of photos with people by source, then under UNSEEN and ALL.

    UNSEEN holds the photos of sources that only the validation split has.
    """
    groups: dict[str, list[str]] = {}
    for score in scores.values():
        if score.iou is None:
            continue
        names = [score.source, ALL] + [UNSEEN] * (score.source in VALIDATION_ONLY_SOURCES)
        for name in names:
            groups.setdefault(name, []).append(score.id)
    last = [UNSEEN, ALL]
    return {name: groups[name] for name in [*sorted(groups.keys() - set(last)), *last]}


def person_ious(scores: Scores, photos: Sequence[str]) -> NDArray[np.float64]:
    """Returns the person IoU of the photos in percent, in their order.

    Raises KeyError for a photo without a score.
    """
    return 100 * np.array([scores[photo].iou for photo in photos], float)


def bootstrap_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> Difference:
    """Returns the mean of `one` minus `other` with its bootstrap interval.

    Both hold the same photos in the same order. The seed is fixed, so the result repeats exactly.
    """
    differences = one - other
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(differences), (DIFFERENCE_RESAMPLES, len(differences)))
    low, high = np.percentile(differences[samples].mean(1), [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))


def comparison_table(networks: Mapping[str, Scores], against: str) -> Table:
    """Lists sources as rows and networks as columns; raises KeyError for an unknown `against`."""
    table = Table("source", "photos", *networks)
    for group, photos in photos_by_group(next(iter(networks.values()))).items():
        cells = [_cell(networks, name, against, photos) for name in networks]
        table.add_row(group, str(len(photos)), *cells)
    for title, is_scene in (("lost people", False), ("false people", True)):
        cells = [_count(scores, scenes=is_scene) for scores in networks.values()]
        table.add_row(title, "", *cells)
    return table


def _cell(networks: Mapping[str, Scores], name: str, against: str, photos: Sequence[str]) -> str:
    values = person_ious(networks[name], photos)
    mean = f"{values.mean():.2f}"
    if not against or name == against or len(photos) < MIN_INTERVAL_PHOTOS:
        return mean
    change = bootstrap_difference(values, person_ious(networks[against], photos))
    return f"{mean} ({change.mean:+.2f}: {change.low:+.2f}..{change.high:+.2f})"


def _count(scores: Scores, *, scenes: bool) -> str:
    """Counts scenes with a detected person, or photos without one."""
    has_person = [score.has_person for score in scores.values() if (score.iou is None) == scenes]
    measured = [value for value in has_person if value is not None]
    return f"{measured.count(scenes)} of {len(measured)}" if measured else "-"


def main(
    data: DataPack,
    scores: Annotated[Path, typer.Option(help="Folder for the scores of each network.")],
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks to measure: folders of model_repository/, RECIPE=CHECKPOINT."
        ),
    ] = None,
    against: Annotated[str, typer.Option(help="Network to compare the others with.")] = "",
) -> None:
    """Measures networks by source and compares all that have been measured."""
    portraits, scenes = read_portraits(data, "val"), read_backgrounds(data, "val")
    for argument in networks or []:
        name, segment = load_network(argument)
        write_scores(scores / f"{name}.csv", measure_network(segment, portraits, scenes))
    measured = {file.stem: read_scores(file) for file in sorted(scores.glob("*.csv"))}
    all_networks = {**measured, **read_peers(data)}
    Console(width=60 + 30 * len(all_networks)).print(comparison_table(all_networks, against))


if __name__ == "__main__":
    typer.run(main)
