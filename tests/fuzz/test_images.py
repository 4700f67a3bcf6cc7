"""Damaged images: every response is an image or a problem document, and never a 500."""

import collections
import json

from tests.integration.conftest import in_process
from tests.integration.pictures import picture, pixels, problem
from tests.support.damage import damaged, mutated
from tests.support.images import make_png, quadrants

QUERIES = (
    "",
    "?output=cutout&crop=true",
    "?output=composite&background=blur:2&format=jpeg",
    "?threshold=0.4&grow=-2&feather=1.5",
)


PATIENT = {"request_timeout_s": 600.0}
"""Long runs have low priority: a busy machine may stop them for longer than the default."""


async def test_damaged_image_never_causes_a_500(settings_with, mutations):
    outcomes: collections.Counter[str] = collections.Counter()
    async with in_process(settings_with(**PATIENT)) as service:
        for number, (name, body) in enumerate(damaged(mutations)):
            answer = await service.segment(body, QUERIES[number % len(QUERIES)])
            if answer.status_code == 200:
                assert pixels(answer.content).size, name
                outcomes["ok"] += 1
            else:
                document = problem(answer)
                assert answer.status_code in (400, 415, 422), (name, document)
                outcomes[document["code"]] += 1
        assert service.gateway.requests.count == 0
        assert service.gateway.body_memory.reserved == 0
        picture(await service.segment(make_png(quadrants())))
    # The inputs must reach more than one branch.
    assert outcomes["ok"] > mutations / 20, json.dumps(outcomes)
    assert outcomes["undecodable_image"] > mutations / 20, json.dumps(outcomes)
    assert outcomes["unsupported_image_type"] > 0, json.dumps(outcomes)


async def test_damaged_form_never_causes_a_500(settings_with, mutations):
    image = make_png(quadrants(8, 12))
    form = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + image + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="output"\r\n\r\ncutout\r\n--b--\r\n'
    )
    outcomes: collections.Counter[int] = collections.Counter()
    async with in_process(settings_with()) as service:
        for number in range(mutations // 4):
            body = mutated(form, number)
            answer = await service.segment(body, content_type="multipart/form-data; boundary=b")
            if answer.status_code != 200:
                problem(answer)
            assert answer.status_code in (200, 400, 415, 422), (number, answer.text)
            outcomes[answer.status_code] += 1
    assert outcomes[200], outcomes
    assert outcomes[400], outcomes
