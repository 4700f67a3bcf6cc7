"""Architectures: plain modules from images [N,3,H,W] to logits [N,2,H,W], one file each."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from training.models import connectnet
from training.models.connectnet import ConnectNet, ConnectNetConfig

BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "connectnet": lambda **options: ConnectNet(ConnectNetConfig(**options)),
}


def build_model(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The named architecture; raises KeyError for an unknown name, TypeError for an option."""
    return BUILDERS[name](**options)


def deploy_form(model: nn.Module) -> nn.Module:
    """The same function arranged for serving; the model itself where nothing is to be gained."""
    return connectnet.deploy_form(model) if isinstance(model, ConnectNet) else model
