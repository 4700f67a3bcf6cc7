"""Steps between a photo and a network, and between its output and a mask, as a description."""

from dataclasses import dataclass
from enum import StrEnum

from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.geometry import Size

Triple = tuple[float, float, float]
"""One number for each channel: red, green and blue."""


class TensorLayout(StrEnum):
    """Order of the axes of a network's input and output."""

    NCHW = "nchw"
    NHWC = "nhwc"


class ColourOrder(StrEnum):
    """Order of the colour channels of a network's input."""

    RGB = "rgb"
    BGR = "bgr"


class Scale(StrEnum):
    """Divisor of the pixels, before the mean is subtracted."""

    BYTE = "byte"
    """255, the largest level of a pixel."""
    MAXIMUM = "maximum"
    """The largest level of the photo, as U-2-Net and rembg have it."""


class Activation(StrEnum):
    """Function from a network's output to the share of person, 0..1."""

    NONE = "none"
    """The output is a share already."""
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    """Over the channels of the output."""
    MINMAX = "minmax"
    """The smallest value of each photo becomes 0 and the largest 1.

    A photo without a person becomes noise of full contrast.
    """


@dataclass(frozen=True, slots=True)
class Processing:
    """Input size and steps of one network.

    The network's input is (pixels / `scale` - `mean`) / `std`. Its output becomes the share of
    person by `activation`, of the channel `channel`.
    """

    size_hw: Size
    mean: Triple
    std: Triple
    activation: Activation
    layout: TensorLayout = TensorLayout.NCHW
    order: ColourOrder = ColourOrder.RGB
    scale: Scale = Scale.BYTE
    channel: int = 0
    """Channel of the output that is the person."""
    resize: ResizeRule = ResizeRule.STRETCH
    multiple: int = 1
    """Both sides of the input are multiples of it."""
