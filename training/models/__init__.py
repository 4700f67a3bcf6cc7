"""Architectures: modules from images [N,3,H,W] to logits [N,2,H,W], one in each file."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from training.models import connectnet, face_detector, rcrnet, trisenet, unet
from training.models.connectnet import ConnectNet, ConnectNetConfig
from training.models.face_detector import FaceDetector, FaceDetectorConfig
from training.models.rcrnet import RCRNet, RCRNetConfig
from training.models.trisenet import (
    GatheredTriSeNet,
    TriSeNet,
    TriSeNetConfig,
    copy_branch_to_domains,
)
from training.models.unet import UNet, UNetConfig

BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "connectnet": lambda **options: ConnectNet(ConnectNetConfig(**options)),
    "rcrnet": lambda **options: RCRNet(RCRNetConfig(**options)),
    "trisenet": lambda **options: TriSeNet(TriSeNetConfig(**options)),
    "md_trisenet": lambda **options: TriSeNet(TriSeNetConfig(**{"domains": 6} | options)),
    "unet": lambda **options: UNet(UNetConfig(**options)),
    "face_detector": lambda **options: FaceDetector(FaceDetectorConfig(**options)),
}


def build_model(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Builds the named architecture.

    Raises KeyError for an unknown name and TypeError for an unknown option.
    """
    return BUILDERS[name](**options)


def deploy_form(model: nn.Module) -> nn.Module:
    """Returns an equal function arranged for serving, or the model itself if there is none."""
    match model:
        case ConnectNet():
            return connectnet.deploy_form(model)
        case RCRNet():
            return rcrnet.deploy_form(model)
        case TriSeNet():
            return trisenet.deploy_form(model)
        case UNet():
            return unet.deploy_form(model)
        case FaceDetector():
            return face_detector.deploy_form(model)
    return model


def extra_input(model: nn.Module) -> Literal["prior", "domain"] | None:
    """Returns the name of the second input, if any: prior uint8 [N,H,W] or domain int64 [N]."""
    if isinstance(model, RCRNet) and model.config.prior:
        return "prior"
    if isinstance(model, GatheredTriSeNet) or (
        isinstance(model, TriSeNet) and model.config.domains > 1
    ):
        return "domain"
    return None


def adapt_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Returns weights that fit the model: a single branch is copied to all its domains."""
    branches = {name.split(".")[1] for name in weights if name.startswith("branches.")}
    if isinstance(model, TriSeNet) and len(branches) == 1:
        return copy_branch_to_domains(weights, len(model.branches))
    return weights
