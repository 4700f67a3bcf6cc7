"""The steps around a network in numpy, as its reference has them.

The composed graph is compared with them.
"""

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.model_import.processing import (
    Activation,
    ColourOrder,
    Processing,
    Scale,
    TensorLayout,
)

Floats = NDArray[np.floating]


def preprocess(images: NDArray[np.uint8], processing: Processing) -> NDArray[np.float32]:
    """Returns the input of the network, float32 [N,3,H,W] or [N,H,W,3].

    `images` are uint8 [N,H,W,3] RGB at the size of the network.
    """
    pixels = images.astype(np.float32)
    if processing.scale is Scale.MAXIMUM:
        pixels /= np.maximum(pixels.max((1, 2, 3), keepdims=True), np.float32(1e-6))
    else:
        pixels /= np.float32(255)
    mean, std = np.array(processing.mean, np.float32), np.array(processing.std, np.float32)
    values = (pixels - mean) / std
    if processing.order is ColourOrder.BGR:
        values = values[..., ::-1]
    if processing.layout is TensorLayout.NCHW:
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values)


def person_values(output: Floats, processing: Processing) -> Floats:
    """Returns the output of the network in the person's channel, [N,H,W], before the activation.

    For a softmax it is the result of that, because it needs all channels.
    """
    channels = 1 if processing.layout is TensorLayout.NCHW else output.ndim - 1
    if processing.activation is Activation.SOFTMAX:
        powers = np.exp(output - output.max(channels, keepdims=True))
        output = powers / powers.sum(channels, keepdims=True)
    if output.ndim == 3:
        return output
    return output.take([processing.channel], channels).squeeze(channels)


def postprocess(output: Floats, processing: Processing) -> NDArray[np.uint8]:
    """Returns the mask of a network's output, uint8 [N,H,W]."""
    values = person_values(output.astype(np.float64), processing)
    if processing.activation is Activation.SIGMOID:
        values = 1 / (1 + np.exp(-values))
    elif processing.activation is Activation.MINMAX:
        smallest = values.min((1, 2), keepdims=True)
        extent = values.max((1, 2), keepdims=True) - smallest
        values = (values - smallest) / np.maximum(extent, 1e-6)
    return np.floor(values.clip(0, 1) * 255 + 0.5).astype(np.uint8)
