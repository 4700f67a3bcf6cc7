"""Photos with a colour profile: what is shown is sRGB, and the report says what was done.

The model's alpha is the red channel, so what sRGB shows as full red is "person".
"""

import base64

import numpy as np
import pytest

from tests.integration.pictures import picture, pixels
from tests.support.images import make, make_jpeg, make_png, rgb_profile

P3 = rgb_profile("Display P3")
RED_IN_P3 = (234, 51, 35)
"""The red of sRGB as Display P3 writes it; its red level alone would be alpha 234."""
EXACT = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
PERSON, NOBODY = (48, 16), (48, 112)


def halves(format, profile, **options):
    """Red as P3 writes it on the left, black on the right."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[:, :64] = RED_IN_P3
    return make(format, image, icc_profile=profile, **EXACT[format], **options)


async def colour_in_report(service, photo, query):
    answer = await service.segment(photo, query, accept="application/json")
    assert answer.status_code == 200, answer.text
    return answer.json()["photo"]["colour"]


@pytest.mark.parametrize("format", EXACT)
async def test_cutout_and_composite_show_the_colours_of_srgb(service, format):
    photo = halves(format, P3)

    cutout = picture(await service.segment(photo, "?output=cutout"))
    np.testing.assert_allclose(cutout[PERSON], (255, 0, 0, 255), atol=6)
    assert cutout[NOBODY][3] <= 6

    query = "?output=composite&background=%230a141e"
    composite = picture(await service.segment(photo, query))
    np.testing.assert_allclose(composite[PERSON], (255, 0, 0), atol=6)
    np.testing.assert_allclose(composite[NOBODY], (10, 20, 30), atol=6)


async def test_orientation_is_honoured_beside_a_profile(service):
    photo = halves("JPEG", P3, orientation=6)
    cutout = picture(await service.segment(photo, "?output=cutout"))
    assert cutout.shape == (128, 96, 4)
    np.testing.assert_allclose(cutout[16, 48], (255, 0, 0, 255), atol=6)


async def test_background_picture_is_converted_too(service):
    image = np.full((96, 128, 3), RED_IN_P3, np.uint8)
    answer = await service.form(
        ("image", make_jpeg(np.zeros((96, 128, 3), np.uint8))),
        ("output", "composite"),
        ("background_image", make_png(image, icc_profile=P3)),
    )
    np.testing.assert_allclose(picture(answer)[48, 64], (255, 0, 0), atol=2)


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
async def test_answer_carries_no_profile(service, format):
    answer = await service.segment(halves("JPEG", P3), f"?output=composite&format={format}")
    assert answer.status_code == 200
    assert P3[:128] not in answer.content
    assert b"ICC" not in answer.content[:200]
    assert b"iCCP" not in answer.content


@pytest.mark.parametrize(
    ("profile", "query", "said"),
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
async def test_report_says_what_was_done(service, profile, query, said):
    assert await colour_in_report(service, halves("JPEG", profile), query) == said


async def test_broken_profile_costs_nothing_but_the_colours(service):
    report = await service.segment(
        halves("PNG", P3[:200]), "?output=cutout", accept="application/json"
    )
    cutout = pixels(base64.b64decode(report.json()["image"]["data"]))
    np.testing.assert_allclose(cutout[PERSON][:3], RED_IN_P3, atol=1)
