"""How each model does, photo by photo, under each way of finding a photo's domain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from silhouette_seg.pipeline.faces import Domain, domain_of, dominant_face
from silhouette_seg.spec import SPEC_FILE, ModelSpec, ModelTask, load_spec
from silhouette_seg.vision.geometry import Size
from training.data.dataset import Portrait
from training.evaluation.faces import Find
from training.evaluation.masks import FindDomain, by_model, reference_domain
from training.evaluation.metrics import MaskScore, score
from training.evaluation.onnx_model import open_onnx

REFERENCE = "reference domain"
OWN = "own faces"
NO_FACE = "no_face for all"

EVERYTHING = ("all", "all")

METRICS = {
    "iou_fg_image_mean": "IoU person, image mean",
    "miou_image_mean": "mIoU of both classes, image mean",
    "miou_dataset": "mIoU of both classes, areas summed over the set",
    "pixel_accuracy": "pixel accuracy",
    "contour_accuracy": "contour accuracy (CA)",
    "connectivity": "semantic connectivity (SC)",
}

Answer = Callable[[Portrait, Domain], NDArray[np.uint8]]
"""A photo, taken for one of that domain, to its mask uint8 [H,W] at the photo's size."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A model, and what says to it which domain a photo is of; `scores` in the photos' order."""

    spec: ModelSpec
    way: str
    """Empty for a model that takes no domain."""
    scores: tuple[MaskScore, ...]

    @property
    def main(self) -> bool:
        """Whether this is how the model stands among others where each has one place."""
        return self.way in ("", REFERENCE)

    @property
    def label(self) -> str:
        return f"{self.spec.name} ({self.way})" if self.way else self.spec.name


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that are told of together; `rows` are their places in the list."""

    kind: str
    name: str
    rows: tuple[int, ...]

    def of(self, contender: Contender) -> list[MaskScore]:
        return [contender.scores[row] for row in self.rows]


def find_specs(repository: Path, task: ModelTask) -> list[ModelSpec]:
    """The models of that task in the repository, by name."""
    specs = [load_spec(file.parent) for file in sorted(repository.glob(f"*/{SPEC_FILE}"))]
    return [spec for spec in specs if spec.task is task]


def open_answer(spec: ModelSpec, repository: Path) -> Answer:
    """The model with the service's own steps around it."""
    predict = open_onnx(spec.model_file(repository))
    extras = [tensor.name for tensor in spec.inputs if tensor.name != "image"]

    def answer(portrait: Portrait, domain: Domain) -> NDArray[np.uint8]:
        segment = by_model(
            predict,
            size_hw=spec.size_hw,
            resize=spec.resize,
            extras=extras,
            domain=lambda _: domain,
        )
        return segment(portrait)

    return answer


def ways_of(spec: ModelSpec, find: Find | None) -> dict[str, FindDomain]:
    """By whom a photo's domain is told to the model, the first being how models are compared."""
    if not spec.has_input("domain"):
        return {"": reference_domain}
    ways: dict[str, FindDomain] = {REFERENCE: reference_domain}
    if find:
        ways[OWN] = by_faces(find, at_least=spec.size_hw)
    return ways | {NO_FACE: lambda _: Domain.NO_FACE}


def by_faces(find: Find, *, at_least: Size) -> FindDomain:
    """By the dominant face that the detector sees in the pixels that the model is given."""

    def domain(portrait: Portrait) -> Domain:
        face = dominant_face(find(portrait.frame(at_least).rgb))
        return domain_of(face.ratio if face else 0.0)

    return domain


def contenders(
    spec: ModelSpec, answer: Answer, ways: Mapping[str, FindDomain], portraits: Sequence[Portrait]
) -> list[Contender]:
    """Scores the model each way; where two ways agree on a domain the answer is the same."""
    scores: dict[str, list[MaskScore]] = {way: [] for way in ways}
    for portrait in track(portraits, spec.name, console=Console(stderr=True), transient=True):
        truth = portrait.truth() > 127
        seen: dict[Domain, MaskScore] = {}
        for way, find_domain in ways.items():
            domain = find_domain(portrait)
            if domain not in seen:
                seen[domain] = score(answer(portrait, domain) > 127, truth)
            scores[way].append(seen[domain])
    return [Contender(spec, way, tuple(rows)) for way, rows in scores.items()]


def group(portraits: Sequence[Portrait]) -> list[Group]:
    """All photos, then those of each source, then those of each domain of the reference."""
    members: dict[tuple[str, str], list[int]] = {}
    for row, each in enumerate(portraits):
        for key in (EVERYTHING, ("source", each.source), ("domain", each.domain.label)):
            members.setdefault(key, []).append(row)
    sources = sorted({("source", each.source) for each in portraits})
    domains = [("domain", domain.label) for domain in Domain]
    ordered = [key for key in (EVERYTHING, *sources, *domains) if key in members]
    return [Group(*key, tuple(members[key])) for key in ordered]


def worst(contender: Contender, count: int) -> list[int]:
    """Places of the photos with the lowest mean IoU of both classes, the worst first."""
    means = np.array([np.mean(row.iou) for row in contender.scores])
    return [int(row) for row in np.argsort(means, kind="stable")[:count]]
