"""Reads the transparency of video frames."""

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that read the alpha of a codec, by the decoder of libav, which does not."""


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Returns the decoder for a stream if its own one would lose its alpha, else None.

    WebM says in its metadata that a stream has alpha.
    """
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    decoder = CodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    return decoder


def opacity(frame: VideoFrame) -> NDArray[np.uint8] | None:
    """Returns the opacity of a stored frame, uint8 [h,w] with 255 = opaque; None if all is opaque.

    Colours are taken as straight, not multiplied by alpha. Formats do not tell it.
    """
    alpha = next((one for one in frame.format.components if one.is_alpha), None)
    if alpha is None:
        return None
    if sum(one.plane == alpha.plane for one in frame.format.components) == 1:
        values = _plane(frame, alpha.plane, alpha.bits)
    elif alpha.bits == 8:
        values = np.asarray(frame.to_ndarray(format="rgba")[..., 3], np.uint8)
    else:
        deep = np.asarray(frame.to_ndarray(format="rgba64le")[..., 3], np.uint16)
        values = np.asarray(deep >> 8, np.uint8)
    return None if values.min() == 255 else values


def _plane(frame: VideoFrame, number: int, bits: int) -> NDArray[np.uint8]:
    """Returns the values of a plane, uint8 [h,w]; deeper ones keep their upper 8 bits."""
    plane = frame.planes[number]
    order = ">" if frame.format.name.endswith("be") else "<"
    rows = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.dtype(f"{order}u2"))
    values = rows.reshape(plane.height, -1)[:, : plane.width] >> (bits - 8)
    return np.asarray(values, np.uint8)
