"""Distillation: networks trained before, whose masks together are targets beside the labels.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); that the teacher sees
the very view that the student sees is from Beyer et al., "Knowledge distillation: A good teacher is
patient and consistent" (CVPR 2022).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.losses.cross_entropy import person_logit
from training.models import build_model, deploy_form, extra_input
from training.models.checkpoint import read_average
from training.recipe import TeacherSettings


class Teacher:
    """Says how likely each pixel is person. Learns nothing itself."""

    def __init__(self, choice: TeacherSettings) -> None:
        """Raises OSError where there are no such weights."""
        self._size_hw = choice.size_hw
        self._mirrored = choice.mirrored
        network = build_model(choice.model, choice.options).eval().requires_grad_(False)
        network.load_state_dict(read_average(choice.weights))
        self._takes_domain = extra_input(network) == "domain"
        self._network = deploy_form(network).requires_grad_(False)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def network(self) -> nn.Module:
        return self._network

    @torch.no_grad()
    def __call__(self, photos: Tensor, domain: Tensor) -> Tensor:
        """uint8 [N,3,H,W] and the domain of each, int64 [N], to [N,H,W] in 0..1.

        It looks at them at a size of its own.
        """
        pixels = photos.float()
        seen = F.interpolate(pixels, self._size_hw, mode="bilinear", align_corners=False)
        person = self._person_probability(seen, domain)
        if self._mirrored:
            person = (person + self._person_probability(seen.flip(-1), domain).flip(-1)) / 2
        sized = F.interpolate(person[:, None], photos.shape[-2:], mode="bilinear")
        return sized[:, 0]

    def _person_probability(self, seen: Tensor, domain: Tensor) -> Tensor:
        """[N,3,h,w] to [N,h,w] in 0..1."""
        network = self._network.to(seen.device)
        extra = (domain,) if self._takes_domain else ()
        logits = network(seen.contiguous(memory_format=torch.channels_last), *extra).float()
        return person_logit(logits).sigmoid()


def mean_mask(teachers: Sequence[Teacher], photos: Tensor, domain: Tensor) -> Tensor:
    """uint8 [N,3,H,W] and int64 [N] to what they say on average, [N,H,W] in 0..1."""
    return torch.stack([teacher(photos, domain) for teacher in teachers]).mean(0)
