"""Photos with a colour profile: results are sRGB, and the report describes the conversion.

The model's alpha is the red channel, so full red in sRGB is "person".
"""

import base64

import numpy as np
import pytest

from tests.integration.pictures import picture, pixels
from tests.support.images import make, make_jpeg, make_png, rgb_profile

P3 = rgb_profile("Display P3")
RED_IN_P3 = (234, 51, 35)
"""Full red of sRGB, encoded in Display P3. Unconverted, its red level gives alpha 234."""
EXACT = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
PERSON, BACKGROUND = (48, 16), (48, 112)
"""Position (row, column) of a pixel on the person, and of one beside it."""


def halves(format, profile, **options):
    """Image with the red of RED_IN_P3 on the left, and black on the right."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[:, :64] = RED_IN_P3
    return make(format, image, icc_profile=profile, **EXACT[format], **options)


async def colour_in_report(service, photo, query):
    answer = await service.segment(photo, query, accept="application/json")
    assert answer.status_code == 200, answer.text
    return answer.json()["photo"]["colour"]


@pytest.mark.parametrize("format", EXACT)
async def test_cutout_and_composite_are_converted_to_srgb(service, format):
    photo = halves(format, P3)

    cutout = picture(await service.segment(photo, "?output=cutout"))
    np.testing.assert_allclose(cutout[PERSON], (255, 0, 0, 255), atol=6)
    assert cutout[BACKGROUND][3] <= 6

    query = "?output=composite&background=%230a141e"
    composite = picture(await service.segment(photo, query))
    np.testing.assert_allclose(composite[PERSON], (255, 0, 0), atol=6)
    np.testing.assert_allclose(composite[BACKGROUND], (10, 20, 30), atol=6)


async def test_photo_with_profile_is_rotated_upright(service):
    photo = halves("JPEG", P3, orientation=6)
    cutout = picture(await service.segment(photo, "?output=cutout"))
    assert cutout.shape == (128, 96, 4)
    np.testing.assert_allclose(cutout[16, 48], (255, 0, 0, 255), atol=6)


async def test_background_image_is_converted_to_srgb(service):
    image = np.full((96, 128, 3), RED_IN_P3, np.uint8)
    answer = await service.form(
        ("image", make_jpeg(np.zeros((96, 128, 3), np.uint8))),
        ("output", "composite"),
        ("background_image", make_png(image, icc_profile=P3)),
    )
    np.testing.assert_allclose(picture(answer)[48, 64], (255, 0, 0), atol=2)


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
async def test_result_contains_no_colour_profile(service, format):
    answer = await service.segment(halves("JPEG", P3), f"?output=composite&format={format}")
    assert answer.status_code == 200
    assert P3[:128] not in answer.content
    assert b"ICC" not in answer.content[:200]
    assert b"iCCP" not in answer.content


@pytest.mark.parametrize(
    ("profile", "query", "colour"),
    [
        (None, "?output=cutout", "srgb"),
        (rgb_profile("sRGB"), "?output=cutout", "srgb"),
        (P3, "?output=cutout", "converted:Display P3"),
        (P3, "?output=composite", "converted:Display P3"),
        (P3, "?output=mask", "kept"),
        (P3[:200], "?output=cutout", "ignored:profile that is not valid"),
        (b"no profile at all", "?output=composite", "ignored:profile that is not valid"),
    ],
)
async def test_report_describes_the_colour_conversion(service, profile, query, colour):
    assert await colour_in_report(service, halves("JPEG", profile), query) == colour


async def test_invalid_profile_leaves_the_colours_unconverted(service):
    report = await service.segment(
        halves("PNG", P3[:200]), "?output=cutout", accept="application/json"
    )
    cutout = pixels(base64.b64decode(report.json()["image"]["data"]))
    np.testing.assert_allclose(cutout[PERSON][:3], RED_IN_P3, atol=1)
