"""Engine wrapper that reports each inference, its queue time and its failure."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter

from silhouette_seg.engine.base import Engine, Inference, Tensors
from silhouette_seg.engine.statistics import ModelStatistics
from silhouette_seg.engine.wrapper import EngineWrapper
from silhouette_seg.telemetry.tracing import InferenceSpan


class InstrumentedEngine(EngineWrapper):
    """Engine that wraps another, traces each inference in a span, and adds it to `statistics`.

    The span receives the queue time in seconds. An exception of the inference passes through it.
    """

    def __init__(
        self,
        engine: Engine,
        open_span: Callable[[], AbstractContextManager[InferenceSpan]],
        statistics: ModelStatistics,
    ) -> None:
        super().__init__(engine)
        self._open_span = open_span
        self._statistics = statistics

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Runs one inference inside a tracing span; raises the wrapped engine's errors."""
        started = perf_counter()
        with self._open_span() as span:
            try:
                inference = await super().infer_timed(inputs)
            except Exception:
                self._statistics.fail.add(perf_counter() - started)
                raise
            span.set_queue_time(inference.queue_s)
            self._statistics.add_success(inference, perf_counter() - started)
            return inference
