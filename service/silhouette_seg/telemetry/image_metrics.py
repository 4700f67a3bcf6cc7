"""The metrics of single images: where their time went, and what was found. Never a pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram

ImageKind = Literal["photo", "frame", "tensors"]
"""Of a request, of a stream, and of `/v2`, where nobody knows what they show."""

STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIDENCE_BUCKETS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""None is below 0.5, which a mask whose outline is drawn at random has."""
COVERAGE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CONNECTIVITY_BUCKETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


class Quality(Protocol):
    """What is measured of a mask; shares 0..1."""

    @property
    def foreground(self) -> bool: ...
    @property
    def coverage(self) -> float: ...
    @property
    def connectivity(self) -> float: ...
    @property
    def confidence(self) -> float: ...


class Domain(Protocol):
    @property
    def label(self) -> str: ...


class Routed(Protocol):
    @property
    def domain(self) -> Domain: ...


class Found(Protocol):
    """What is known of the person in an image: a matte, or what was rendered of one."""

    @property
    def quality(self) -> Quality: ...
    @property
    def decision(self) -> Routed | None: ...
    @property
    def passes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _ModelMetrics:
    """Of the images of one model and kind."""

    present: Counter
    none: Counter
    second_looks: Counter
    confidence: Histogram
    coverage: Histogram
    connectivity: Histogram


class ImageMetrics:
    """Labels are few: models are the operator's, and the rest are of this program. Where they are
    looked up for every image that is done once: it costs more than to count.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "silhouette_stage_seconds",
            "Wall-clock time of one stage of one image.",
            ("model", "stage", "kind"),
            buckets=STAGE_BUCKETS,
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
            "Images by the domain they were segmented in, of models that take one.",
            ("model", "kind", "domain"),
            registry=registry,
        )
        self._second_looks = Counter(
            "silhouette_second_looks",
            "Photos that the model was asked twice about: the person is small in them.",
            ("model",),
            registry=registry,
        )
        self._confidence = _share_histogram(
            registry, "confidence", "Confidence of masks that show a person.", CONFIDENCE_BUCKETS
        )
        self._coverage = _share_histogram(
            registry, "coverage", "Share of the picture that the person covers.", COVERAGE_BUCKETS
        )
        self._connectivity = _share_histogram(
            registry,
            "connectivity",
            "Share of the person that is in one piece.",
            CONNECTIVITY_BUCKETS,
        )

        self._stage_of = cache(self._seconds.labels)
        self._found_of = cache(self._model_metrics)

    def observe_stages(self, model: str, kind: ImageKind, seconds: Mapping[str, float]) -> None:
        for stage, spent_s in seconds.items():
            self._stage_of(model, stage, kind).observe(spent_s)

    def observe_mask(self, model: str, kind: ImageKind, found: Found) -> None:
        meters, quality = self._found_of(model, kind), found.quality
        if found.decision is not None:
            self._domains.labels(model, kind, found.decision.domain.label).inc()
        if found.passes > 1:
            meters.second_looks.inc()
        if not quality.foreground:
            meters.none.inc()
            return
        meters.present.inc()
        meters.confidence.observe(quality.confidence)
        meters.coverage.observe(quality.coverage)
        meters.connectivity.observe(quality.connectivity)

    def _model_metrics(self, model: str, kind: ImageKind) -> _ModelMetrics:
        return _ModelMetrics(
            present=self._images.labels(model, kind, "present"),
            none=self._images.labels(model, kind, "none"),
            second_looks=self._second_looks.labels(model),
            confidence=self._confidence.labels(model, kind),
            coverage=self._coverage.labels(model, kind),
            connectivity=self._connectivity.labels(model, kind),
        )


def _share_histogram(
    registry: CollectorRegistry, name: str, meaning: str, buckets: tuple[float, ...]
) -> Histogram:
    labels = ("model", "kind")
    return Histogram(f"silhouette_mask_{name}", meaning, labels, buckets=buckets, registry=registry)
