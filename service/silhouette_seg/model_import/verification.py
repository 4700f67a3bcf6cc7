"""Runs a foreign graph and its composed graph, and compares their masks."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.model_import.composition import PREFIX, compose_preprocessing
from silhouette_seg.model_import.errors import ModelRejected
from silhouette_seg.model_import.foreign_graph import FLOAT_TYPES, ForeignGraph, ForeignTensor
from silhouette_seg.model_import.graph_session import GraphSession
from silhouette_seg.model_import.processing import Activation, Processing, TensorLayout
from silhouette_seg.model_import.reference import person_values, postprocess, preprocess
from silhouette_seg.pipeline.warm_up import drawn_portrait

MAX_DIFFERENCE_LEVELS = 2
"""Largest allowed difference of a mask from that of the original for the same input, of 255 levels.

The order of float operations may move a value over a rounding edge.
"""
INPUT_TOLERANCE = 0.002
"""Largest allowed difference of a network input from the reference: the step of float16 at 4."""
MAX_BATCH_DIFFERENCE_LEVELS = 1
"""Largest allowed difference between a row of a batch and the same row alone, in levels of 255."""
RANGE_TOLERANCE = 0.05
"""Distance from 0..1 up to which an output still is a share of person."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of a comparison."""

    largest_difference: int
    """Largest difference of a mask from the reference, in levels of 255."""
    steps_difference: int
    """The same for a network that gets the same input bit by bit.

    It is smaller than `largest_difference` if the network amplifies the last bit of its input, as
    quantised networks do.
    """
    batches: bool
    """True if a row of a batch has the mask that it has alone."""
    image_s: float
    """Seconds that one image took, with all processors of this machine."""


def verify(
    foreign: ForeignGraph, output: ForeignTensor, processing: Processing, composed: bytes
) -> Verification:
    """Compares both graphs on a drawn portrait and on noise.

    The foreign graph runs behind the reference's steps in numpy. Raises ModelRejected if a graph
    fails, if its output is not a mask, or if a step differs from that of the reference.
    """
    images = _images(processing)
    references, expected = _run_foreign(foreign, output, processing, images)
    session = GraphSession(composed)
    started_at = perf_counter()
    alone = [session.run("alpha", {"image": image[None]}) for image in images]
    image_s = (perf_counter() - started_at) / len(images)
    masks = np.concatenate(alone)
    steps_difference = _difference(masks, expected)
    if steps_difference > MAX_DIFFERENCE_LEVELS:
        raise ModelRejected(
            f"the composed graph differs from its reference by {steps_difference} levels of 255;"
            f" {MAX_DIFFERENCE_LEVELS} are allowed"
        )
    batches = foreign.has_open_batch and _batches(session, images, masks)
    return Verification(_difference(masks, references), steps_difference, batches, image_s)


def check_run(foreign: ForeignGraph) -> None:
    """Runs a graph with a fixed input size on a drawn portrait, without the steps of a preset.

    Raises ModelRejected if it fails, or if its output is not one mask of the size of its input.
    """
    layout = foreign.layout or TensorLayout.NCHW
    size = foreign.size_hw(layout)
    if -1 in size:
        return
    processing = Processing(size, (0, 0, 0), (1, 1, 1), Activation.MINMAX, layout=layout)
    dtype = FLOAT_TYPES[foreign.input.element_type]
    pixels = preprocess(drawn_portrait(size)[None], processing).astype(dtype)
    output = foreign.select_output(None)
    _check_mask(foreign.session.run(output.name, {foreign.input.name: pixels}), processing)


def _run_foreign(
    foreign: ForeignGraph,
    output: ForeignTensor,
    processing: Processing,
    images: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns the masks of the foreign graph behind the reference's steps, and behind ours.

    Both are uint8 [N,H,W].
    """
    steps = GraphSession(compose_preprocessing(foreign, processing).SerializeToString())
    dtype = FLOAT_TYPES[foreign.input.element_type]
    masks: list[list[NDArray[np.uint8]]] = [[], []]
    extremes: list[float] = []
    for image in images:
        reference = preprocess(image[None], processing).astype(dtype)
        ours = steps.run(PREFIX + foreign.input.name, {"image": image[None]})
        if ours.shape != reference.shape or not np.allclose(ours, reference, atol=INPUT_TOLERANCE):
            raise ModelRejected("the composed steps give the network another input")
        for value, results in zip((reference, ours), masks, strict=True):
            raw = foreign.session.run(output.name, {foreign.input.name: value})
            _check_mask(raw, processing)
            _check_range(raw, processing)
            results.append(postprocess(raw, processing))
            values = person_values(raw, processing)
            extremes += [float(values.min()), float(values.max())]
    if min(extremes) == max(extremes):
        raise ModelRejected(f"the output of the graph is {extremes[0]:.3g} for every picture")
    return np.concatenate(masks[0]), np.concatenate(masks[1])


def _images(processing: Processing) -> NDArray[np.uint8]:
    """Returns a drawn portrait and coarse noise, uint8 [2,H,W,3]; their largest levels differ."""
    height, width = processing.size_hw
    random = np.random.default_rng(0)
    blocks = random.integers(0, 200, (-(-height // 16), -(-width // 16), 3), np.uint8)
    noise = blocks.repeat(16, 0).repeat(16, 1)[:height, :width]
    return np.stack([drawn_portrait(processing.size_hw), noise])


def _batches(session: GraphSession, images: NDArray[np.uint8], alone: NDArray[np.uint8]) -> bool:
    """Returns whether a batch of two has the masks of its rows."""
    try:
        together = session.run("alpha", {"image": images})
    except ModelRejected:
        return False
    return (
        together.shape == alone.shape
        and _difference(together, alone) <= MAX_BATCH_DIFFERENCE_LEVELS
    )


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def _check_mask(raw: NDArray[Any], processing: Processing) -> None:
    """Raises ModelRejected unless a network's output is one mask of the size of its input."""
    _check_shape(raw, processing)
    if not np.isfinite(raw).all():
        raise ModelRejected("the output of the graph contains NaN or infinity")


def _check_range(raw: NDArray[Any], processing: Processing) -> None:
    """Raises ModelRejected unless the values of a network's output fit its activation."""
    smallest, largest = float(raw.min()), float(raw.max())
    is_share = smallest >= -RANGE_TOLERANCE and largest <= 1 + RANGE_TOLERANCE
    found = f"the output of the graph has values from {smallest:.3g} to {largest:.3g}"
    if processing.activation is Activation.NONE and not is_share:
        raise ModelRejected(f"{found}; a share of person is 0 to 1: choose another activation")
    applied = (Activation.SIGMOID, Activation.SOFTMAX)
    if processing.activation in applied and smallest >= 0 and largest <= 1:
        raise ModelRejected(
            f"{found}, so that it has {processing.activation} already: use the activation none"
        )


def _check_shape(raw: NDArray[Any], processing: Processing) -> None:
    height, width = processing.size_hw
    shape = list(raw.shape)
    channels_first = [1, *shape[1:2], height, width]
    channels_last = [1, height, width, *shape[3:4]]
    layouts = {"nchw": channels_first, "nhwc": channels_last}
    if shape != [1, height, width] and shape != layouts[processing.layout]:
        raise ModelRejected(
            f"the output of the graph has the shape {shape} for an input of {height}x{width};"
            f" it must be one mask of that size"
        )
    channels = 1 if raw.ndim == 3 else shape[1 if processing.layout == "nchw" else 3]
    if processing.channel >= channels:
        raise ModelRejected(
            f"the output of the graph has {channels} channels; there is no {processing.channel}"
        )
