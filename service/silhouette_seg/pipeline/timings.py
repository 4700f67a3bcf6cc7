"""Wall-clock durations of the stages of the pipeline."""

from dataclasses import dataclass, replace
from time import perf_counter


class Stopwatch:
    """Measures consecutive intervals of wall-clock time, the first from its construction."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the previous call, or since the construction at the first."""
        before, self._last = self._last, perf_counter()
        return self._last - before


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of each stage of one image, summed over its one or two predictions.

    A wait for a free thread counts towards the stage that waits.
    """

    fit_s: float
    """Decoding the image, resizing it to the model input, and preparing the domain decision."""
    route_s: float
    """Deciding the distance domain, if the model takes one."""
    queue_s: float
    """Waiting in the queue of the engine."""
    infer_s: float
    """Running the model."""
    post_s: float
    """Postprocessing of the mask, and rendering once `response_stages` adds it."""

    def __add__(self, other: "Timings") -> "Timings":
        return Timings(
            fit_s=self.fit_s + other.fit_s,
            route_s=self.route_s + other.route_s,
            queue_s=self.queue_s + other.queue_s,
            infer_s=self.infer_s + other.infer_s,
            post_s=self.post_s + other.post_s,
        )

    def plus_post(self, post_s: float) -> "Timings":
        """Returns a copy with `post_s` seconds more of postprocessing."""
        return replace(self, post_s=self.post_s + post_s)

    def stages(self) -> dict[str, float]:
        """Returns stage name -> seconds, in order, as metrics and `Server-Timing` name them."""
        return {
            "fit": self.fit_s,
            "route": self.route_s,
            "queue": self.queue_s,
            "infer": self.infer_s,
            "post": self.post_s,
        }

    def response_stages(self, render_s: float, encode_s: float) -> dict[str, float]:
        """Returns stage name -> seconds, in order, for a response with an encoded image.

        `render_s` is added to the stage `post`, and `encode_s` is the last stage, `encode`. The
        other names are those of `stages`, but "fit" is reported as "decode".
        """
        stages = self.plus_post(render_s).stages()
        return {"decode": stages.pop("fit"), **stages, "encode": encode_s}
