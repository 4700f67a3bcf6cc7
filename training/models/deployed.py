"""Networks in the form of deployment: the graph maps pixels to the mask."""

import torch
from torch import Tensor, nn

from training.losses.cross_entropy import person_logit
from training.models.face_detector import DeployedFaceDetector, FaceDetector


def build_deployed(model: nn.Module) -> nn.Module:
    """Wraps a network for deployment, in evaluation mode: uint8 images to `alpha` or `faces`."""
    deployed = (
        DeployedFaceDetector(model) if isinstance(model, FaceDetector) else DeployedSegmenter(model)
    )
    return deployed.eval()


class DeployedSegmenter(nn.Module):
    """Maps uint8 [N,H,W,3] RGB to uint8 [N,H,W], 255 x the softmax probability of person.

    The second input, if any, is a prior uint8 [N,H,W] or domains int64 [N].
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, extra: Tensor | None = None) -> Tensor:
        pixels = image.permute(0, 3, 1, 2).float()
        if extra is None:
            logits = self.model(pixels)
        else:
            logits = self.model(pixels, extra.float() if extra.dtype == torch.uint8 else extra)
        # Equal to softmax; its kernel in ONNX Runtime took a seventh of the time of the graph.
        person = torch.sigmoid(person_logit(logits))
        return (person * 255).round().to(torch.uint8)
