"""Recipes: all settings of a training run, read from TOML."""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field

from silhouette_seg.spec import ResizeRule
from training.data.augmentation import Augmentation

RECIPES_FOLDER = Path(__file__).with_name("recipes")
SIMILAR_NAMES = 5
"""Largest number of similar names in the error for an unknown recipe."""
SIMILARITY = 0.5
"""Smallest ratio of difflib, 0..1, of a similar name. `longer` then finds `connectnet_longer`."""


class UnknownRecipe(FileNotFoundError):
    """No file and no name of a recipe; the message lists similar names."""


class StrictModel(BaseModel):
    """Immutable model that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Phase(StrictModel):
    """Consecutive epochs at one input size."""

    size_hw: tuple[int, int]
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)
    """Photos of a step over all processes."""


class Optimiser(StrictModel):
    """Optimiser, its rates and the schedule of the rates."""

    kind: Literal["muon", "adamw", "sgd"]
    rate: float
    muon_rate: float = 0.02
    """Learning rate of the dense kernels with Muon; `rate` is then that of AdamW for the others."""
    weight_decay: float
    momentum: float = 0.9
    """Momentum of SGD."""
    warm_up: float = Field(default=1.0, ge=0)
    """Epochs from rate zero to the full rate."""
    cool_down: float = Field(default=0, ge=0)
    """Epochs from the full rate to zero at the end; 0 for a run that others branch from."""
    clip: float = 5.0
    """Largest norm of the gradient; a larger gradient is scaled."""


class LossWeights(StrictModel):
    """Weights and options of the loss terms; a term of weight 0 is not computed."""

    cross_entropy: float = 1.0
    semantic_connectivity: float = 0.0
    cold_start: Literal["paper", "missed"] = "paper"
    soften_lone: bool = False
    """Options of the semantic connectivity loss, like `cold_start`."""
    jaccard: float = 0.0
    consistency: float = 1.0
    """Weight of the consistency of RCRNet's two views."""
    edge: float = 0.3
    """Weight of the edge head of RCRNet and TriSeNet."""
    self_supervised: float = 0.25
    """Weight of the agreement of MD-TriSeNet's branches."""
    distillation: float = 1.0
    """Weight of the cross entropy with the teachers' masks; unused without teachers."""
    box: float = 1.0
    """Weight of the face detector's boxes; its heat map has weight 1."""


class TeacherSettings(StrictModel):
    """Trained network; the mean mask of all teachers is a target beside the labels."""

    model: str
    options: dict[str, Any] = {}
    weights: Path
    """Checkpoint or file of training/weights; relative to the working directory."""
    size_hw: tuple[int, int]
    """Input size of the teacher."""
    mirrored: bool = False
    """Average with the prediction of the mirrored photo, which doubles the cost."""


class PseudoLabels(StrictModel):
    """Unlabelled photos with the masks of a model."""

    masks: Path | None = None
    """Folder of a teacher's masks; without it the selfie masks of the pack are used."""
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Smallest IoU of the selfie mask with that of another network; other photos are left out."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of certain pixels in the losses; that of labelled photos is 1."""


class Recipe(StrictModel):
    """All settings of a training run."""

    name: str
    model: str
    options: dict[str, Any] = {}
    """Options of the architecture."""
    resize: ResizeRule = ResizeRule.STRETCH
    seed: int
    repeats: dict[str, int] = {}
    """Occurrences of each photo of a source in an epoch; 1 for a source without entry."""
    photos_per_epoch: int | None = Field(default=None, ge=2)
    """Samples of an epoch, chosen by `source_weights`; `repeats` is then not used."""
    sources: tuple[str, ...] | None = None
    """Sources of labelled photos, pseudo-labelled photos and backgrounds for training.

    None means all sources; validation always uses all.
    """
    source_weights: dict[str, float] = {}
    """Relative frequency of the photos of a source; 1 for a source without entry."""
    pseudo_labels: PseudoLabels | None = None
    phases: tuple[Phase, ...]
    optimiser: Optimiser
    loss: LossWeights
    teachers: tuple[TeacherSettings, ...] = ()
    """Teachers of a segmentation network."""
    augmentation: Augmentation = Augmentation()
    domain_balance: float = Field(default=0.5, ge=0, le=1)
    """Balance of domains for MD-TriSeNet and the face detector, see SingleDomainSampler."""
    freeze_statistics: bool = False
    """Fix batch norm's running statistics, so that training and serving compute the same network.

    The statistics of small batches differ from them, most of all in batches of one domain.
    """
    average: float = 0.999
    """Decay per step of the averaged weights, which are evaluated and exported."""
    evaluate_every: int = 2
    """Epochs between two validations."""

    @property
    def epochs(self) -> int:
        """Number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> Phase:
        """Returns the phase of an epoch, counted from 0; raises IndexError after the last phase."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        raise IndexError(f"the recipe has {self.epochs} epochs")

    def rate(self, epoch: float) -> float:
        """Returns the share 0..1 of the full rates at a fractional epoch.

        The schedule is a warm-up, a constant rate, and a cool-down.
        """
        warm = epoch / self.optimiser.warm_up if self.optimiser.warm_up else 1.0
        left = self.epochs - epoch
        cool = left / self.optimiser.cool_down if self.optimiser.cool_down else 1.0
        return max(0.0, min(1.0, warm, cool))


def recipe_files() -> dict[str, Path]:
    """Returns the files of `training/recipes` by the name of their recipe."""
    files = sorted(RECIPES_FOLDER.rglob("*.toml"))
    return {tomllib.loads(file.read_text())["name"]: file for file in files}


def find_recipe(path: Path) -> Path:
    """Returns the file of a recipe, which may be given by its name; raises UnknownRecipe.

    `connectnet_longer`, `connectnet_longer.toml` and `training/recipes/connectnet_longer.toml` are
    the recipe with this name. An existing file takes precedence.
    """
    if path.is_file():
        return path
    files, name = recipe_files(), path.name.removesuffix(".toml")
    is_alias = path.name == str(path) or path.parent.resolve() == RECIPES_FOLDER.resolve()
    if is_alias and name in files:
        return files[name]
    similar = get_close_matches(name, files, n=SIMILAR_NAMES, cutoff=SIMILARITY)
    hint = f"similar names: {', '.join(similar)}" if similar else "see training/recipes"
    raise UnknownRecipe(f"there is no recipe {path}; {hint}")


def check_recipe(path: Path) -> Path:
    """Returns the file of a recipe of the command line; raises typer.BadParameter."""
    try:
        return find_recipe(path)
    except UnknownRecipe as error:
        raise typer.BadParameter(str(error)) from error


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe by its file or name, see find_recipe.

    Raises OSError, tomllib.TOMLDecodeError or pydantic.ValidationError.
    """
    return Recipe.model_validate(tomllib.loads(find_recipe(path).read_text()))
