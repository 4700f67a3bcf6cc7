"""Scores of each model by photo, under each domain policy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from silhouette_seg.pipeline.faces import Domain, domain_of, dominant_face
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.geometry import Size
from training.data.dataset import Portrait
from training.evaluation.faces import DetectFaces
from training.evaluation.masks import DomainPolicy, reference_domain, segmenter_from_model
from training.evaluation.metrics import MaskScore, score_mask
from training.evaluation.onnx_model import open_onnx

REFERENCE_DOMAIN = "reference domain"
DETECTED_DOMAIN = "own faces"
NO_FACE_DOMAIN = "no_face for all"

ALL_PHOTOS = ("all", "all")

METRIC_TITLES = {
    "iou_fg_image_mean": "IoU person, image mean",
    "miou_image_mean": "mIoU of both classes, image mean",
    "miou_dataset": "mIoU of both classes, areas summed over the set",
    "pixel_accuracy": "pixel accuracy",
    "contour_accuracy": "contour accuracy (CA)",
    "connectivity": "semantic connectivity (SC)",
}

PLOTTED_METRIC = "miou_image_mean"
"""Metric of the plots."""

PredictMask = Callable[[Portrait, Domain], NDArray[np.uint8]]
"""Maps a photo, treated as of the given domain, to its mask uint8 [H,W] at the photo's size."""


@dataclass(frozen=True, slots=True)
class ModelScores:
    """Scores of a model under one domain policy, in the order of the photos."""

    spec: ModelSpec
    policy: str
    """Name of the domain policy; empty for a model without a domain input."""
    scores: tuple[MaskScore, ...]

    @property
    def is_primary(self) -> bool:
        """True for the policy by which models are compared with each other."""
        return self.policy in ("", REFERENCE_DOMAIN)

    @property
    def is_comparable(self) -> bool:
        """True if other models are compared with these scores, also by the detected domains."""
        return self.is_primary or self.policy == DETECTED_DOMAIN

    @property
    def label(self) -> str:
        return f"{self.spec.name} ({self.policy})" if self.policy else self.spec.name


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that are reported together; `rows` are their positions in the list."""

    kind: str
    name: str
    rows: tuple[int, ...]

    @property
    def title(self) -> str:
        """Kind and name, or the name alone for the group of all photos."""
        return self.name if self.kind == "all" else f"{self.kind} {self.name}"

    def select(self, model_scores: ModelScores) -> list[MaskScore]:
        """Returns the scores of the photos of the group."""
        return [model_scores.scores[row] for row in self.rows]


def open_predictor(spec: ModelSpec, repository: Path) -> PredictMask:
    """Opens a model with the service's own pre- and postprocessing."""
    predict = open_onnx(spec.model_file(repository))
    extras = [tensor.name for tensor in spec.inputs if tensor.name != "image"]

    def predict_mask(portrait: Portrait, domain: Domain) -> NDArray[np.uint8]:
        segment = segmenter_from_model(
            predict,
            size_hw=spec.size_hw,
            resize=spec.resize,
            extras=extras,
            domain=lambda _: domain,
        )
        return segment(portrait)

    return predict_mask


def domain_policies(spec: ModelSpec, detect_faces: DetectFaces | None) -> dict[str, DomainPolicy]:
    """Returns the domain policies of a model; the first is used to compare models."""
    if not spec.has_input("domain"):
        return {"": reference_domain}
    policies: dict[str, DomainPolicy] = {REFERENCE_DOMAIN: reference_domain}
    if detect_faces:
        policies[DETECTED_DOMAIN] = detected_domain_policy(detect_faces, min_size=spec.size_hw)
    return policies | {NO_FACE_DOMAIN: lambda _: Domain.NO_FACE}


def detected_domain_policy(detect_faces: DetectFaces, *, min_size: Size) -> DomainPolicy:
    """Returns the policy of the dominant face, detected in the pixels of the model's input."""

    def domain(portrait: Portrait) -> Domain:
        face = dominant_face(detect_faces(portrait.frame(min_size).rgb))
        return domain_of(face.ratio if face else 0.0)

    return domain


def score_policies(
    spec: ModelSpec,
    predict_mask: PredictMask,
    policies: Mapping[str, DomainPolicy],
    portraits: Sequence[Portrait],
) -> list[ModelScores]:
    """Scores the model under each policy; policies with the same domain share one prediction."""
    scores: dict[str, list[MaskScore]] = {policy: [] for policy in policies}
    for portrait in track(portraits, spec.name, console=Console(stderr=True), transient=True):
        truth = portrait.truth() > 127
        by_domain: dict[Domain, MaskScore] = {}
        for policy, find_domain in policies.items():
            domain = find_domain(portrait)
            if domain not in by_domain:
                by_domain[domain] = score_mask(predict_mask(portrait, domain) > 127, truth)
            scores[policy].append(by_domain[domain])
    return [ModelScores(spec, policy, tuple(rows)) for policy, rows in scores.items()]


def group_portraits(portraits: Sequence[Portrait]) -> list[Group]:
    """Groups photos: all, then by source, then by reference domain."""
    members: dict[tuple[str, str], list[int]] = {}
    for row, portrait in enumerate(portraits):
        for key in (ALL_PHOTOS, ("source", portrait.source), ("domain", portrait.domain.label)):
            members.setdefault(key, []).append(row)
    sources = sorted({("source", portrait.source) for portrait in portraits})
    domains = [("domain", domain.label) for domain in Domain]
    keys = [key for key in (ALL_PHOTOS, *sources, *domains) if key in members]
    return [Group(*key, tuple(members[key])) for key in keys]


def worst_cases(
    model_scores: ModelScores, count: int, rows: Sequence[int] | None = None
) -> list[int]:
    """Returns the positions of the photos with the lowest mean IoU of both classes, worst first.

    `rows` are the positions of the photos to choose from; None means all.
    """
    candidates = range(len(model_scores.scores)) if rows is None else rows
    means = {row: float(np.mean(model_scores.scores[row].iou)) for row in candidates}
    return sorted(means, key=lambda row: means[row])[:count]
