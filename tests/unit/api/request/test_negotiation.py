import pytest

from silhouette_seg.api.request.negotiation import Representation, negotiate
from silhouette_seg.errors import NotAcceptable
from silhouette_seg.pipeline.options import Output
from silhouette_seg.vision.codec.decode import ImageFormat

PNG, WEBP, JPEG, AVIF = ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.JPEG, ImageFormat.AVIF
BROWSER = "text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "image", "report"),
    [
        (None, PNG, False),
        ("", PNG, False),
        ("*/*", PNG, False),
        ("image/*", PNG, False),
        ("IMAGE/WEBP", WEBP, False),
        (BROWSER, WEBP, False),
        ("image/jpeg", JPEG, False),
        ("image/avif", AVIF, False),
        ("image/avif, image/jpeg", JPEG, False),
        ("image/avif, image/*;q=0.8", AVIF, False),
        ("image/jpeg;q=0.5, image/webp;q=0.6", WEBP, False),
        ("image/webp;q=0.5, image/*;q=0.9", PNG, False),
        ("image/png;q=0, */*", WEBP, False),
        ("image/webp, image/png", PNG, False),
        ("image/png;level=1;q=0.3, image/webp;q=0.4", WEBP, False),
        ("image/webp;q=7", WEBP, False),
        ("image/webp;q=x, image/jpeg;q=0.1", JPEG, False),
        ("application/json", PNG, True),
        ("application/json, */*", PNG, True),
        ("application/json, text/plain, */*", PNG, True),
        ("application/json, image/png", PNG, False),
        ("application/json;q=0.5, image/webp;q=0.4", PNG, True),
        ("application/*", PNG, True),
        ("application/problem+json", PNG, False),
        ("application/problem+json, image/webp", WEBP, False),
        ("application/json, application/problem+json", PNG, True),
    ],
)
def test_negotiate_without_format_follows_accept(accept, image, report):
    chosen = negotiate(accept, explicit=None, output=Output.MASK)
    assert chosen == Representation(image, report)


@pytest.mark.parametrize(
    ("accept", "report"),
    [
        (None, False),
        ("image/png", False),
        ("text/html", False),
        ("application/json", True),
        ("application/json, image/webp;q=0.5", True),
        ("application/json, image/webp", False),
    ],
)
def test_negotiate_with_format_uses_accept_for_the_report(accept, report):
    chosen = negotiate(accept, explicit=WEBP, output=Output.CUTOUT)
    assert chosen == Representation(WEBP, report)


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/jxl", "x", "/", ";;,,"])
def test_negotiate_without_acceptable_type_raises(accept):
    with pytest.raises(NotAcceptable, match="image/png"):
        negotiate(accept, explicit=None, output=Output.MASK)


def test_negotiate_never_encodes_a_trimap_as_jpeg():
    assert negotiate("image/*", explicit=None, output=Output.TRIMAP).image is PNG
    assert negotiate("image/jpeg, */*;q=0.1", explicit=None, output=Output.TRIMAP).image is PNG
    for accept, explicit in (("image/jpeg", None), (None, JPEG)):
        with pytest.raises(NotAcceptable, match="three exact levels"):
            negotiate(accept, explicit=explicit, output=Output.TRIMAP)


def test_negotiate_never_encodes_transparency_as_jpeg():
    assert negotiate("image/jpeg, image/*;q=0.1", explicit=None, output=Output.CUTOUT).image is PNG
    assert (
        negotiate("image/jpeg, image/avif;q=0.1", explicit=None, output=Output.CUTOUT).image is AVIF
    )
    with pytest.raises(NotAcceptable, match="no transparency"):
        negotiate("image/jpeg", explicit=None, output=Output.CUTOUT)
    with pytest.raises(NotAcceptable, match="no transparency"):
        negotiate("application/json", explicit=JPEG, output=Output.CUTOUT)
