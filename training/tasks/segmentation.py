"""Image to mask: ConnectNet, and what the other segmentation networks have in common."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from service.vision.geometry import Size
from training.data.portraits import read_backgrounds, read_frame, read_portraits
from training.data.samples import Batches, Draw, Sample, Samples
from training.evaluate import OVERALL, by_network, evaluate
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
        self.portraits = read_portraits(data, "train")
        self.validation = read_portraits(data, "val")
        self.backgrounds = [read_frame(path).rgb for path in read_backgrounds(data, "train")]

    def samples(self, size_hw: Size) -> Samples:
        return Samples(
            self.portraits,
            self.backgrounds,
            size_hw=size_hw,
            augmentation=self.recipe.augmentation,
            priors=self.with_priors,
        )

    def batches(self, phase: Phase, epoch: int, rank: int, world: int) -> Sampler[list[Draw]]:
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
        return mask_losses(logits, as_truth(batch.truth), self.recipe.loss) | self.taught(
            logits, batch
        )

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
        segment = by_network(model, size_hw=size_hw, resize=self.recipe.resize)
        summaries = evaluate(segment, self.validation)
        scores = {f"val/{source}": row["miou_image_mean"] for source, row in summaries.items()}
        person = {f"person/{source}": row["iou_fg_image_mean"] for source, row in summaries.items()}
        overall = summaries[OVERALL]
        return scores | person | {
            "val/person": overall["iou_fg_image_mean"],
            "val/connectivity": overall["connectivity"],
        }


def mask_losses(logits: Tensor, truth: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """The terms by name, logits float32 [N,2,H,W], truth [N,H,W] in 0..1; one without weight
    costs nothing.
    """
    terms = {"cross_entropy": weights.cross_entropy * cross_entropy(logits, truth)}
    person = person_logit(logits).sigmoid()
    if weights.semantic_connectivity:
        terms["semantic_connectivity"] = weights.semantic_connectivity * semantic_connectivity_loss(
            person, truth, cold_start=weights.cold_start, soften_lone=weights.soften_lone
        )
    if weights.jaccard:
        terms["jaccard"] = weights.jaccard * jaccard_loss(person, truth)
    return terms


def as_images(pixels: Tensor) -> Tensor:
    """uint8 [N,3,H,W] as the networks take it in training."""
    return pixels.float().contiguous(memory_format=torch.channels_last)


def as_truth(mask: Tensor) -> Tensor:
    """uint8 [N,H,W] to 0..1."""
    return mask.float() / 255
