"""Runs locust users against the server, and measures its capacity."""

from collections.abc import Callable
from dataclasses import dataclass

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.event import EventHook
from locust.html import get_html_report
from locust.stats import stats_history

from loadtests.measurement.figures import answered_per_s
from loadtests.scenario.arrival import Phase
from loadtests.scenario.shapes import UserCount, closed_loop_users
from loadtests.users.http_users import (
    ClosedLoopUser,
    HealthUser,
    MemoryUser,
    OpenLoopUser,
    RequestUser,
    prepare_bodies,
)
from loadtests.users.load_run import START_DELAY_S, LoadRun, LoopType, bind_user
from loadtests.users.stream_user import StreamUser

CALIBRATION_USERS = 8
WARM_UP_SHARE = 0.25
"""Share of the calibration that is not counted."""
STOP_TIMEOUT_S = 70
"""Time for users to finish their requests. It is longer than a request may take."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options that all runs against one server share."""

    url: str
    key: str | None
    seed: int
    batch_share: float
    streams: int
    fps: float

    def make_run(self, loop: LoopType, *phases: Phase) -> LoadRun:
        """Returns a run with these phases that has not started."""
        return LoadRun(self.url, self.key, loop, phases, self.seed, self.batch_share, self.fps)


def measure_capacity(options: RunOptions, seconds: float) -> float:
    """Returns the requests per second that users without pauses get answered, beside streams."""
    run = options.make_run("closed", Phase("calibration", seconds, CALIBRATION_USERS))
    execute(run, options.streams)
    return answered_per_s(run.record, from_s=WARM_UP_SHARE * seconds, to_s=seconds)


def execute(run: LoadRun, streams: int) -> str:
    """Executes a run, fills its record, and returns locust's own report as HTML.

    Raises the exception of a user: it is a fault of the load test and not of the server.
    """
    prepare_bodies()
    run.start()
    probes = [bind_user(HealthUser, run, fixed_count=1), bind_user(MemoryUser, run, fixed_count=1)]
    stream_users = [bind_user(StreamUser, run, fixed_count=streams)] if streams else []
    if run.loop == "closed":
        request_user: type[RequestUser] = bind_user(ClosedLoopUser, run)
        user_count = closed_loop_users(run.phases)
    else:
        request_user = bind_user(OpenLoopUser, run, fixed_count=1)
        user_count = closed_loop_users([Phase("one user sends all", run.seconds, 1)])
    environment = Environment(
        user_classes=[*probes, *stream_users, request_user],
        shape_class=UserCountShape(run, user_count, extra_users=len(probes) + streams),
        stop_timeout=STOP_TIMEOUT_S,
        catch_exceptions=False,
    )
    errors: list[Exception] = []
    _add_listener(environment.events.request, run.record.on_request)
    _add_listener(environment.events.user_error, lambda exception, **_: errors.append(exception))
    runner = environment.create_local_runner()
    history = gevent.spawn(stats_history, runner)
    try:
        runner.start_shape()
        gevent.wait([runner.shape_greenlet])
        if errors:
            raise errors[0]
        return _locust_html(environment)
    finally:
        history.kill()
        runner.quit()


def _add_listener(event: EventHook, listener: Callable[..., object]) -> None:
    event.add_listener(listener)  # type: ignore[no-untyped-call]


def _locust_html(environment: Environment) -> str:
    html = get_html_report(environment, show_download_link=False)  # type: ignore[no-untyped-call]
    return str(html)


class UserCountShape(LoadTestShape):
    """Sets the number of locust users over time."""

    def __init__(self, run: LoadRun, user_count: UserCount, *, extra_users: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run
        self._user_count = user_count
        self._extra_users = extra_users

    def tick(self) -> tuple[int, float] | None:
        """Returns the number of users and users started per second, or None at the end."""
        count = self._user_count(self._run.now_s)
        if count is None:
            return None
        users = count + self._extra_users
        return users, users / START_DELAY_S
