"""Task of ConnectNet and U-Net, and base of the other segmentation tasks."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from silhouette_seg.vision.geometry import Size
from training.data.dataset import Portrait, read_backgrounds, read_frame, read_portraits
from training.data.pseudo_labels import read_pseudo_labelled
from training.data.samplers import (
    EpochPlan,
    EpochSampler,
    SampleSpec,
    WeightedSourceSampler,
)
from training.data.samples import Sample, SegmentationDataset
from training.evaluation.masks import OVERALL, evaluate_masks, segmenter_from_network
from training.losses.cross_entropy import cross_entropy, person_logit
from training.losses.jaccard import jaccard_loss
from training.losses.semantic_connectivity import semantic_connectivity_loss
from training.recipe import LossWeights, Recipe
from training.tasks.teacher import Teacher, mean_mask


class SegmentationTask:
    """Applies mask losses to augmented photos; validates at the resolution of each photo."""

    uses_prior = False

    def __init__(self, recipe: Recipe, data: Path) -> None:
        self.recipe = recipe
        self.teachers = [Teacher(settings) for settings in recipe.teachers]
        self.portraits = self._train_photos(data)
        self.validation = read_portraits(data, "val")
        scenes = read_backgrounds(data, "train", sources=recipe.sources)
        self.backgrounds = [read_frame(path).rgb for path in scenes]

    def _train_photos(self, data: Path) -> list[Portrait]:
        """Reads the labelled photos, then the pseudo-labelled photos if the recipe has them.

        Raises ValueError if no photo is of the recipe's sources.
        """
        portraits = read_portraits(data, "train")
        pseudo = self.recipe.pseudo_labels
        if pseudo is not None:
            portraits += read_pseudo_labelled(
                data, masks=pseudo.masks, min_agreement=pseudo.min_agreement
            )
        sources = self.recipe.sources
        selected_photos = [
            portrait for portrait in portraits if sources is None or portrait.source in sources
        ]
        if not selected_photos:
            raise ValueError(f"the data pack has no photo of the sources {sources}")
        return selected_photos

    def samples(self, size_hw: Size) -> SegmentationDataset:
        pseudo = self.recipe.pseudo_labels
        return SegmentationDataset(
            self.portraits,
            self.backgrounds,
            size_hw=size_hw,
            augmentation=self.recipe.augmentation,
            priors=self.uses_prior,
            soft_weight=pseudo.weight if pseudo else 1.0,
        )

    def batch_sampler(self, plan: EpochPlan) -> Sampler[list[SampleSpec]]:
        if self.recipe.photos_per_epoch:
            return WeightedSourceSampler(
                self.portraits,
                plan,
                weights=self.recipe.source_weights,
                photos=self.recipe.photos_per_epoch,
            )
        return EpochSampler(self.portraits, plan)

    def prepare(self, model: nn.Module) -> None:
        model.train()
        if self.recipe.freeze_statistics:
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, Tensor]:
        logits = model(as_images(batch.image)).float()
        truth, pixel_weight = to_unit_range(batch.truth), to_unit_range(batch.pixel_weight)
        return mask_losses(logits, truth, pixel_weight, self.recipe.loss) | self.distillation_loss(
            logits, batch
        )

    def distillation_loss(self, logits: Tensor, batch: Sample) -> dict[str, Tensor]:
        """Returns the distillation loss of the logits, without a term if there is no teacher.

        The teachers receive the view before the change of its colours. Their masks count as empty
        in photos without a person: otherwise their false alarms would be learned.
        """
        if not self.teachers:
            return {}
        weight = self.recipe.loss.distillation
        has_person = batch.truth.flatten(1).any(1)[:, None, None]
        assert isinstance(batch.domain, Tensor), "the domain of a batch is a tensor"
        mask = mean_mask(self.teachers, batch.plain, batch.domain) * has_person
        return {"distillation": weight * cross_entropy(logits, mask)}

    def validate(self, model: nn.Module, size_hw: Size) -> dict[str, float]:
        """Returns image means by source: `val/...` of both classes, `person/...` of the person."""
        segment = segmenter_from_network(model, size_hw=size_hw, resize=self.recipe.resize)
        summaries = evaluate_masks(segment, self.validation)
        scores = {f"val/{source}": row["miou_image_mean"] for source, row in summaries.items()}
        person = {f"person/{source}": row["iou_fg_image_mean"] for source, row in summaries.items()}
        overall = summaries[OVERALL]
        return (
            scores
            | person
            | {
                "val/person": overall["iou_fg_image_mean"],
                "val/connectivity": overall["connectivity"],
            }
        )


def mask_losses(
    logits: Tensor, truth: Tensor, pixel_weight: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """Returns the weighted terms by name.

    Logits are float32 [N,2,H,W], truth and pixel_weight float32 [N,H,W] in 0..1. A term without
    weight is not computed. Semantic connectivity ignores the pixel weights: it counts components of
    whole masks.
    """
    terms = {"cross_entropy": weights.cross_entropy * cross_entropy(logits, truth, pixel_weight)}
    person = person_logit(logits).sigmoid()
    if weights.semantic_connectivity:
        terms["semantic_connectivity"] = weights.semantic_connectivity * semantic_connectivity_loss(
            person, truth, cold_start=weights.cold_start, soften_lone=weights.soften_lone
        )
    if weights.jaccard:
        terms["jaccard"] = weights.jaccard * jaccard_loss(person, truth, pixel_weight)
    return terms


def as_images(pixels: Tensor) -> Tensor:
    """Converts uint8 [N,3,H,W] to float32 in channels-last memory."""
    return pixels.float().contiguous(memory_format=torch.channels_last)


def to_unit_range(mask: Tensor) -> Tensor:
    """Converts uint8 [N,H,W] to float32 in 0..1."""
    return mask.float() / 255
