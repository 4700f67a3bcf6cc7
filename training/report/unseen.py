"""Writes the accuracy by seen and unseen data source, beside published networks.

A data source is unseen if only the validation split has it. No network of ours was trained on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Portrait
from training.data.pack_check import VALIDATION_ONLY_SOURCES
from training.evaluation.metrics import Estimate, mean_estimate
from training.evaluation.unseen import Scores, person_ious, read_peers
from training.report.markdown import figure, signed, table
from training.report.results import Results
from training.report.scores import Group, ModelScores

REFERENCE_PEER = "mediapipe_selfie_0.10.21"
"""Published network that all others are compared with."""
MIN_PIECE_SHARE = 0.001
"""Smallest piece of person that is counted, as a share of the photo; smaller ones are noise."""
SIZE_LIMITS = (0.02, 0.1, 0.4)
"""Limits of the groups by the share of the photo that is person."""


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Person IoU of each network on one group of photos, in percent, by the network's name."""

    title: str
    photos: int
    iou: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]
    """Paired difference from REFERENCE_PEER; empty if the pack has no scores of it."""


def measure_unseen(results: Results) -> list[GroupFigures]:
    """Groups the person IoU of our models and of the pack's published networks."""
    portraits = results.inputs.portraits
    networks = {scores.label: _own_ious(scores) for scores in results.model_scores}
    networks |= _peer_ious(results, [portrait.id for portrait in portraits])
    return [_group_figures(group, networks) for group in difficulty_groups(portraits)]


def _own_ious(scores: ModelScores) -> NDArray[np.float64]:
    return 100 * np.array([score.iou[1] for score in scores.scores], float)


def _peer_ious(results: Results, photos: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Returns the published networks with a score for each of the photos."""
    if not (results.inputs.data / "peers.csv").exists():
        return {}
    peers: dict[str, Scores] = read_peers(results.inputs.data)
    return {
        name: person_ious(scores, photos)
        for name, scores in peers.items()
        if scores.keys() >= set(photos)
    }


def _group_figures(group: Group, networks: Mapping[str, NDArray[np.float64]]) -> GroupFigures:
    rows = list(group.rows)
    differences = {}
    if (reference := networks.get(REFERENCE_PEER)) is not None:
        differences = {
            name: mean_estimate((values - reference)[rows])
            for name, values in networks.items()
            if name != REFERENCE_PEER
        }
    return GroupFigures(
        title=group.name,
        photos=len(rows),
        iou={name: mean_estimate(values[rows]) for name, values in networks.items()},
        difference=differences,
    )


def difficulty_groups(portraits: Sequence[Portrait]) -> list[Group]:
    """Groups photos by unseen and seen source, by pieces of person, and by the size of the person.

    Groups without a photo are left out.
    """
    masks = [portrait.truth() > 127 for portrait in portraits]
    pieces = [count_pieces(mask) for mask in masks]
    shares = [float(mask.mean()) for mask in masks]
    unseen = [portrait.source in VALIDATION_ONLY_SOURCES for portrait in portraits]
    members: dict[str, list[bool]] = {"unseen sources": unseen}
    for source in sorted(VALIDATION_ONLY_SOURCES):
        members[f"unseen: {source}"] = [portrait.source == source for portrait in portraits]
    members["seen sources"] = [not value for value in unseen]
    members["one piece of person"] = [count <= 1 for count in pieces]
    members["two or three pieces"] = [2 <= count <= 3 for count in pieces]
    members["four or more pieces"] = [count >= 4 for count in pieces]
    limits = (0.0, *SIZE_LIMITS, 1.01)
    for low, high in pairwise(limits):
        members[_size_title(low, high)] = [low <= share < high for share in shares]
    groups = [
        Group("difficulty", name, tuple(np.flatnonzero(flags).tolist()))
        for name, flags in members.items()
    ]
    return [group for group in groups if group.rows]


def count_pieces(mask: NDArray[np.bool_]) -> int:
    """Returns the number of connected pieces of a mask bool [H,W] above MIN_PIECE_SHARE."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] >= MIN_PIECE_SHARE * mask.size).sum())


def _size_title(low: float, high: float) -> str:
    if low == 0:
        return f"person under {100 * high:g} %"
    if high > 1:
        return f"person from {100 * low:g} %"
    return f"person {100 * low:g} to {100 * high:g} %"


def unseen_text(groups: Sequence[GroupFigures]) -> str:
    """Writes the section of seen and unseen sources; empty without photos."""
    if not groups:
        return ""
    sources = " and ".join(sorted(VALIDATION_ONLY_SOURCES))
    parts = [
        "## Seen and unseen data sources",
        f"Person IoU, image mean. The sources {sources} are unseen: they have no training photo."
        " Published networks have the scores of the data pack's `peers.csv`. A piece is a connected"
        f" part of the reference mask that covers at least {100 * MIN_PIECE_SHARE:g} % of the"
        " photo. The size of a person is the share of the photo that the reference mask covers.",
        _table(groups, [group.iou for group in groups], figure),
    ]
    if groups[0].difference:
        parts += [
            f"### Difference from {REFERENCE_PEER}",
            "In points, paired over the same photos. Bold: the interval excludes zero.",
            _table(groups, [group.difference for group in groups], signed),
        ]
    return "\n\n".join(parts)


def _table(
    groups: Sequence[GroupFigures],
    estimates: Sequence[Mapping[str, Estimate]],
    cell: Callable[[Estimate], str],
) -> str:
    """Formats one row for each group, with its estimates by network."""
    rows = [
        (group.title, f"{group.photos}", *map(cell, values.values()))
        for group, values in zip(groups, estimates, strict=True)
    ]
    return table(("", "photos", *estimates[0]), rows)
