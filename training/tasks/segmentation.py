"""Image to mask: ConnectNet, and what the other segmentation networks have in common."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from silhouette_seg.vision.geometry import Size
from training.data.dataset import Portrait, read_backgrounds, read_frame, read_portraits
from training.data.pseudo_labels import read_pseudo_labelled
from training.data.samples import Batches, Draw, Sample, Samples
from training.data.weighted_batches import WeightedBatches
from training.evaluation.masks import OVERALL, evaluate_masks, segment_by_network
from training.losses.cross_entropy import cross_entropy, person_logit
from training.losses.jaccard import jaccard_loss
from training.losses.semantic_connectivity import semantic_connectivity_loss
from training.recipe import LossWeights, Phase, Recipe
from training.tasks.teacher import Teacher, mean_mask


class SegmentationTask:
    """Mask losses on the augmented photo; validated at each photo's own resolution."""

    with_priors = False

    def __init__(self, recipe: Recipe, data: Path) -> None:
        self.recipe = recipe
        self.teachers = [Teacher(choice) for choice in recipe.teachers]
        self.portraits = self._train_photos(data)
        self.validation = read_portraits(data, "val")
        self.backgrounds = [read_frame(path).rgb for path in read_backgrounds(data, "train")]

    def _train_photos(self, data: Path) -> list[Portrait]:
        """The labelled photos, then those with pseudo-labels where the recipe asks for them."""
        labelled = read_portraits(data, "train")
        pseudo = self.recipe.pseudo_labels
        if pseudo is None:
            return labelled
        return labelled + read_pseudo_labelled(
            data, masks=pseudo.masks, min_agreement=pseudo.min_agreement
        )

    def samples(self, size_hw: Size) -> Samples:
        pseudo = self.recipe.pseudo_labels
        return Samples(
            self.portraits,
            self.backgrounds,
            size_hw=size_hw,
            augmentation=self.recipe.augmentation,
            priors=self.with_priors,
            soft_weight=pseudo.weight if pseudo else 1.0,
        )

    def batches(self, phase: Phase, epoch: int, rank: int, world: int) -> Sampler[list[Draw]]:
        if self.recipe.photos_per_epoch:
            return WeightedBatches(
                self.portraits,
                self.recipe.source_weights,
                photos=self.recipe.photos_per_epoch,
                batch=phase.batch // world,
                seed=self.recipe.seed,
                epoch=epoch,
                rank=rank,
                world=world,
            )
        return Batches(
            self.portraits,
            self.recipe.repeats,
            batch=phase.batch // world,
            seed=self.recipe.seed,
            epoch=epoch,
            rank=rank,
            world=world,
        )

    def prepare(self, model: nn.Module) -> None:
        model.train()
        if self.recipe.freeze_statistics:
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, Tensor]:
        logits = model(as_images(batch.image)).float()
        truth, trust = as_share(batch.truth), as_share(batch.trust)
        return mask_losses(logits, truth, trust, self.recipe.loss) | self.taught(logits, batch)

    def taught(self, logits: Tensor, batch: Sample) -> dict[str, Tensor]:
        """What the teachers, who see the photo in its true colours, make of these logits.

        Where there is nobody they are not asked: what they imagine there would be learned, too.
        """
        if not self.teachers:
            return {}
        weight = self.recipe.loss.distillation
        somebody = batch.truth.flatten(1).any(1)[:, None, None]
        assert isinstance(batch.domain, Tensor), "of a batch it is one"
        mask = mean_mask(self.teachers, batch.plain, batch.domain) * somebody
        return {"distillation": weight * cross_entropy(logits, mask)}

    def validate(self, model: nn.Module, size_hw: Size) -> dict[str, float]:
        """Image means by source: `val/...` of both classes' IoU, `person/...` of the person's."""
        segment = segment_by_network(model, size_hw=size_hw, resize=self.recipe.resize)
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
    logits: Tensor, truth: Tensor, trust: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """The terms by name; logits float32 [N,2,H,W], truth and trust [N,H,W] in 0..1.

    A term without weight costs nothing. Semantic connectivity knows no trust: it counts pieces of
    whole masks.
    """
    terms = {"cross_entropy": weights.cross_entropy * cross_entropy(logits, truth, trust)}
    person = person_logit(logits).sigmoid()
    if weights.semantic_connectivity:
        terms["semantic_connectivity"] = weights.semantic_connectivity * semantic_connectivity_loss(
            person, truth, cold_start=weights.cold_start, soften_lone=weights.soften_lone
        )
    if weights.jaccard:
        terms["jaccard"] = weights.jaccard * jaccard_loss(person, truth, trust)
    return terms


def as_images(pixels: Tensor) -> Tensor:
    """uint8 [N,3,H,W] as the networks take it in training."""
    return pixels.float().contiguous(memory_format=torch.channels_last)


def as_share(mask: Tensor) -> Tensor:
    """uint8 [N,H,W] to 0..1."""
    return mask.float() / 255
