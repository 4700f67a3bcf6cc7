"""Converts the measures of a segmented image to the form that the metrics record."""

from silhouette_seg.pipeline.photo import RenderedImage
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.telemetry import MaskMeasurements


def measurements_of(image: Matte | RenderedImage) -> MaskMeasurements:
    """Returns the numbers about an image's mask and its domain that the metrics record.

    None of them is a pixel.
    """
    quality, decision = image.quality, image.decision
    return MaskMeasurements(
        foreground=quality.foreground,
        coverage=quality.coverage,
        connectivity=quality.connectivity,
        confidence=quality.confidence,
        domain=decision.domain.label if decision else None,
        passes=image.passes,
    )
