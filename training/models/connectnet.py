"""ConnectNet, the 0.13 M parameter portrait network of PP-HumanSeg.

Source: Chu et al., "PP-HumanSeg: Connectivity-Aware Portrait Segmentation with a Large-Scale
Teleconferencing Video Dataset" (WACVW 2022), section 4 and figure 5.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.blocks import conv_bn, separable, upsample_to

BLOCK = 16
"""Channels of an AVX-512 register, and of a block of the kernels used for serving."""


@dataclass(frozen=True, slots=True)
class ConnectNetConfig:
    """Widths and depths; the defaults are the published network, 131,766 parameters."""

    stem: int = 36
    skip: int = 18
    stages: tuple[tuple[int, int], ...] = ((72, 4), (144, 8))
    """(channels, blocks) of each stage; the first block of a stage halves the resolution."""
    decoder: int = 64
    classes: int = 2
    logits_relu: bool = True
    """Apply a ReLU to the logits, as the released network does; it has no parameters."""


class ConnectNet(nn.Module):
    """Maps images [N,3,H,W] (RGB, 0..255, any float type) to logits [N,classes,H,W]."""

    def __init__(self, config: ConnectNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ConnectNetConfig()
        self.stem = conv_bn(3, config.stem, kernel=3, stride=2)
        self.skip = conv_bn(config.stem, config.skip, kernel=1)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        blocks: list[nn.Module] = []
        channels = config.stem
        for width, depth in config.stages:
            blocks.append(DownBlock(channels, width))
            blocks.extend(ShuffleBlock(width) for _ in range(depth - 1))
            channels = width
        self.encoder = nn.Sequential(*blocks)
        self.bottleneck = separable(channels, config.decoder)
        self.head = nn.Sequential(
            separable(config.skip + config.decoder, config.decoder),
            separable(config.decoder, config.classes, relu=config.logits_relu),
        )
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        return upsample_to(self.half_resolution_logits(image), image)

    def half_resolution_logits(self, image: Tensor) -> Tensor:
        """Returns logits [N,classes,ceil(H/2),ceil(W/2)] before the last upsampling."""
        stem = self.stem(image / 127.5 - 1.0)
        skip = self.skip(stem)
        deep = self.bottleneck(self.encoder(self.pool(stem)))
        logits: Tensor = self.head(torch.cat([skip, upsample_to(deep, skip)], dim=1))
        return logits


def deploy_form(model: ConnectNet) -> ConnectNet:
    """Returns an equal network with zero channels beside the skip, for whole blocks of channels.

    ONNX Runtime's blocked kernels need whole blocks. At 96x96 the other kernels cost as much as the
    rest of the network.
    """
    config = model.config
    skip = config.skip + -(config.skip + config.decoder) % BLOCK
    wide = ConnectNet(replace(config, skip=skip)).eval()
    live = [*range(config.skip), *range(skip, skip + config.decoder)]
    state = wide.state_dict()
    for name, value in model.state_dict().items():
        state[name] = _widen(value, state[name], live)
    wide.load_state_dict(state)
    return wide


def _widen(value: Tensor, like: Tensor, live: list[int]) -> Tensor:
    """Returns `value` in the shape of `like`, with zeros in the channels that are not live."""
    for axis, (old, new) in enumerate(zip(value.shape, like.shape, strict=True)):
        if old != new:
            shape = (*value.shape[:axis], new, *value.shape[axis + 1 :])
            index = torch.tensor(live[:old])
            value = torch.zeros(shape, dtype=value.dtype).index_copy(axis, index, value)
    return value


class ShuffleBlock(nn.Module):
    """Block of stride 1: half of the channels pass unchanged, then all channels are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.work = nn.Sequential(conv_bn(half, half, kernel=1), separable(half, half))

    def forward(self, x: Tensor) -> Tensor:
        identity, computed = x.chunk(2, dim=1)
        return F.channel_shuffle(torch.cat([identity, self.work(computed)], dim=1), 2)


class DownBlock(nn.Module):
    """Block of stride 2: both halves of the channels are computed from the whole input."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.shortcut = separable(channels_in, half, stride=2)
        self.work = nn.Sequential(
            conv_bn(channels_in, half, kernel=1), separable(half, half, stride=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.channel_shuffle(torch.cat([self.shortcut(x), self.work(x)], dim=1), 2)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.001)
