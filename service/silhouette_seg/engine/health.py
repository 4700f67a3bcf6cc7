"""An engine around an engine: whether what it gives are answers, and whether it gives any."""

import asyncio
import logging

import numpy as np

from silhouette_seg.engine.base import PRIORITY, Engine, EngineWrapper, Inference, Priority, Tensors
from silhouette_seg.errors import DeadlineExceeded, EngineFailed, ServiceError

FAILURE_THRESHOLD = 3
"""Calls in a row that ended without an answer, after which a check asks for one."""
PROBE_TIMEOUT_S = 2.0
"""For that answer."""
PROBE_INTERVAL_S = 1.0
"""The least time between two of them: anybody may ask whether we are ready."""

log = logging.getLogger(__name__)


class HealthCheckedEngine(EngineWrapper):
    """Around whatever batches: it sees callers, not batches.

    Numbers that are not finite are no answer: a face at NaN would be no face, and the photo would
    go, unsaid, to the wrong branch of its model. Only the caller whose rows they are is failed. A
    model that fails is still asked, and one answer is enough for it to count as working again.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._failed = 0
        """Calls in a row."""
        self._unanswered = 0
        """The same, with those that nobody waited for any longer: a model that hangs has no others,
        and one that works may have some."""
        self._checking = asyncio.Lock()
        self._next_check = 0.0

    def is_failing(self) -> bool:
        return self._failed >= FAILURE_THRESHOLD

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Raises what the engine does, and errors.EngineFailed for numbers that are not finite."""
        try:
            inference = await super().infer_timed(inputs)
            if inference.output.dtype.kind == "f" and not np.isfinite(inference.output).all():
                raise EngineFailed("The engine's answer has a number in it that is not finite")
        except BaseException as error:
            self._note(error)
            raise
        self._answered()
        return inference

    async def check_health(self) -> None:
        """Raises errors.EngineFailed while nobody gets an answer, nor do we to a black picture.

        That picture decides: one photo that no model can take does not make a service unready.
        """
        if self._unanswered < FAILURE_THRESHOLD:
            return
        async with self._checking:
            now = asyncio.get_running_loop().time()
            if self._unanswered >= FAILURE_THRESHOLD and now >= self._next_check:
                await self._probe()
                self._next_check = asyncio.get_running_loop().time() + PROBE_INTERVAL_S
        if self.is_failing():
            raise EngineFailed(f"{self.spec.name} is not working", retry_after_s=1)

    async def _probe(self) -> None:
        """Before photos, which may wait for a model that hangs."""
        black = {t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in self.spec.inputs}
        token = PRIORITY.set(Priority.LIVE)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self.infer(black)
        except Exception:  # whatever it is, it is no answer
            self._fail(FAILURE_THRESHOLD)
        finally:
            PRIORITY.reset(token)

    def _note(self, error: BaseException) -> None:
        match error:
            case asyncio.CancelledError() | DeadlineExceeded():
                self._unanswered += 1
            case EngineFailed():
                self._fail(self._failed + 1)
            case ServiceError() | ValueError():
                pass  # full, stopping or gone, which others tell; or asked for what it cannot do
            case _:
                self._fail(self._failed + 1)

    def _fail(self, in_a_row: int) -> None:
        was_failing = self.is_failing()
        self._failed = max(self._failed, in_a_row)
        self._unanswered = max(self._unanswered + 1, self._failed)
        if self.is_failing() and not was_failing:
            log.error("%s fails again and again", self.spec.name)

    def _answered(self) -> None:
        if self.is_failing():
            log.warning("%s works again", self.spec.name)
        self._failed = self._unanswered = 0
