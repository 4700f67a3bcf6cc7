"""Backbones of TriSeNet and BiSeNet: feature maps at 1/8, 1/16 and 1/32 of the input."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from training.models.blocks import Depthwise, conv_bn


class Xception39(nn.Module):
    """BiSeNet's lightweight Xception: maps at 1/8, 1/16 and 1/32."""

    widths = (64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 8, kernel=3, stride=2), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        channels = 8
        for width, depth in zip(self.widths, (4, 8, 4), strict=True):
            blocks = [XceptionBlock(channels, width, stride=2)]
            blocks += [XceptionBlock(width, width, stride=1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = width

    def forward(self, image: Tensor) -> list[Tensor]:
        return _stage_outputs(self.stages, self.stem(image))


class XceptionBlock(nn.Module):
    """Three separable convolutions through a quarter of the width, beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        middle = channels // 4
        self.body = nn.Sequential(
            *sep_conv(channels_in, middle, stride=stride),
            nn.ReLU(inplace=True),
            *sep_conv(middle, middle),
            nn.ReLU(inplace=True),
            *sep_conv(middle, channels),
        )
        self.shortcut = (
            nn.Identity() if stride == 1 else sep_conv(channels_in, channels, stride=stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.body(x) + self.shortcut(x)
        return F.relu(summed)


def sep_conv(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    """Builds a depthwise convolution without batch norm, then a pointwise one with batch norm.

    `blocks.separable` has a batch norm after both.
    """
    return nn.Sequential(
        Depthwise(channels_in, 3, stride=stride, bias=False),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class ResNet18(nn.Module):
    """ResNet-18 (He et al., CVPR 2016): maps at 1/8, 1/16 and 1/32."""

    widths = (128, 256, 512)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(3, 64, kernel=7, stride=2),
            nn.MaxPool2d(3, 2, 1),
            ResidualBlock(64, 64, stride=1),
            ResidualBlock(64, 64, stride=1),
        )
        self.stages = nn.ModuleList()
        channels = 64
        for width in self.widths:
            self.stages.append(
                nn.Sequential(
                    ResidualBlock(channels, width, stride=2), ResidualBlock(width, width, stride=1)
                )
            )
            channels = width

    def forward(self, image: Tensor) -> list[Tensor]:
        return _stage_outputs(self.stages, self.stem(image))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(channels_in, channels, kernel=3, stride=stride),
            conv_bn(channels, channels, kernel=3, relu=False),
        )
        same = stride == 1 and channels_in == channels
        self.shortcut = (
            nn.Identity()
            if same
            else conv_bn(channels_in, channels, kernel=1, stride=stride, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.body(x) + self.shortcut(x)
        return F.relu(summed)


def _stage_outputs(stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """Returns the output of each stage."""
    outputs = []
    for stage in stages:
        x = stage(x)
        outputs.append(x)
    return outputs


BACKBONES: Mapping[str, type[Xception39] | type[ResNet18]] = {
    "xception39": Xception39,
    "resnet18": ResNet18,
}
