"""One run of users against the server, by locust; and what the server can do, measured first."""

from collections.abc import Callable
from dataclasses import dataclass

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.event import EventHook
from locust.html import get_html_report
from locust.stats import stats_history

from loadtests.arrival import Stage
from loadtests.figures import capacity
from loadtests.load import LEAD_S, Load, Loop, bind
from loadtests.shapes import users_at
from loadtests.stream_user import Camera
from loadtests.users import ClosedLoop, MemoryReader, OpenLoop, Prober, Visitor, prepare

CALIBRATION_USERS = 8
WARM_UP = 0.25
"""Share of the calibration that is not counted."""
PATIENCE_S = 70
"""For users to finish what they began; longer than a request may take."""

Count = Callable[[float], int | None]
"""Users who wait for answers at a moment; None when the load is over."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is the same for every run."""

    url: str
    key: str | None
    seed: int
    batch_share: float
    streams: int
    fps: float

    def load(self, loop: Loop, *stages: Stage) -> Load:
        return Load(self.url, self.key, loop, stages, self.seed, self.batch_share, self.fps)


def measure_capacity(target: Target, seconds: float) -> float:
    """Requests a second with some who ask without a pause, beside the streams."""
    load = target.load("closed", Stage("calibration", seconds, CALIBRATION_USERS))
    drive(load, target.streams)
    return capacity(load.record, from_s=WARM_UP * seconds, to_s=seconds)


def drive(load: Load, streams: int) -> str:
    """Fills the record of the load; returns locust's own report, HTML.

    Raises what a user did not expect: that is no failure of the server but one of ours.
    """
    prepare()
    load.start()
    watchers = [bind(Prober, load, fixed_count=1), bind(MemoryReader, load, fixed_count=1)]
    cameras = [bind(Camera, load, fixed_count=streams)] if streams else []
    if load.loop == "closed":
        visitor: type[Visitor] = bind(ClosedLoop, load)
        count = users_at(load.stages)
    else:
        visitor = bind(OpenLoop, load, fixed_count=1)
        count = users_at([Stage("one for all", load.seconds, 1)])
    environment = Environment(
        user_classes=[*watchers, *cameras, visitor],
        shape_class=Clock(load, count, others=len(watchers) + streams),
        stop_timeout=PATIENCE_S,
        catch_exceptions=False,
    )
    broken: list[Exception] = []
    _listen(environment.events.request, load.record.on_request)
    _listen(environment.events.user_error, lambda exception, **_: broken.append(exception))
    runner = environment.create_local_runner()
    history = gevent.spawn(stats_history, runner)
    try:
        runner.start_shape()
        gevent.wait([runner.shape_greenlet])
        if broken:
            raise broken[0]
        return _locust_html(environment)
    finally:
        history.kill()
        runner.quit()


def _listen(event: EventHook, to: Callable[..., object]) -> None:
    event.add_listener(to)  # type: ignore[no-untyped-call]


def _locust_html(environment: Environment) -> str:
    html = get_html_report(environment, show_download_link=False)  # type: ignore[no-untyped-call]
    return str(html)


class Clock(LoadTestShape):
    """Tells locust how many users there are."""

    def __init__(self, load: Load, count: Count, *, others: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._load = load
        self._count = count
        self._others = others

    def tick(self) -> tuple[int, float] | None:
        count = self._count(self._load.now_s)
        if count is None:
            return None
        users = count + self._others
        return users, users / LEAD_S
