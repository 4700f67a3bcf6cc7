"""Engine faults in the middle of a batch: errors, and invalid output."""

import httpx
import numpy as np
import pytest

from silhouette_seg.client import AsyncClient, Refused, Segmented
from silhouette_seg.engine.health import FAILURE_THRESHOLD
from silhouette_seg.errors import EngineFailed
from tests.faults.metrics import Metrics
from tests.integration.conftest import in_process
from tests.integration.pictures import pixels, refusal
from tests.support.images import make_png, person

WIDTHS = tuple(range(40, 56, 2))
SUCCESSES = 3
"""Photos of the batch that the engine processes before the fault."""


def raise_error(alpha: np.ndarray) -> np.ndarray:
    raise EngineFailed("It fell over.")


def drop_column(alpha: np.ndarray) -> np.ndarray:
    return alpha[:, 1:]


@pytest.mark.parametrize("fault", [raise_error, drop_column])
async def test_batch_keeps_results_from_before_an_engine_fault(settings_with, gated, fault):
    async with in_process(settings_with(engine="gated", workers=1)) as service:
        before = len(gated[0].batch_sizes)

        def fail_later(alpha: np.ndarray) -> np.ndarray:
            return alpha if len(gated[0].batch_sizes) - before <= SUCCESSES else fault(alpha)

        gated[0].transform_output = fail_later
        async with AsyncClient(
            "http://silhouette", transport=httpx.ASGITransport(service.app)
        ) as client:
            photos = [make_png(person(40, width)) for width in WIDTHS]
            answers = [answer async for answer in client.segment_batch(photos)]

        done = {n: answer for n, answer in enumerate(answers) if isinstance(answer, Segmented)}
        failed = [answer for answer in answers if isinstance(answer, Refused)]
        assert (len(done), len(failed)) == (SUCCESSES, len(WIDTHS) - SUCCESSES)
        for number, answer in done.items():
            assert pixels(answer.body).shape == (40, WIDTHS[number])
        for answer in failed:
            assert (answer.code, answer.status, answer.retryable) == ("engine_failed", 503, True)
            assert answer.retry_after_s == 1

        # The response as a whole is a success; the metrics of the engine show the failures.
        metrics = Metrics(service.client)
        assert await metrics.requests(200, "ok", "/v1/segment/batch") == 1
        assert await metrics.engine_failures("engine_failed") == len(failed) >= FAILURE_THRESHOLD
        assert await metrics.failing()
        refusal(await service.client.get("/readyz"), 503, "engine_failed")
