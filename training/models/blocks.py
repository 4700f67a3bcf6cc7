"""Building blocks of several architectures."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval


class ConvBatchNorm(nn.Sequential):
    """Convolution without bias, batch norm and, in some blocks, ReLU.

    In training with frozen statistics (only the batch norms in evaluation mode) it computes one
    convolution with the folded kernel, and gradients reach both layers. The passes of batch norm
    over the activations would take a third of the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        conv, norm, *rest = self
        x = convolve(conv, x, *self.fold_batch_norm()) if self.frozen else norm(conv(x))
        for layer in rest:
            x = layer(x)
        return x

    @property
    def frozen(self) -> bool:
        """True in training with fixed statistics: only the batch norm is in evaluation mode."""
        norm = self[1]
        return self.training and isinstance(norm, nn.BatchNorm2d) and not norm.training

    def fold_batch_norm(self) -> tuple[Tensor, Tensor]:
        """Returns kernel and bias of the equal convolution with the running statistics."""
        conv, norm, *_ = self
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale


def convolve(conv: nn.Module, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Applies `conv` to x with another kernel and bias."""
    assert isinstance(conv, nn.Conv2d)
    large = conv.kernel_size[0] > 3 and kernel.requires_grad
    slow = conv.groups > 1 and (conv.stride[0] > 1 or large)
    if slow and torch.is_grad_enabled() and x.dtype == torch.bfloat16 and x.device.type == "cpu":
        # oneDNN takes 2 to 26 times as long for two gradients in bfloat16: that of the input with a
        # stride, and that of a large kernel.
        with torch.autocast("cpu", enabled=False):
            y = F.conv2d(
                x.float(),
                kernel.float(),
                bias,
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.groups,
            )
        return y.to(x.dtype)
    return F.conv2d(x, kernel, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class Depthwise(nn.Conv2d):
    """Depthwise convolution, trained with the faster computation that `convolve` selects."""

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, bias: bool) -> None:
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self, x, self.weight, self.bias)


def conv_bn(
    channels_in: int,
    channels_out: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> ConvBatchNorm:
    """Builds a convolution without bias that keeps or halves the size, batch norm and ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return ConvBatchNorm(*layers)


def separable(
    channels_in: int, channels_out: int, *, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Builds a depthwise 3x3 convolution without activation, then a pointwise one."""
    return nn.Sequential(
        conv_bn(channels_in, channels_in, kernel=3, stride=stride, groups=channels_in, relu=False),
        conv_bn(channels_in, channels_out, kernel=1, relu=relu),
    )


def upsample_to(x: Tensor, target: Tensor) -> Tensor:
    """Resizes x to the size of target: bilinear, half-pixel.

    A whole factor is preferred to a size, which odd sides need. ONNX Runtime's blocked kernels, and
    so all layers after this one, support only a factor.
    """
    (height, width), (rows, columns) = x.shape[-2:], target.shape[-2:]
    factor = rows // height
    if (height * factor, width * factor) == (rows, columns):
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return F.interpolate(x, size=(rows, columns), mode="bilinear", align_corners=False)


def upsample_2x(x: Tensor) -> Tensor:
    """Doubles the size: bilinear, half-pixel."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def fuse_batch_norm(module: nn.Module) -> None:
    """Folds every batch norm into the convolution before it in a Sequential, in place.

    The module must be in evaluation mode.
    """
    if isinstance(module, nn.Sequential):
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index], module[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for child in module.children():
        fuse_batch_norm(child)
