"""What several architectures are built of."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval


def conv_bn(
    channels_in: int,
    channels_out: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution without bias that keeps the size (or halves it), batch norm, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def separable(
    channels_in: int, channels_out: int, *, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Depthwise 3x3 (no activation), then pointwise."""
    return nn.Sequential(
        conv_bn(channels_in, channels_in, kernel=3, stride=stride, groups=channels_in, relu=False),
        conv_bn(channels_in, channels_out, kernel=1, relu=relu),
    )


def upsample_to(x: Tensor, target: Tensor) -> Tensor:
    """Bilinear, half-pixel; by size, not by factor, because sides may be odd."""
    return F.interpolate(x, size=target.shape[-2:], mode="bilinear", align_corners=False)


def double(x: Tensor) -> Tensor:
    """Twice the size, bilinear, half-pixel."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def folded(convolution: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Kernel and bias of what `conv_bn` built, with its batch norm in evaluation mode folded in."""
    conv, norm = convolution[0], convolution[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    fused = fuse_conv_bn_eval(conv, norm)
    assert fused.bias is not None
    return fused.weight.detach(), fused.bias.detach()


def fuse_batch_norm(module: nn.Module) -> None:
    """Folds every batch norm that follows a convolution in a Sequential into it, in place.

    For modules in evaluation mode.
    """
    if isinstance(module, nn.Sequential):
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index], module[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for child in module.children():
        fuse_batch_norm(child)
