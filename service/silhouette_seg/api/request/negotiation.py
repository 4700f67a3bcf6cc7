"""Content negotiation: chooses the image format, or a JSON report, of a response.

The parameter `format` and the `Accept` header decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silhouette_seg.api.media_types import JSON, PROBLEM_JSON, media_type_of
from silhouette_seg.errors import NotAcceptable, Setting
from silhouette_seg.pipeline.options import Output
from silhouette_seg.vision.codec.decode import ImageFormat

NO_JPEG: Mapping[Output, tuple[str | Setting, ...]] = {
    Output.CUTOUT: (
        "A cut-out is transparent and JPEG has no transparency; ask for png, webp or avif, or for ",
        Setting("output", Output.COMPOSITE.value),
        ".",
    ),
    Output.TRIMAP: (
        "A trimap has three exact levels and JPEG changes them; ask for png, webp or avif.",
    ),
}
"""Sentence, as the parts of an error, for each output that JPEG cannot hold."""


@dataclass(frozen=True, slots=True)
class Representation:
    """Format of a response: the image format, and True if a JSON report contains the image."""

    image: ImageFormat
    report: bool = False


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an `Accept` header, for example `image/*;q=0.8`."""

    type: str
    subtype: str
    q: float

    def matches(self, media_type: str) -> bool:
        """Returns True if the range includes a media type such as `image/png`."""
        main, _, sub = media_type.partition("/")
        return self.type in ("*", main) and self.subtype in ("*", sub)

    @property
    def specificity(self) -> int:
        """Number of parts without a wildcard: 0 for `*/*`, 1 for `image/*`, 2 for `image/png`."""
        return (self.type != "*") + (self.subtype != "*")


def negotiate(
    accept: str | None, *, explicit: ImageFormat | None, output: Output
) -> Representation:
    """Chooses the format of a response from the `Accept` header and the parameter `format`.

    The highest q-value wins, then the most specific entry, then the order PNG, WebP, JPEG, AVIF,
    JSON. `explicit`, the parameter, takes precedence; `Accept` then only decides between image and
    report. `output` may exclude JPEG, as `NO_JPEG` says. Raises NotAcceptable if no format remains.
    """
    if explicit is ImageFormat.JPEG and output in NO_JPEG:
        raise NotAcceptable(*NO_JPEG[output])
    formats = [f for f in DEFAULT_ORDER if f is not ImageFormat.JPEG or output not in NO_JPEG]
    ranges = _parse(accept)
    offers = [image_format.media_type for image_format in formats] + [JSON]
    best = _best(ranges, offers)
    if explicit is not None:
        wants_report = best == JSON and not _accepts_as_much(ranges, explicit.media_type)
        return Representation(explicit, report=wants_report)
    if best is None:
        raise _not_acceptable(ranges, offers, output)
    if best == JSON:
        return Representation(formats[0], report=True)
    return Representation(ImageFormat(best.removeprefix("image/")))


DEFAULT_ORDER = (ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.JPEG, ImageFormat.AVIF)
"""Order of formats that a client accepts equally. AVIF is last, as its encoder is the slowest."""


def _parse(accept: str | None) -> list[MediaRange]:
    """Returns the media ranges of an `Accept` header that choose the format of a result.

    `application/problem+json` names the format of errors. A header with nothing else accepts every
    result, as no header does.
    """
    entries = [
        entry
        for entry in (accept or "").split(",")
        if entry.strip() and media_type_of(entry) != PROBLEM_JSON
    ]
    if not entries:
        return [MediaRange("*", "*", 1.0)]
    ranges = map(_media_range, entries)
    return [media_range for media_range in ranges if media_range is not None]


def _media_range(entry: str) -> MediaRange | None:
    """Parses one entry of an `Accept` header; returns None if it is not a media range."""
    name, *parameters = (text.strip().lower() for text in entry.split(";"))
    main, slash, sub = name.partition("/")
    if not (main and slash and sub):
        return None
    return MediaRange(main, "jpeg" if sub == "jpg" else sub, _q_value(parameters))


def _q_value(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def _rank(ranges: Sequence[MediaRange], media_type: str) -> tuple[float, int]:
    """Returns q-value and specificity of the most specific range that includes the media type.

    They are (0, 0) if none does.
    """
    matching = [r for r in ranges if r.matches(media_type)]
    if not matching:
        return 0.0, 0
    best = max(matching, key=lambda r: r.specificity)
    return best.q, best.specificity


def _best(ranges: Sequence[MediaRange], offers: Sequence[str]) -> str | None:
    best = max(offers, key=lambda offer: _rank(ranges, offer))
    return best if _rank(ranges, best)[0] > 0 else None


def _accepts_as_much(ranges: Sequence[MediaRange], media_type: str) -> bool:
    return _rank(ranges, media_type) >= _rank(ranges, JSON)


def _not_acceptable(
    ranges: Sequence[MediaRange], offers: Sequence[str], output: Output
) -> NotAcceptable:
    if output in NO_JPEG and _rank(ranges, ImageFormat.JPEG.media_type)[0] > 0:
        return NotAcceptable(*NO_JPEG[output])
    return NotAcceptable(f"Accept allows none of {', '.join(offers)}.")
