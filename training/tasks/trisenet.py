"""Tasks of TriSeNet, with an edge loss, and of MD-TriSeNet, with single-domain batches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from training.data.samplers import EpochPlan, SampleSpec, SingleDomainSampler
from training.data.samples import Sample
from training.losses.edges import balanced_edge_loss, gradient_edges
from training.losses.self_supervised import self_supervised_loss
from training.models.blocks import upsample_to
from training.models.trisenet import TriSeNet
from training.tasks.segmentation import SegmentationTask, as_images, mask_losses, to_unit_range


class TriSeNetTask(SegmentationTask):
    """Trains with L_seg of the batch's branch + edge loss + agreement with the other branches."""

    @property
    def domains(self) -> int:
        """Number of branches of the network."""
        return 6 if self.recipe.model == "md_trisenet" else 1

    def batch_sampler(self, plan: EpochPlan) -> Sampler[list[SampleSpec]]:
        if self.domains == 1:
            return super().batch_sampler(plan)
        return SingleDomainSampler(self.portraits, plan, balance=self.recipe.domain_balance)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, Tensor]:
        assert isinstance(model, TriSeNet)
        weights = self.recipe.loss
        image = as_images(batch.image)
        features = model.features(image)
        own = int(torch.as_tensor(batch.domain)[0]) if self.domains > 1 else 0
        logits = upsample_to(model.branches[own](features), image).float()
        truth, pixel_weight = to_unit_range(batch.truth), to_unit_range(batch.pixel_weight)
        terms = mask_losses(logits, truth, pixel_weight, weights) | self.distillation_loss(
            logits, batch
        )
        if model.edge is not None:
            edges = model.edge_logits(features, image).float()
            terms["edge"] = weights.edge * balanced_edge_loss(
                edges, gradient_edges(batch.truth), pixel_weight
            )
        if self.domains > 1 and weights.self_supervised:
            others = [branch for k, branch in enumerate(model.branches) if k != own]
            terms["self_supervised"] = weights.self_supervised * self_supervised_loss(
                logits, [upsample_to(x, image).float() for x in detached_logits(others, features)]
            )
        return terms


@torch.no_grad()
def detached_logits(branches: Sequence[nn.Module], features: Tensor) -> list[Tensor]:
    """Returns the logits of the branches without gradients or changes of their statistics."""
    logits = []
    for branch in branches:
        modes = [(module, module.training) for module in branch.modules()]
        branch.eval()
        logits.append(branch(features))
        for module, training in modes:
            module.training = training  # frozen modules stay frozen
    return logits
