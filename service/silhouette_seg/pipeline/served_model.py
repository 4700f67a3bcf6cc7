"""A model with the engine that runs it: the base of segmenters and of the face router."""

from silhouette_seg.engine.base import Engine, Inference, Tensors, image_seconds, with_timings
from silhouette_seg.spec import ModelSpec


class ServedModel:
    """A model and the engine that runs it. `infer` takes raw tensors, subclasses take images."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._infer = with_timings(engine)

    @property
    def spec(self) -> ModelSpec:
        """Description of the model: its input and output tensors and its weights."""
        return self._engine.spec

    @property
    def provider(self) -> str:
        """Execution provider that runs the model, for example `CPUExecutionProvider`."""
        return self._engine.provider

    @property
    def image_s(self) -> float:
        """Seconds per image of the fastest inference so far; 0 if they are not measured."""
        return image_seconds(self._engine)

    @property
    def digest(self) -> str:
        """sha256 of the weights, in hexadecimal."""
        return self.spec.sha256

    async def infer(self, inputs: Tensors) -> Inference:
        """Runs the model on tensors by name, and returns its output and times.

        Raises the errors of `Engine.infer`.
        """
        return await self._infer(inputs)

    async def close(self) -> None:
        """Closes the engine of the model."""
        await self._engine.close()
