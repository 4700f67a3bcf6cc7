"""Engine wrapper that rejects outputs that are not finite and tracks consecutive failures."""

import asyncio
import logging

import numpy as np

from silhouette_seg.engine.base import PRIORITY, Engine, Inference, Priority, Tensors, black_input
from silhouette_seg.engine.wrapper import EngineWrapper
from silhouette_seg.errors import DeadlineExceeded, EngineFailed, ServiceError

FAILURE_THRESHOLD = 3
"""Number of consecutive calls without a result after which a health check probes the model."""
PROBE_TIMEOUT_S = 2.0
"""Shortest timeout of the health probe, in seconds."""
PROBE_TIMEOUT_IMAGES = 3
"""Timeout of the health probe of a slow model, in multiples of its fastest inference."""
PROBE_INTERVAL_S = 1.0
"""Minimum seconds between two health probes.

The route that starts them, `/readyz`, is public, so that any client could call it often.
"""

log = logging.getLogger(__name__)


class HealthCheckedEngine(EngineWrapper):
    """Engine that wraps another, rejects its outputs that are not finite, and tracks failures.

    It wraps the engine that batches, so that it sees single callers and not batches. Outputs with
    NaN or infinity raise errors.EngineFailed: a NaN box would silently route the photo to the wrong
    branch of its model. Only the caller of the affected rows fails. A failing model still gets
    calls, and one result is enough to count as working again.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._failed = 0
        """Number of consecutive failed calls."""
        self._unanswered = 0
        """Number of consecutive calls without a result, cancelled and expired ones included.

        A hanging model has only such calls, and a working model may have some.
        """
        self._checking = asyncio.Lock()
        self._next_probe_at = 0.0

    def is_failing(self) -> bool:
        return self._failed >= FAILURE_THRESHOLD

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Runs one inference and records its success or failure.

        Raises the errors of the wrapped engine, and errors.EngineFailed for rows with NaN or
        infinity.
        """
        try:
            inference = await super().infer_timed(inputs)
            if inference.output.dtype.kind == "f" and not np.isfinite(inference.output).all():
                raise EngineFailed("The engine returned a number that is not finite")
        except BaseException as error:
            self._record_error(error)
            raise
        self._record_success()
        return inference

    async def check_health(self) -> None:
        """Raises errors.EngineFailed while no caller and no probe gets a result of the model.

        The probe, a black image, decides: one photo that no model can process does not make the
        service unready.
        """
        if self._unanswered < FAILURE_THRESHOLD:
            return
        async with self._checking:
            now = asyncio.get_running_loop().time()
            if self._unanswered >= FAILURE_THRESHOLD and now >= self._next_probe_at:
                await self._probe()
                self._next_probe_at = asyncio.get_running_loop().time() + PROBE_INTERVAL_S
        if self.is_failing():
            raise EngineFailed(f"{self.spec.name} is not working", retry_after_s=1)

    async def _probe(self) -> None:
        """Infers a black image and records an error or timeout of it as a failure of the model.

        It has priority over photos, which may queue for a model that hangs.
        """
        token = PRIORITY.set(Priority.LIVE)
        try:
            async with asyncio.timeout(max(PROBE_TIMEOUT_S, PROBE_TIMEOUT_IMAGES * self.image_s)):
                await self.infer(black_input(self.spec))
        except Exception:  # any error means that there is no result
            self._record_failure(FAILURE_THRESHOLD)
        finally:
            PRIORITY.reset(token)

    def _record_error(self, error: BaseException) -> None:
        match error:
            case asyncio.CancelledError() | DeadlineExceeded():
                self._unanswered += 1
            case EngineFailed():
                self._record_failure(self._failed + 1)
            case ServiceError() | ValueError():
                pass  # the engine is full, draining or down, or the input is wrong
            case _:
                self._record_failure(self._failed + 1)

    def _record_failure(self, consecutive: int) -> None:
        was_failing = self.is_failing()
        self._failed = max(self._failed, consecutive)
        self._unanswered = max(self._unanswered + 1, self._failed)
        if self.is_failing() and not was_failing:
            log.error("%s fails repeatedly", self.spec.name)

    def _record_success(self) -> None:
        if self.is_failing():
            log.warning("%s works again", self.spec.name)
        self._failed = self._unanswered = 0
