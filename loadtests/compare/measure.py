"""Measures all servers: rounds in rotating order, then an overload of each server."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from statistics import median

from loadtests.compare.http_client import HttpConnection, get_request, upload_request
from loadtests.compare.loops import run_closed_loop, run_open_loop
from loadtests.compare.masks import InvalidMask, Mask, intersection_over_union, read_mask
from loadtests.compare.meter import measure_cost
from loadtests.compare.photos import photos
from loadtests.compare.process import RunningServer, ServerFailed, run_server
from loadtests.compare.server_specs import ServerSpec
from loadtests.compare.summary import closed_loop_figures, medians, overload_figures
from loadtests.measurement.latency import Figures

MIN_AGREEMENT = 0.97
"""Minimum intersection over union, per photo, of the masks of one model by two servers."""
WARM_UP_CLIENTS = 4
TRIAL_CLIENTS = 4

Log = Callable[[str], None]


class MasksDiffer(Exception):
    """A server with the model of the first server returns other masks."""


SERVER_ERRORS = (ServerFailed, MasksDiffer, InvalidMask, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a measurement. The field names are part of `figures.json`."""

    rounds: int = 3
    clients: tuple[int, ...] = (1, 4, 16)
    seconds: float = 4.0
    """Duration per number of clients and round."""
    warm_up_s: float = 1.0
    overload_s: float = 20.0
    times: float = 3.0
    """Load of the overload, as a multiple of the highest rate that the server answered."""


async def measure_servers(
    servers: Sequence[ServerSpec], trials: Sequence[ServerSpec], plan: Plan, log: Log
) -> Figures:
    """Measures the servers, one at a time. The masks of the first are the reference.

    `trials` are settings of one server; the fastest setting is compared. A server that fails is
    left out from then on, and the figures have the reason.
    """
    comparison = _Comparison(log)
    tried = [(trial, await comparison.attempt(trial, _trial(trial, plan))) for trial in trials]
    if settings := [(trial, row) for trial, row in tried if row is not None]:
        best, _ = max(settings, key=lambda setting: float(setting[1]["per_s"]))
        servers = sorted((best, *servers), key=lambda server: not server.is_ours)
    rows: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for number in range(plan.rounds):
        for server in comparison.remaining(_rotate(servers, number)):
            if row := await comparison.attempt(server, _round(server, plan, comparison.masks)):
                rows[server.name].append(row)
    found = []
    for server in comparison.remaining(servers):
        figures = _server_figures(server, rows[server.name], plan)
        overload = _overload(server, plan, _peak_rate(figures))
        if row := await comparison.attempt(server, overload):
            found.append(figures | {"overload": row})
    return {
        "trials": [{"title": trial.title} | row for trial, row in settings],
        "subjects": found,
        "broken": comparison.failures,
    }


@dataclass(slots=True)
class _Comparison:
    log: Log
    masks: list[Mask] = field(default_factory=list)
    """Reference masks; empty before the first round."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons by title of the server."""

    async def attempt(self, server: ServerSpec, step: Awaitable[Figures]) -> Figures | None:
        """Returns the figures of a step. If the server fails, logs the error and returns None."""
        try:
            figures = await step
        except SERVER_ERRORS as error:
            self.log(f"{server.title}: {error}")
            reason = f"{type(error).__name__}: {_first_line(error)}"
            self.failures[server.title] = f"left out: {reason}"
            return None
        self.log(f"{server.title}: {_log_line(figures)}")
        return figures

    def remaining(self, servers: Iterable[ServerSpec]) -> Iterator[ServerSpec]:
        """Yields the servers that have not failed."""
        return (server for server in servers if server.title not in self.failures)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _rotate(servers: Sequence[ServerSpec], number: int) -> Iterator[ServerSpec]:
    """Yields all servers, beginning with the first in round 0 and with the next in each round."""
    start = number % len(servers)
    yield from (*servers[start:], *servers[:start])


async def _trial(spec: ServerSpec, plan: Plan) -> Figures:
    async with _start(spec) as server:
        await _warm_up(server, spec, plan)
        row = await _closed_loop(server, spec, clients=TRIAL_CLIENTS, seconds=plan.seconds)
    return {name: row[name] for name in ("per_s", "cpu_ms")}


async def _round(spec: ServerSpec, plan: Plan, masks: list[Mask]) -> Figures:
    """Starts the server once and measures it with every number of clients."""
    async with _start(spec) as server:
        row: Figures = {"ready_s": server.ready_s, "processes": len(server.tree.pids())}
        row["agreement"] = await _agreement(server, spec, masks)
        await _warm_up(server, spec, plan)
        row["closed"] = {
            clients: await _closed_loop(server, spec, clients=clients, seconds=plan.seconds)
            for clients in plan.clients
        }
        row["steady_mb"] = server.tree.memory_mb()
    return row


async def _agreement(server: RunningServer, spec: ServerSpec, masks: list[Mask]) -> float:
    """Returns the lowest agreement with the reference masks, which are set if they are empty."""
    own = []
    with HttpConnection(server.port) as connection:
        for request in _requests(spec):
            status, body = await connection.send(request)
            if status != 200:
                raise InvalidMask(f"{spec.title}: status {status}")
            own.append(read_mask(body))
    masks.extend(own if not masks else ())
    lowest = min(map(intersection_over_union, own, masks))
    if spec.same_masks and lowest < MIN_AGREEMENT:
        raise MasksDiffer(
            f"{spec.title}: mask agreement is {lowest:.3f}, the minimum {MIN_AGREEMENT}"
        )
    return lowest


async def _warm_up(server: RunningServer, spec: ServerSpec, plan: Plan) -> None:
    await run_closed_loop(
        server.port, _requests(spec), clients=WARM_UP_CLIENTS, seconds=plan.warm_up_s
    )


async def _closed_loop(
    server: RunningServer, spec: ServerSpec, *, clients: int, seconds: float
) -> Figures:
    async with measure_cost(server.tree) as cost:
        result = await run_closed_loop(
            server.port, _requests(spec), clients=clients, seconds=seconds
        )
    figures = closed_loop_figures(
        result, server_s=cost.server_s, client_s=cost.client_s, machine_s=cost.machine_s
    )
    return figures | {"peak_mb": cost.peak_mb}


async def _overload(spec: ServerSpec, plan: Plan, peak_rate: float) -> Figures:
    if not peak_rate:
        raise InvalidMask("the server returned no mask in time")
    per_s = plan.times * peak_rate
    async with _start(spec) as server:
        await _warm_up(server, spec, plan)
        async with measure_cost(server.tree) as cost:
            result = await run_open_loop(
                server.port,
                _requests(spec),
                per_s=per_s,
                seconds=plan.overload_s,
                health=get_request(spec.health),
            )
    figures = overload_figures(
        result,
        per_s=per_s,
        seconds=plan.overload_s,
        server_s=cost.server_s,
        client_s=cost.client_s,
        machine_s=cost.machine_s,
    )
    return figures | {"peak_mb": cost.peak_mb}


def _server_figures(spec: ServerSpec, rows: Sequence[Figures], plan: Plan) -> Figures:
    """Returns medians over the rounds, and the rounds themselves."""
    return {
        "name": spec.name,
        "ours": spec.is_ours,
        "title": spec.title,
        "says": spec.description,
        "same_masks": spec.same_masks,
        "command": spec.display_command,
        "agreement": min(row["agreement"] for row in rows),
        "ready_s": median(row["ready_s"] for row in rows),
        "processes": rows[0]["processes"],
        "steady_mb": median(row["steady_mb"] for row in rows),
        "closed": {
            str(clients): medians([row["closed"][clients] for row in rows])
            for clients in plan.clients
        },
        "rounds": rows,
    }


def _peak_rate(figures: Mapping[str, Figures]) -> float:
    """Returns the highest rate of masks per second over all numbers of clients."""
    return float(max(row["per_s"] for row in figures["closed"].values()))


def _start(spec: ServerSpec) -> AbstractAsyncContextManager[RunningServer]:
    return run_server(
        spec.command,
        folder=spec.folder,
        environment=spec.environment,
        readiness_request=_requests(spec)[0],
    )


def _requests(spec: ServerSpec) -> list[bytes]:
    return [upload_request(spec.path, photo.jpeg) for photo in photos()]


def _log_line(figures: Figures) -> str:
    """Returns the rates and costs of a trial, a round or an overload."""
    if "goodput_per_s" in figures:
        return f"overload, {figures['goodput_per_s']:.1f} masks per second"
    rows = list(figures["closed"].values()) if "closed" in figures else [figures]
    rates = ", ".join(f"{row['per_s']:.1f}" for row in rows)
    costs = ", ".join(f"{row['cpu_ms'] or 0:.1f}" for row in rows)
    return f"{rates} masks per second, {costs} ms of processor time"
