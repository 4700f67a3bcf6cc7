"""A batch of photos whose engine dies, or begins to lie, before the last of them."""

import httpx
import numpy as np
import pytest

from silhouette_seg.client import Client, Refused, Segmented
from silhouette_seg.engine.health import FAILURE_THRESHOLD
from silhouette_seg.errors import EngineFailed
from tests.faults.metrics import Metrics
from tests.integration.conftest import in_process
from tests.integration.pictures import pixels, refusal
from tests.support.images import make_png, person

WIDTHS = tuple(range(40, 56, 2))
ANSWERED = 3


def dies(alpha: np.ndarray) -> np.ndarray:
    raise EngineFailed("It fell over.")


def lies(alpha: np.ndarray) -> np.ndarray:
    return alpha[:, 1:]


@pytest.mark.parametrize("fault", [dies, lies])
async def test_what_was_done_before_is_answered_and_the_rest_is_told(settings_with, gated, fault):
    async with in_process(settings_with(engine="gated", workers=1)) as service:
        before = len(gated[0].batch_sizes)

        def halfway(alpha: np.ndarray) -> np.ndarray:
            return alpha if len(gated[0].batch_sizes) - before <= ANSWERED else fault(alpha)

        gated[0].transform_output = halfway
        async with Client(
            "http://silhouette", transport=httpx.ASGITransport(service.app)
        ) as client:
            answers = await client.segment_batch([make_png(person(40, each)) for each in WIDTHS])

        done = {n: answer for n, answer in enumerate(answers) if isinstance(answer, Segmented)}
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert (len(done), len(refused)) == (ANSWERED, len(WIDTHS) - ANSWERED)
        for number, answer in done.items():
            assert pixels(answer.body).shape == (40, WIDTHS[number])
        for answer in refused:
            assert (answer.code, answer.status, answer.retryable) == ("engine_failed", 503, True)
            assert answer.retry_after_s == 1

        # The whole was answered: what failed inside of it is told by the engine's own metric.
        metrics = Metrics(service.client)
        assert await metrics.requests(200, "ok", "/v1/segment/batch") == 1
        assert await metrics.engine_failures("engine_failed") == len(refused) >= FAILURE_THRESHOLD
        assert await metrics.failing()
        refusal(await service.client.get("/readyz"), 503, "engine_failed")
