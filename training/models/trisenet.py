"""TriSeNet and Multi-domain TriSeNet: spatial, context and edge path, fused per distance domain.

The widths the paper leaves open are those that reproduce its parameter counts digit for digit.
BiSeNet (Yu et al., ECCV 2018) is the same network without edge path and mxUnits.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.blocks import Depthwise, conv_bn, fuse_batch_norm, upsample_2x, upsample_to

PATH_CHANNELS = 128
"""Channels of each path at an eighth of the input."""
TAP_CHANNELS = 8
FUSED_CHANNELS = 256
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

Backbone = Literal["xception39", "resnet18"]


@dataclass(frozen=True, slots=True)
class TriSeNetConfig:
    """The defaults are TriSeNet on Xception39."""

    backbone: Backbone = "xception39"
    domains: int = 1
    """Branches of fusion and head; MD-TriSeNet has six."""
    edges: bool = True
    """Edge path and mxUnits; without them it is BiSeNet."""
    stem_kernel: int = 7
    """Of the spatial path: 7 fits the published counts, 3 is the paper's text."""


class TriSeNet(nn.Module):
    """Maps images [N,3,H,W] (RGB, 0..255, any float type) to logits [N,2,H,W].

    With several domains it also takes `domain` int64 [N], each row's branch; any value outside
    0..domains-1 means the last one. H and W are multiples of 32.
    """

    def __init__(self, config: TriSeNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TriSeNetConfig()
        self.spatial = _spatial_path(config)
        self.backbone = BACKBONES[config.backbone]()
        widths = BACKBONES[config.backbone].widths
        self.context = ContextDecoder(*widths[1:])
        self.edge: EdgePath | None = None
        if config.edges:
            self.edge = EdgePath(widths)
            self.edge_head: nn.Module = nn.Sequential(
                conv_bn(PATH_CHANNELS, 64, kernel=3), nn.Conv2d(64, 1, 1)
            )
        paths = 3 if config.edges else 2
        self.branches = nn.ModuleList(Branch(paths * PATH_CHANNELS) for _ in range(config.domains))
        self.apply(_initialise)

    def forward(self, image: Tensor, domain: Tensor | None = None) -> Tensor:
        fused = self.features(image)
        if domain is None:
            logits = self.branches[-1](fused)
        else:
            logits = route_by_domain(self.branches, fused, domain)
        return upsample_to(logits, image)

    def features(self, image: Tensor) -> Tensor:
        """What every branch begins with: all paths side by side [N,384,H/8,W/8]."""
        mean, std = (image.new_tensor(v).view(1, 3, 1, 1) * 255 for v in (MEAN, STD))
        image = (image - mean) / std
        stages = self.backbone(image)
        paths = [self.spatial(image), self.context(*stages[1:])]
        if self.edge is not None:
            paths.append(self.edge(*stages))
        return torch.cat(paths, dim=1)

    def edge_logits(self, features: Tensor, image: Tensor) -> Tensor:
        """[N,H,W], from what `features` gave; training alone asks for them."""
        logits: Tensor = self.edge_head(features[:, -PATH_CHANNELS:])
        return upsample_to(logits, image)[:, 0]


class Branch(nn.Sequential):
    """Feature fusion and head, one per domain: logits [N,2,H/8,W/8]."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            Fusion(channels), conv_bn(FUSED_CHANNELS, 64, kernel=3), nn.Conv2d(64, 2, 1)
        )


class Fusion(nn.Module):
    """BiSeNet's feature fusion, with batch norm in the attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = conv_bn(channels, FUSED_CHANNELS, kernel=1)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            conv_bn(FUSED_CHANNELS, FUSED_CHANNELS // 4, kernel=1),
            conv_bn(FUSED_CHANNELS // 4, FUSED_CHANNELS, kernel=1, relu=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x)
        weight: Tensor = self.attention(mixed)
        return mixed + mixed * weight


class MxUnit(nn.Module):
    """x weighted by a gate that looks at its 5x5 surroundings; stands in for ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            Depthwise(channels, 5, bias=True),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x)
        return gated


def _spatial_path(config: TriSeNetConfig) -> nn.Sequential:
    """To 128 channels at an eighth."""

    def activation() -> nn.Module:
        return MxUnit(64) if config.edges else nn.ReLU(inplace=True)

    return nn.Sequential(
        conv_bn(3, 64, kernel=config.stem_kernel, stride=2),
        conv_bn(64, 64, kernel=3, stride=2, relu=False),
        activation(),
        conv_bn(64, 64, kernel=3, stride=2, relu=False),
        activation(),
        conv_bn(64, PATH_CHANNELS, kernel=1),
    )


class ContextDecoder(nn.Module):
    """BiSeNet's context path: attention on the two deepest stages, global context, back to 1/8."""

    def __init__(self, channels_16: int, channels_32: int) -> None:
        super().__init__()
        self.everywhere = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv_bn(channels_32, PATH_CHANNELS, kernel=1)
        )
        self.attend_32, self.attend_16 = Attention(channels_32), Attention(channels_16)
        self.merge_32 = conv_bn(PATH_CHANNELS, PATH_CHANNELS, kernel=3)
        self.merge_16 = conv_bn(PATH_CHANNELS, PATH_CHANNELS, kernel=3)

    def forward(self, deep_16: Tensor, deep_32: Tensor) -> Tensor:
        x = self.attend_32(deep_32) + self.everywhere(deep_32)
        x = self.merge_32(upsample_2x(x))
        x = self.attend_16(deep_16) + x
        merged: Tensor = self.merge_16(upsample_2x(x))
        return merged


class Attention(nn.Module):
    """BiSeNet's attention refinement."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv_bn(channels, PATH_CHANNELS, kernel=3)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            conv_bn(PATH_CHANNELS, PATH_CHANNELS, kernel=1, relu=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        attended: Tensor = x * self.attention(x)
        return attended


class EdgePath(nn.Module):
    """Narrow taps of three stages, brought to an eighth and mixed linearly."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.taps = nn.ModuleList(conv_bn(width, TAP_CHANNELS, kernel=1) for width in widths)
        self.mix = conv_bn(len(widths) * TAP_CHANNELS, PATH_CHANNELS, kernel=1, relu=False)

    def forward(self, eighth: Tensor, sixteenth: Tensor, deepest: Tensor) -> Tensor:
        stages = (eighth, sixteenth, deepest)
        tapped = [upsample_to(tap(x), eighth) for tap, x in zip(self.taps, stages, strict=True)]
        mixed: Tensor = self.mix(torch.cat(tapped, dim=1))
        return mixed


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
    """Depthwise without batch norm, pointwise with: not `blocks.separable`."""
    return nn.Sequential(
        Depthwise(channels_in, 3, stride=stride, bias=False),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class ResNet18(nn.Module):
    """He et al., CVPR 2016: maps at 1/8, 1/16 and 1/32."""

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
    """The output of each stage."""
    outputs = []
    for stage in stages:
        x = stage(x)
        outputs.append(x)
    return outputs


BACKBONES: Mapping[str, type[Xception39] | type[ResNet18]] = {
    "xception39": Xception39,
    "resnet18": ResNet18,
}


def deploy_form(model: TriSeNet) -> nn.Module:
    """The same function with batch norm folded, no edge head, and branches picked by matrices."""
    served = copy.deepcopy(model).eval()
    served.edge_head = nn.Identity()
    fuse_batch_norm(served)
    return served if model.config.domains == 1 else GatheredTriSeNet(served)


def route_by_domain(branches: nn.ModuleList, fused: Tensor, domain: Tensor) -> Tensor:
    """Each branch on its own rows, and the rows put back in order.

    A row of no branch would silently get another one's answer, hence the clean-up first.
    """
    domain = clamp_domain(domain, len(branches) - 1)
    rows = [torch.nonzero(domain == k)[:, 0] for k in range(len(branches))]
    answers = [branch(fused[row]) for branch, row in zip(branches, rows, strict=True) if len(row)]
    return torch.cat(answers)[torch.cat(rows).argsort()]


def clamp_domain(domain: Tensor, last: int) -> Tensor:
    """Domains 0..last as they are, all others as the last."""
    return torch.where((domain < 0) | (domain > last), last, domain)


def _convolutions(branch: nn.Module) -> list[nn.Conv2d]:
    """In the order of `LAYERS`."""
    return [module for module in branch.modules() if isinstance(module, nn.Conv2d)]


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None, "batch norm is folded, which leaves a bias"
    return convolution.bias.detach()


LAYERS = ("mix", "squeeze", "excite", "head", "out")
"""The convolutions of a branch."""


class GatheredTriSeNet(nn.Module):
    """MD-TriSeNet as it is served: images and `domain` as `TriSeNet` takes them, to logits.

    Takes a network whose batch norm is folded.
    """

    def __init__(self, model: TriSeNet) -> None:
        super().__init__()
        self.branches = GatheredBranches(model.branches)
        self.trunk = model
        self.trunk.branches = nn.ModuleList()

    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        return upsample_to(self.branches(self.trunk.features(image), domain), image)


class GatheredBranches(nn.Module):
    """The same function as `route_by_domain`, by matrices picked per row.

    Every shape is static but the batch, which TensorRT asks for; the price on a CPU is 6 % of the
    whole network's time. Takes branches whose batch norm is folded.
    """

    head: Tensor
    head_bias: Tensor

    def __init__(self, branches: nn.ModuleList) -> None:
        super().__init__()
        self.last = len(branches) - 1
        of_layer = zip(*(_convolutions(branch) for branch in branches), strict=True)
        for name, convolutions in zip(LAYERS, of_layer, strict=True):
            kernels = torch.stack([conv.weight.detach() for conv in convolutions])
            biases = torch.stack([_bias(conv) for conv in convolutions])
            # [D,O,I,h,w] as matrices [D, h*w*O, I]: one product does every tap of the kernel
            matrices = kernels.permute(0, 3, 4, 1, 2).flatten(1, 3)
            self.register_buffer(name, matrices.contiguous())
            self.register_buffer(f"{name}_bias", biases.unsqueeze(-1))

    def forward(self, fused: Tensor, domain: Tensor) -> Tensor:
        domain = clamp_domain(domain, self.last)
        rows = fused.shape[0]
        height, width = fused.shape[-2:]
        mixed = F.relu(self._layer("mix", fused.flatten(2), domain))
        weight = F.relu(self._layer("squeeze", mixed.mean(2, keepdim=True), domain))
        weight = 1 + torch.sigmoid(self._layer("excite", weight, domain))
        # the attention multiplies the kernels, which are smaller than the map
        taps = (self.head[domain] * weight.transpose(1, 2)) @ mixed
        taps = F.pad(taps.view(rows, 9, -1, height, width), (1, 1, 1, 1))
        shifted = [
            taps[:, 3 * y + x, :, y : y + height, x : x + width] for y in range(3) for x in range(3)
        ]
        head = torch.stack(shifted).sum(0).flatten(2) + self.head_bias[domain]
        return self._layer("out", F.relu(head), domain).view(rows, 2, height, width)

    def _layer(self, name: str, x: Tensor, domain: Tensor) -> Tensor:
        matrices, biases = self.get_buffer(name), self.get_buffer(f"{name}_bias")
        return matrices[domain] @ x + biases[domain]


def copy_branch_to_domains(weights: Mapping[str, Tensor], domains: int) -> dict[str, Tensor]:
    """Weights of a network with one branch, for a network whose `domains` branches begin as it."""
    spread = {name: value for name, value in weights.items() if not name.startswith("branches.")}
    for name, value in weights.items():
        if name.startswith("branches.0."):
            rest = name.removeprefix("branches.0.")
            spread |= {f"branches.{domain}.{rest}": value for domain in range(domains)}
    return spread


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
