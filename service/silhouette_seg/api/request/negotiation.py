"""Which representation answers a request: `format` first, then `Accept` with its q-values."""

from collections.abc import Sequence
from dataclasses import dataclass

from silhouette_seg.errors import NotAcceptable
from silhouette_seg.vision.codec.decode import ImageFormat

JSON = "application/json"
TRANSPARENT_JPEG = (
    "A cut-out is transparent and JPEG has no transparency; ask for png or webp, or for "
    "output=composite."
)


@dataclass(frozen=True, slots=True)
class Representation:
    """The encoding of the image, and whether it travels inside a JSON report."""

    image: ImageFormat
    report: bool = False


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an `Accept` header, for example `image/*;q=0.8`."""

    type: str
    subtype: str
    q: float

    def matches(self, media_type: str) -> bool:
        main, _, sub = media_type.partition("/")
        return self.type in ("*", main) and self.subtype in ("*", sub)

    @property
    def specificity(self) -> int:
        return (self.type != "*") + (self.subtype != "*")


def negotiate(
    accept: str | None, *, explicit: ImageFormat | None, transparent: bool
) -> Representation:
    """Chooses by q-value, then by how exactly a type was named, then PNG, WebP, JPEG, JSON.

    An explicit format wins over `Accept`, which then only decides whether the image travels
    inside a report. Raises NotAcceptable when nothing we can make is accepted.
    """
    if explicit is ImageFormat.JPEG and transparent:
        raise NotAcceptable(TRANSPARENT_JPEG)
    possible = [made for made in ImageFormat if not (transparent and made is ImageFormat.JPEG)]
    possible.sort(key=_DEFAULT_ORDER.index)
    ranges = _parse(accept)
    offers = [made.media_type for made in possible] + [JSON]
    best = _best(ranges, offers)
    if explicit is not None:
        wants_report = best == JSON and not _accepts_as_much(ranges, explicit.media_type)
        return Representation(explicit, report=wants_report)
    if best is None:
        raise _refusal(ranges, offers, transparent=transparent)
    if best == JSON:
        return Representation(possible[0], report=True)
    return Representation(ImageFormat(best.removeprefix("image/")))


_DEFAULT_ORDER = (ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.JPEG)


def _parse(accept: str | None) -> list[MediaRange]:
    if accept is None or not accept.strip():
        return [MediaRange("*", "*", 1.0)]
    return [found for entry in accept.split(",") if (found := _media_range(entry)) is not None]


def _media_range(entry: str) -> MediaRange | None:
    """A range that cannot be read accepts nothing."""
    name, *parameters = (piece.strip().lower() for piece in entry.split(";"))
    main, slash, sub = name.partition("/")
    if not (main and slash and sub):
        return None
    return MediaRange(main, sub, _q_value(parameters))


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
    """(q, specificity) of the most exact range that covers the type; q 0 where none does."""
    covering = [r for r in ranges if r.matches(media_type)]
    if not covering:
        return 0.0, 0
    exact = max(covering, key=lambda r: r.specificity)
    return exact.q, exact.specificity


def _best(ranges: Sequence[MediaRange], offers: Sequence[str]) -> str | None:
    ranked = max(offers, key=lambda offer: _rank(ranges, offer))
    return ranked if _rank(ranges, ranked)[0] > 0 else None


def _accepts_as_much(ranges: Sequence[MediaRange], media_type: str) -> bool:
    return _rank(ranges, media_type) >= _rank(ranges, JSON)


def _refusal(
    ranges: Sequence[MediaRange], offers: Sequence[str], *, transparent: bool
) -> NotAcceptable:
    if transparent and _rank(ranges, ImageFormat.JPEG.media_type)[0] > 0:
        return NotAcceptable(TRANSPARENT_JPEG)
    return NotAcceptable(f"Accept allows none of {', '.join(offers)}.")
