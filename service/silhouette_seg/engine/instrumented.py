"""Engine wrapper that reports each inference, its queue time and its failure to telemetry."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from silhouette_seg.engine.base import Engine, Inference, Tensors
from silhouette_seg.engine.wrapper import EngineWrapper
from silhouette_seg.telemetry.tracing import InferenceSpan


class InstrumentedEngine(EngineWrapper):
    """Engine that wraps another and opens a tracing span for each inference.

    The span receives the queue time in seconds. An exception of the inference passes through it.
    """

    def __init__(
        self, engine: Engine, open_span: Callable[[], AbstractContextManager[InferenceSpan]]
    ) -> None:
        super().__init__(engine)
        self._open_span = open_span

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Runs one inference inside a tracing span; raises the wrapped engine's errors."""
        with self._open_span() as span:
            inference = await super().infer_timed(inputs)
            span.set_queue_time(inference.queue_s)
            return inference
