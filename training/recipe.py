"""Recipes: every number of a training run, read from TOML."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from silhouette_seg.spec import ResizeRule
from training.data.augmentation import Augmentation


class StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Phase(StrictModel):
    """Some epochs at one input size."""

    size_hw: tuple[int, int]
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)
    """Photos a step, over all processes."""


class Optimiser(StrictModel):
    kind: Literal["muon", "adamw", "sgd"]
    rate: float
    muon_rate: float = 0.02
    """Of the dense kernels, which Muon steps; `rate` is then AdamW's, for all others."""
    weight_decay: float
    momentum: float = 0.9
    """Of SGD."""
    warm_up: float = Field(default=1.0, ge=0)
    """Epochs from zero to the full rate."""
    cool_down: float = Field(default=0, ge=0)
    """Epochs from the full rate to zero, at the end; constant between. 0: a run to branch from."""
    clip: float = 5.0
    """Largest norm of the gradient."""


class LossWeights(StrictModel):
    cross_entropy: float = 1.0
    semantic_connectivity: float = 0.0
    cold_start: Literal["paper", "missed"] = "paper"
    soften_lone: bool = False
    """Both of SC loss, see there."""
    jaccard: float = 0.0
    consistency: float = 1.0
    """Of RCRNet's two views."""
    edge: float = 0.3
    """Of RCRNet's and TriSeNet's edge head."""
    self_supervised: float = 0.25
    """Of MD-TriSeNet's branches."""
    distillation: float = 1.0
    """Of cross entropy with the teachers' masks, where there are teachers."""
    box: float = 1.0
    """Of the face detector's boxes, beside its heat map."""


class TeacherSettings(StrictModel):
    """A network trained before, whose masks are targets beside the labels: the mean of all."""

    model: str
    options: dict[str, Any] = {}
    weights: Path
    """A checkpoint, or a file of training/weights; a relative path is from where training runs."""
    size_hw: tuple[int, int]
    """That it looks at photos in."""
    mirrored: bool = False
    """Looks at each photo in a mirror, too, and says the mean of both, for twice the time."""


class PseudoLabels(StrictModel):
    """Unlabelled photos whose masks are a model's."""

    masks: Path | None = None
    """Folder of a teacher's masks; without it the pack's selfie masks are taken."""
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """IoU of the selfie mask with another network's, below which the photo is left out."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of their certain pixels in the losses; a labelled photo's is 1."""


class Recipe(StrictModel):
    name: str
    model: str
    options: dict[str, Any] = {}
    """Of the architecture."""
    resize: ResizeRule = ResizeRule.STRETCH
    seed: int
    repeats: dict[str, int] = {}
    """How often an epoch shows each photo of a source; 1 where not named."""
    photos_per_epoch: int | None = Field(default=None, ge=2)
    """Samples of an epoch, drawn by `source_weights`; `repeats` then has no part in it."""
    sources: tuple[str, ...] | None = None
    """Sources that are trained on: of labelled photos, of pseudo-labelled ones and of scenes. All
    of them if None; validation is always on all.
    """
    source_weights: dict[str, float] = {}
    """How often a photo of a source is drawn, as a multiple of a source that is not named."""
    pseudo_labels: PseudoLabels | None = None
    phases: tuple[Phase, ...]
    optimiser: Optimiser
    loss: LossWeights
    teachers: tuple[TeacherSettings, ...] = ()
    """For networks of masks."""
    augmentation: Augmentation = Augmentation()
    domain_balance: float = Field(default=0.5, ge=0, le=1)
    """Of the draws for MD-TriSeNet and for the face detector, see SingleDomainSampler."""
    freeze_statistics: bool = False
    """Keeps batch norm's running statistics as they are, and trains the network that is served:
    those of a few photos differ from them, most of all where all photos are of one domain.
    """
    average: float = 0.999
    """Decay per step of the averaged weights, which are the ones evaluated and exported."""
    evaluate_every: int = 2
    """Epochs."""

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> Phase:
        """The phase that epoch (from 0) lies in."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        raise IndexError(f"the recipe has {self.epochs} epochs")

    def rate(self, epoch: float) -> float:
        """Share 0..1 of the full rates at a fractional epoch: warm-up, constant, cool-down."""
        warm = epoch / self.optimiser.warm_up if self.optimiser.warm_up else 1.0
        left = self.epochs - epoch
        cool = left / self.optimiser.cool_down if self.optimiser.cool_down else 1.0
        return max(0.0, min(1.0, warm, cool))


def read_recipe(path: Path) -> Recipe:
    """Raises OSError, tomllib.TOMLDecodeError or pydantic.ValidationError."""
    return Recipe.model_validate(tomllib.loads(path.read_text()))
