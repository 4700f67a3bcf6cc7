"""TriSeNet and Multi-domain TriSeNet: spatial, context and edge path, fused per distance domain.

The widths that the paper does not state are those that reproduce its exact parameter counts.
BiSeNet (Yu et al., ECCV 2018) is the same network without edge path and mxUnits.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.backbones import BACKBONES
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
    """Options of the network; the defaults are TriSeNet on Xception39."""

    backbone: Backbone = "xception39"
    domains: int = 1
    """Number of branches of fusion and head; MD-TriSeNet has six."""
    edges: bool = True
    """Add edge path and mxUnits; without them the network is BiSeNet."""
    stem_kernel: int = 7
    """Kernel of the spatial path: 7 fits the published counts, 3 is the text of the paper."""


class TriSeNet(nn.Module):
    """Maps images [N,3,H,W] (RGB, 0..255, any float type) to logits [N,2,H,W].

    With several domains a second input `domain` int64 [N] selects the branch of each row. Any value
    outside 0..domains-1 selects the last one. H and W are multiples of 32.
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
        """Returns the input of every branch: all paths concatenated, [N,384,H/8,W/8]."""
        mean, std = (image.new_tensor(v).view(1, 3, 1, 1) * 255 for v in (MEAN, STD))
        image = (image - mean) / std
        stages = self.backbone(image)
        paths = [self.spatial(image), self.context(*stages[1:])]
        if self.edge is not None:
            paths.append(self.edge(*stages))
        return torch.cat(paths, dim=1)

    def edge_logits(self, features: Tensor, image: Tensor) -> Tensor:
        """Returns edge logits [N,H,W] of the result of `features`; only training uses them."""
        logits: Tensor = self.edge_head(features[:, -PATH_CHANNELS:])
        return upsample_to(logits, image)[:, 0]


class Branch(nn.Sequential):
    """Feature fusion and head of one domain: logits [N,2,H/8,W/8]."""

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
    """Weights x by a gate computed from its 5x5 surroundings; replaces ReLU."""

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
    """Builds the path to 128 channels at 1/8 of the input."""

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
    """BiSeNet's context path: attention on the two deepest stages, global context, up to 1/8."""

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
    """Projects three stages to few channels, resizes them to 1/8 and mixes them linearly."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.taps = nn.ModuleList(conv_bn(width, TAP_CHANNELS, kernel=1) for width in widths)
        self.mix = conv_bn(len(widths) * TAP_CHANNELS, PATH_CHANNELS, kernel=1, relu=False)

    def forward(self, eighth: Tensor, sixteenth: Tensor, deepest: Tensor) -> Tensor:
        stages = (eighth, sixteenth, deepest)
        tapped = [upsample_to(tap(x), eighth) for tap, x in zip(self.taps, stages, strict=True)]
        mixed: Tensor = self.mix(torch.cat(tapped, dim=1))
        return mixed


def deploy_form(model: TriSeNet) -> nn.Module:
    """Returns an equal network: batch norm folded, no edge head, branches gathered by matrices."""
    deployed = copy.deepcopy(model).eval()
    deployed.edge_head = nn.Identity()
    fuse_batch_norm(deployed)
    return deployed if model.config.domains == 1 else GatheredTriSeNet(deployed)


def route_by_domain(branches: nn.ModuleList, fused: Tensor, domain: Tensor) -> Tensor:
    """Applies each branch to its rows, and restores the order of the rows.

    Unknown domains are clamped first: otherwise such a row would get the result of another row.
    """
    domain = clamp_domain(domain, len(branches) - 1)
    rows = [torch.nonzero(domain == k)[:, 0] for k in range(len(branches))]
    outputs = [branch(fused[row]) for branch, row in zip(branches, rows, strict=True) if len(row)]
    return torch.cat(outputs)[torch.cat(rows).argsort()]


def clamp_domain(domain: Tensor, last: int) -> Tensor:
    """Returns domains 0..last unchanged and all others as the last."""
    return torch.where((domain < 0) | (domain > last), last, domain)


def _convolutions(branch: nn.Module) -> list[nn.Conv2d]:
    """Returns the convolutions of a branch in the order of `LAYERS`."""
    return [module for module in branch.modules() if isinstance(module, nn.Conv2d)]


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None, "batch norm must be folded, which leaves a bias"
    return convolution.bias.detach()


LAYERS = ("mix", "squeeze", "excite", "head", "out")
"""The convolutions of a branch."""


class GatheredTriSeNet(nn.Module):
    """MD-TriSeNet arranged for serving: maps images and `domain` to logits, as `TriSeNet` does.

    The network must have its batch norm folded.
    """

    def __init__(self, model: TriSeNet) -> None:
        super().__init__()
        self.branches = GatheredBranches(model.branches)
        self.trunk = model
        self.trunk.branches = nn.ModuleList()

    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        return upsample_to(self.branches(self.trunk.features(image), domain), image)


class GatheredBranches(nn.Module):
    """Computes the same function as `route_by_domain`, with matrices gathered for each row.

    All shapes except the batch are static, as TensorRT needs. The cost on a CPU is 6 % of the time
    of the network. The branches must have their batch norm folded.
    """

    head: Tensor
    head_bias: Tensor

    def __init__(self, branches: nn.ModuleList) -> None:
        super().__init__()
        self.last = len(branches) - 1
        by_layer = zip(*(_convolutions(branch) for branch in branches), strict=True)
        for name, convolutions in zip(LAYERS, by_layer, strict=True):
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
        # The attention multiplies the kernels, which are smaller than the map.
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
    """Returns the weights of a network with one branch, copied to `domains` branches."""
    state = {name: value for name, value in weights.items() if not name.startswith("branches.")}
    for name, value in weights.items():
        if name.startswith("branches.0."):
            rest = name.removeprefix("branches.0.")
            state |= {f"branches.{domain}.{rest}": value for domain in range(domains)}
    return state


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
