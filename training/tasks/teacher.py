"""Distillation: the mean mask of trained networks is a target beside the labels.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015). Teacher and student
receive the same view. Its source is Beyer et al., "Knowledge distillation: A good teacher is
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
    """Frozen network that returns the probability of person for each pixel."""

    def __init__(self, settings: TeacherSettings) -> None:
        """Loads the network; raises OSError if the file of the weights is missing."""
        self._size_hw = settings.size_hw
        self._mirrored = settings.mirrored
        network = build_model(settings.model, settings.options).eval().requires_grad_(False)
        network.load_state_dict(read_average(settings.weights))
        self._takes_domain = extra_input(network) == "domain"
        self._network = deploy_form(network).requires_grad_(False)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def network(self) -> nn.Module:
        """The teacher's network. Its weights are not trained."""
        return self._network

    @torch.no_grad()
    def __call__(self, photos: Tensor, domain: Tensor) -> Tensor:
        """Maps uint8 [N,3,H,W] and the domain of each photo, int64 [N], to [N,H,W] in 0..1.

        The network runs at the size of its settings; the result has the size of the photos.
        """
        pixels = photos.float()
        resized = F.interpolate(pixels, self._size_hw, mode="bilinear", align_corners=False)
        person = self._person_probability(resized, domain)
        if self._mirrored:
            person = (person + self._person_probability(resized.flip(-1), domain).flip(-1)) / 2
        resized_mask = F.interpolate(person[:, None], photos.shape[-2:], mode="bilinear")
        return resized_mask[:, 0]

    def _person_probability(self, resized: Tensor, domain: Tensor) -> Tensor:
        """Maps [N,3,h,w] to the probability of person, [N,h,w] in 0..1."""
        network = self._network.to(resized.device)
        extra = (domain,) if self._takes_domain else ()
        logits = network(resized.contiguous(memory_format=torch.channels_last), *extra).float()
        return person_logit(logits).sigmoid()


def mean_mask(teachers: Sequence[Teacher], photos: Tensor, domain: Tensor) -> Tensor:
    """Maps photos uint8 [N,3,H,W] and domains int64 [N] to the mean mask, [N,H,W] in 0..1."""
    return torch.stack([teacher(photos, domain) for teacher in teachers]).mean(0)
