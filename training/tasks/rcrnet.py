"""Task of RCRNet: consistency of two views, an edge head, and a previous mask as input."""

import torch
from torch import Tensor, nn

from training.data.samples import Sample
from training.losses.consistency import consistency
from training.losses.edges import contour_bands, focal_edge_loss
from training.models.rcrnet import RCRNet
from training.tasks.segmentation import SegmentationTask, as_images, mask_losses, to_unit_range


class RCRNetTask(SegmentationTask):
    """Trains with L = L_m + alpha L_c + beta L_e, with the terms of PortraitNet.

    Without a weight of consistency the plain view is omitted, which halves the time of a step.
    """

    uses_prior = True

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, Tensor]:
        assert isinstance(model, RCRNet)
        weights = self.recipe.loss
        truth, pixel_weight = to_unit_range(batch.truth), to_unit_range(batch.pixel_weight)
        # One pass over both views, which share the batch norm statistics.
        views = [batch.image, batch.plain] if weights.consistency else [batch.image]
        priors = torch.cat([batch.prior] * len(views)).float()
        logits, edges = model.with_edges(as_images(torch.cat(views)), priors)
        augmented, *plain = logits.float().chunk(len(views))
        terms = mask_losses(augmented, truth, pixel_weight, weights) | self.distillation_loss(
            augmented, batch
        )
        band = contour_bands(batch.truth)
        terms["edge"] = weights.edge * focal_edge_loss(
            edges[: len(truth)].float(), band, pixel_weight
        )
        if plain:
            for name, term in mask_losses(plain[0], truth, pixel_weight, weights).items():
                terms[name] = terms[name] + term
            terms["consistency"] = weights.consistency * consistency(augmented, plain[0])
        return terms
