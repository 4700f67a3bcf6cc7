"""Mixed requests of realistic variety, malformed ones included; the same for the same seed."""

import random
from collections.abc import Callable, Iterator

from training.benchmark.photos import SIZES, encoded
from training.benchmark.wire import ExpectedRequest, get, post

PATH = "/v1/segment"

_VGA, _HD, _FULL_HD, _CAMERA = SIZES.values()


def mixed_requests(count: int, seed: int = 0) -> Iterator[ExpectedRequest]:
    """Yields requests weighted towards common kinds; about one in 25 is a photo of 12 MP."""
    rng = random.Random(seed)
    kinds = [(make, weight) for make, weight in _KINDS.items()]
    makers, weights = zip(*kinds, strict=True)
    for make in rng.choices(makers, weights, k=count):
        yield make()


def _photo(
    kind: str, size: tuple[int, int], query: str = "", extension: str = ".jpg"
) -> ExpectedRequest:
    content_type = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}[extension]
    body = encoded(size, extension)
    return ExpectedRequest(post(PATH + query, body, content_type=content_type), 200, kind)


def _report() -> ExpectedRequest:
    request = post(PATH + "?output=cutout", encoded(_VGA), accept="application/json")
    return ExpectedRequest(request, 200, "report")


def _bad_body(kind: str, body: bytes, expected: int) -> ExpectedRequest:
    return ExpectedRequest(post(PATH, body), expected, kind)


_KINDS: dict[Callable[[], ExpectedRequest], float] = {
    lambda: _photo("mask VGA", _VGA): 16,
    lambda: _photo("mask HD", _HD): 16,
    lambda: _photo("mask full HD", _FULL_HD): 10,
    lambda: _photo("mask 12 MP", _CAMERA): 3,
    lambda: _photo("mask of a PNG", _VGA, extension=".png"): 3,
    lambda: _photo("mask of a WebP", _HD, extension=".webp"): 3,
    lambda: _photo("mask as WebP", _VGA, "?format=webp"): 3,
    lambda: _photo("mask as JPEG", _HD, "?format=jpeg&threshold=0.5"): 3,
    lambda: _photo("cutout VGA", _VGA, "?output=cutout&crop=true"): 6,
    lambda: _photo("cutout HD", _HD, "?output=cutout"): 6,
    lambda: _photo("cutout 12 MP", _CAMERA, "?output=cutout"): 0.5,
    lambda: _photo("composite HD", _HD, "?output=composite&format=jpeg"): 6,
    lambda: _photo(
        "composite full HD", _FULL_HD, "?output=composite&background=%23104080&format=jpeg"
    ): 4,
    lambda: _photo("composite 12 MP", _CAMERA, "?output=composite&format=jpeg"): 0.5,
    lambda: _photo("grown and feathered", _HD, "?grow=5&feather=3"): 3,
    _report: 3,
    lambda: _bad_body("cut short", encoded(_HD)[:20_000], 422): 4,
    lambda: _bad_body("text", b"This is no picture. " * 50, 415): 3,
    lambda: _bad_body("empty", b"", 400): 2,
    lambda: ExpectedRequest(post(PATH + "?sharpen=1", encoded(_VGA)), 400, "unknown parameter"): 2,
    lambda: ExpectedRequest(post(PATH + "?model=none", encoded(_VGA)), 404, "unknown model"): 1,
    lambda: ExpectedRequest(get("/v1/models"), 200, "models"): 2,
    lambda: ExpectedRequest(get("/metrics"), 200, "metrics"): 1,
}
