"""RCRNet, the re-parameterised 0.77 M parameter network with the previous mask as input.

The published paper states the module, the wiring and four pairs of counts, but no table of
channels. The widths here satisfy every sentence and all four pairs to within 1.5 %. The variants
`dagger` and `diamond` have the decoder of PortraitNet.

Source of PortraitNet: Zhang et al., "PortraitNet: Real-time portrait segmentation network for
mobile device" (Computers & Graphics 80, 2019).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.blocks import conv_bn, convolve, fuse_batch_norm, upsample_2x, upsample_to

M = TypeVar("M", bound=nn.Module)

STEM = 16
ENCODER = ((48, 24), (96, 32), (192, 96), (576, 320))
"""(hidden, out) channels of each structure that halves the resolution."""
NECK_HIDDEN = 240
DECODER = ((400, 96), (288, 32), (96, 24), (48, 16))
"""(hidden, out) channels of each structure that doubles the resolution, up to 1/2 of the input."""
LAST = (16, 8)
BYPASS = 32


@dataclass(frozen=True, slots=True)
class RCRNetConfig:
    """Optional parts of the network; the defaults are the best variant of the paper, star."""

    rcr_decoder: bool = True
    """Decoder of RCR modules; otherwise the decoder of PortraitNet."""
    bypass: bool = True
    """The half-resolution detail path and the module that fuses it."""
    neck: bool = True
    prior: bool = True
    """A fourth input channel: the previous frame's mask."""


VARIANTS = {
    "dagger": RCRNetConfig(rcr_decoder=False, bypass=False, neck=False),
    "ddagger": RCRNetConfig(bypass=False, neck=False),
    "diamond": RCRNetConfig(rcr_decoder=False, neck=False),
    "star": RCRNetConfig(),
}


class RCRNet(nn.Module):
    """Maps images [N,3,H,W] and priors [N,H,W] (both 0..255, any float type) to logits [N,2,H,W].

    H and W are multiples of 32. `with_edges` adds the head that only training needs.
    """

    def __init__(self, config: RCRNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RCRNetConfig()
        self.stem = conv_bn(4 if config.prior else 3, STEM, kernel=3, stride=2)
        self.encoder = nn.ModuleList([Residual(STEM, STEM)])
        channels = STEM
        for hidden, out in ENCODER:
            self.encoder.append(Down(channels, hidden, out))
            channels = out
        self.neck = Residual(channels, NECK_HIDDEN) if config.neck else nn.Identity()
        up = Up if config.rcr_decoder else PortraitUp
        self.decoder = nn.ModuleList()
        for hidden, out in DECODER:
            self.decoder.append(up(channels, hidden, out))
            channels = out
        self.bypass: nn.Module | None = None
        if config.bypass:
            self.bypass = nn.Sequential(
                RCR(STEM, BYPASS), nn.ReLU(inplace=True), RCR(BYPASS, BYPASS)
            )
            self.fuse = Fusion(channels + BYPASS, channels)
        self.last = up(channels, *LAST)
        self.pred = nn.Conv2d(LAST[1], 2, 3, padding=1, bias=False)
        self.edge_head = self._edge_head()
        self.apply(_initialise)

    def _edge_head(self) -> nn.Module:
        """Builds the edge head: on the bypass at half resolution, or without it beside `pred`."""
        if self.bypass is None:
            return nn.Conv2d(LAST[1], 2, 3, padding=1, bias=False)
        return nn.Sequential(conv_bn(BYPASS, 16, kernel=3), nn.Conv2d(16, 2, 1))

    def forward(self, image: Tensor, prior: Tensor | None = None) -> Tensor:
        logits: Tensor = self.pred(self._features(image, prior)[0])
        return logits

    def with_edges(self, image: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the logits of the mask and of its edge, both [N,2,H,W]."""
        features, detail = self._features(image, prior)
        edges = self.edge_head(features if detail is None else detail)
        return self.pred(features), upsample_to(edges, image)

    def _features(self, image: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns the feature map before `pred`, and that of the bypass if there is one."""
        x = self.stem(self._input(image, prior))
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        half, *skips, _ = skips
        x = self.neck(x)
        for stage in self.decoder[:-1]:
            x = stage(x) + skips.pop()
        x = self.decoder[-1](x)
        if self.config.rcr_decoder:
            x = x + half  # PortraitNet's decoder has no skip at 1/2
        detail = None
        if self.bypass is not None:
            detail = self.bypass(half)
            x = self.fuse(torch.cat([x, detail], dim=1))
        return self.last(x), detail

    def _input(self, image: Tensor, prior: Tensor | None) -> Tensor:
        """Scales RGB to -1..1 and the prior to 0..1; a missing prior is empty."""
        image = image / 127.5 - 1
        if not self.config.prior:
            return image
        if prior is None:
            return F.pad(image, (0, 0, 0, 0, 0, 1))
        return torch.cat([image, prior.unsqueeze(1) / 255], dim=1)


class RCR(nn.Module):
    """Re-parameterised residual: pointwise, then depthwise 3x3 + depthwise 1x1 + identity.

    Equation 1 of the paper. Only the pointwise part changes the number of channels.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.point = conv_bn(channels_in, channels_out, kernel=1)
        self.wide = conv_bn(channels_out, channels_out, kernel=3, groups=channels_out, relu=False)
        self.narrow = conv_bn(channels_out, channels_out, kernel=1, groups=channels_out, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.point(x)
        if self.wide.frozen:
            return convolve(self.wide[0], x, *self._depth())
        summed: Tensor = self.wide(x) + self.narrow(x) + x
        return summed

    def _depth(self) -> tuple[Tensor, Tensor]:
        """Returns kernel and bias of the three branches as one depthwise convolution."""
        wide, wide_bias = self.wide.fold_batch_norm()
        narrow, narrow_bias = self.narrow.fold_batch_norm()
        return wide + F.pad(narrow + 1, (1, 1, 1, 1)), wide_bias + narrow_bias

    @torch.no_grad()
    def fuse_branches(self) -> nn.Sequential:
        """Returns an equal pointwise and depthwise convolution; valid in evaluation mode only."""
        kernel, bias = self._depth()
        channels = len(kernel)
        depth = nn.Conv2d(channels, channels, 3, padding=1, groups=channels).to(kernel)
        depth.load_state_dict({"weight": kernel, "bias": bias})
        return nn.Sequential(self.point, depth)


class Residual(nn.Module):
    """Structure A: two RCR modules beside the identity."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            RCR(channels, hidden), nn.ReLU(inplace=True), RCR(hidden, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = x + self.body(x)
        return summed


class Down(nn.Module):
    """Halves the resolution: a strided depthwise convolution between two RCR modules.

    The paper calls it structure B.
    """

    def __init__(self, channels_in: int, hidden: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            RCR(channels_in, hidden),
            nn.ReLU(inplace=True),
            conv_bn(hidden, hidden, kernel=3, stride=2, groups=hidden, relu=False),
            RCR(hidden, channels_out),
        )
        self.shortcut = nn.Sequential(
            conv_bn(channels_in, channels_in, kernel=3, stride=2, groups=channels_in, relu=False),
            conv_bn(channels_in, channels_out, kernel=1, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.body(x) + self.shortcut(x)
        return summed


class Up(nn.Module):
    """Structure B, doubling.

    A depthwise convolution and a bilinear resize replace the transposed convolution of the paper:
    the counts agree as well, and the network is 1.5 times as fast on a CPU.
    """

    def __init__(self, channels_in: int, hidden: int, channels_out: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(
            RCR(channels_in, hidden),
            nn.ReLU(inplace=True),
            conv_bn(hidden, hidden, kernel=3, groups=hidden, relu=False),
        )
        self.project = RCR(hidden, channels_out)
        self.shortcut = conv_bn(channels_in, channels_out, kernel=1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.project(upsample_2x(self.expand(x))) + upsample_2x(self.shortcut(x))
        return summed


class PortraitUp(nn.Module):
    """PortraitNet's decoder step: a residual block, then a transposed convolution."""

    def __init__(self, channels_in: int, _hidden: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(channels_in, channels_in, kernel=3, groups=channels_in),
            conv_bn(channels_in, channels_out, kernel=1),
            conv_bn(channels_out, channels_out, kernel=3, groups=channels_out),
            conv_bn(channels_out, channels_out, kernel=1, relu=False),
        )
        self.shortcut = conv_bn(channels_in, channels_out, kernel=1, relu=False)
        self.up = nn.ConvTranspose2d(channels_out, channels_out, 4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.up(F.relu(self.body(x) + self.shortcut(x)))
        return doubled


class Fusion(nn.Module):
    """BiSeNet's feature fusion: a pointwise convolution, re-weighted by channel attention."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.mix = conv_bn(channels_in, channels, kernel=1)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x)
        weight: Tensor = self.attention(mixed)
        return mixed + mixed * weight


class DeployedUp(nn.Module):
    """Fused `Up` that doubles the resolution after its second pointwise convolution.

    Bilinear weights sum to one, so the order of the two may change. The convolution then needs a
    quarter of the multiplications.
    """

    def __init__(self, up: Up) -> None:
        super().__init__()
        first, depth = up.project.children()
        point, _, relu = first.children()
        self.narrow = nn.Sequential(up.expand, point)
        self.refine = nn.Sequential(relu, depth)
        self.shortcut = up.shortcut

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.refine(upsample_2x(self.narrow(x))) + upsample_2x(self.shortcut(x))
        return summed


def reparameterise(model: RCRNet) -> RCRNet:
    """Returns the paper's form for serving: RCR modules fused, batch norm folded, no edge head."""
    fused = copy.deepcopy(model).eval()
    fused.edge_head = nn.Identity()
    _replace(fused, RCR, RCR.fuse_branches)
    fuse_batch_norm(fused)
    return fused


def deploy_form(model: RCRNet) -> RCRNet:
    """Returns an equal network arranged for serving."""
    deployed = reparameterise(model)
    _replace(deployed, Up, DeployedUp)
    return deployed


def _replace(module: nn.Module, kind: type[M], make: Callable[[M], nn.Module]) -> None:
    """Replaces every module of a class below `module` by the result of `make`, in place."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, make(child))
        else:
            _replace(child, kind, make)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.ConvTranspose2d):
        module.weight.data.copy_(_bilinear(module.weight))


def _bilinear(weight: Tensor) -> Tensor:
    """Returns the 4x4 kernel that doubles the resolution of every channel."""
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return torch.einsum("oi,y,x->oiyx", torch.eye(len(weight)), ramp, ramp)
