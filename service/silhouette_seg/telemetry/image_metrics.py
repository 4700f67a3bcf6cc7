"""Prometheus metrics of segmented images: seconds of each stage and measurements of the mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

ImageKind = Literal["photo", "frame", "tensors"]
"""Origin of an image: a photo request, a video stream, or tensors sent to `/v2`."""

STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIDENCE_BUCKETS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Histogram bounds of the mask's confidence, which is 0.5..1; 0.5 is a random outline."""
COVERAGE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CONNECTIVITY_BUCKETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class MaskMeasurements:
    """Measurements of one mask that become metrics: presence, coverage, connectivity, confidence.

    Shares are 0..1.
    """

    foreground: bool
    """True when the mask shows a person."""
    coverage: float
    """Share of the image that the person covers."""
    connectivity: float
    """Share of the person's pixels in the largest connected piece."""
    confidence: float | None
    """Expected share of correct pixels along the outline; None without an outline."""
    domain: str | None = None
    """Distance of the person, such as `half_body`; None for a model without a domain input."""
    passes: int = 1
    """Number of predictions: 2 if a small person was predicted again on a crop."""


@dataclass(frozen=True, slots=True)
class _ModelMetrics:
    """Counters and histograms of one model and kind of image, with their labels resolved."""

    present: Counter
    none: Counter
    second_passes: Counter
    confidence: Histogram
    coverage: Histogram
    connectivity: Histogram


class ImageMetrics:
    """Prometheus metrics of segmented images, labelled by model and kind of image.

    Label values are few: the operator chooses the models, and this program defines the rest. Labels
    are resolved once, because the lookup costs more than the count.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stage_seconds = Histogram(
            "silhouette_stage_seconds",
            "Wall-clock time of one stage of one image.",
            ("model", "stage", "kind"),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._images = Counter(
            "silhouette_images",
            "Images segmented; `foreground` is present or none.",
            ("model", "kind", "foreground"),
            registry=registry,
        )
        self._domains = Counter(
            "silhouette_domains",
            "Images by distance domain, for models with domains.",
            ("model", "kind", "domain"),
            registry=registry,
        )
        self._second_passes = Counter(
            "silhouette_second_looks",
            "Photos with a second pass through the model, because the person is small.",
            ("model",),
            registry=registry,
        )
        self._confidence = _share_histogram(
            registry, "confidence", "Confidence of masks that show a person.", CONFIDENCE_BUCKETS
        )
        self._coverage = _share_histogram(
            registry, "coverage", "Share of the image that the person covers.", COVERAGE_BUCKETS
        )
        self._connectivity = _share_histogram(
            registry,
            "connectivity",
            "Share of the person in its largest piece.",
            CONNECTIVITY_BUCKETS,
        )

        self._stage_of = cache(self._stage_seconds.labels)
        self._metrics_of = cache(self._model_metrics)

    def observe_stages(self, model: str, kind: ImageKind, seconds: Mapping[str, float]) -> None:
        for stage, duration_s in seconds.items():
            self._stage_of(model, stage, kind).observe(duration_s)

    def observe_mask(self, model: str, kind: ImageKind, mask: MaskMeasurements) -> None:
        """Counts one segmented image, and records the measurements of its mask.

        Confidence, coverage and connectivity are recorded only for a mask that shows a person.
        """
        metrics = self._metrics_of(model, kind)
        if mask.domain is not None:
            self._domains.labels(model, kind, mask.domain).inc()
        if mask.passes > 1:
            metrics.second_passes.inc()
        if not mask.foreground:
            metrics.none.inc()
            return
        metrics.present.inc()
        if mask.confidence is not None:
            metrics.confidence.observe(mask.confidence)
        metrics.coverage.observe(mask.coverage)
        metrics.connectivity.observe(mask.connectivity)

    def _model_metrics(self, model: str, kind: ImageKind) -> _ModelMetrics:
        return _ModelMetrics(
            present=self._images.labels(model, kind, "present"),
            none=self._images.labels(model, kind, "none"),
            second_passes=self._second_passes.labels(model),
            confidence=self._confidence.labels(model, kind),
            coverage=self._coverage.labels(model, kind),
            connectivity=self._connectivity.labels(model, kind),
        )


def _share_histogram(
    registry: CollectorRegistry, name: str, meaning: str, buckets: tuple[float, ...]
) -> Histogram:
    labels = ("model", "kind")
    return Histogram(f"silhouette_mask_{name}", meaning, labels, buckets=buckets, registry=registry)
