"""The whole comparison: rounds of all servers in turn, then each with more than it can do."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from statistics import median

from loadtests.compare.load import closed, opened
from loadtests.compare.masks import BadMask, Mask, agreement, read_mask
from loadtests.compare.meter import metered
from loadtests.compare.photos import photos
from loadtests.compare.process import Running, ServerFailed, running
from loadtests.compare.subjects import Subject
from loadtests.compare.summary import Figures, closed_figures, medians, overload_figures
from loadtests.compare.wire import Connection, get, upload

AGREE_AT_LEAST = 0.97
"""Intersection over union of the masks of one model by two servers, of each photo."""
WARM_UP_CLIENTS = 4
TRIAL_CLIENTS = 4

Say = Callable[[str], None]


class NotTheSame(Exception):
    """A server that is said to have the model of the first one gives other masks."""


BROKEN = (ServerFailed, NotTheSame, BadMask, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 3
    clients: tuple[int, ...] = (1, 4, 16)
    seconds: float = 4.0
    """Of each number of clients in each round."""
    warm_up_s: float = 1.0
    overload_s: float = 20.0
    times: float = 3.0
    """What a server gets in the overload, of what it answered a second at most."""


async def measure(
    subjects: Sequence[Subject], trials: Sequence[Subject], plan: Plan, say: Say
) -> Figures:
    """The first subject gives the masks that the others are compared with.

    Of `trials`, servers of one name, the fastest is compared. Only one server runs at a time.
    One that breaks is left out from there on, and is among the figures with the reason.
    """
    run = _Run(plan, say)
    tried = [(trial, await run.guarded(trial, _trial(trial, plan))) for trial in trials]
    if settings := [(trial, row) for trial, row in tried if row is not None]:
        best, _ = max(settings, key=lambda each: float(each[1]["per_s"]))
        subjects = sorted((best, *subjects), key=lambda subject: not subject.ours)
    rows: dict[str, list[Figures]] = {subject.name: [] for subject in subjects}
    for number in range(plan.rounds):
        for subject in run.left_of(_turned(subjects, number)):
            if row := await run.guarded(subject, _round(subject, plan, run.masks)):
                rows[subject.name].append(row)
    found = []
    for subject in run.left_of(subjects):
        figures = _of_subject(subject, rows[subject.name], plan)
        if over := await run.guarded(subject, _overload(subject, plan, _capacity(figures))):
            found.append(figures | {"overload": over})
    return {
        "trials": [{"title": trial.title} | row for trial, row in settings],
        "subjects": found,
        "broken": run.broken,
    }


@dataclass(slots=True)
class _Run:
    plan: Plan
    say: Say
    masks: list[Mask] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    """Titles and reasons."""

    async def guarded(self, subject: Subject, step: Awaitable[Figures]) -> Figures | None:
        """None when the server breaks, which is told."""
        try:
            figures = await step
        except BROKEN as error:
            self.say(f"{subject.title}: {error}")
            self.broken[subject.title] = f"left out: {type(error).__name__}: {_first_line(error)}"
            return None
        self.say(f"{subject.title}: {_told(figures)}")
        return figures

    def left_of(self, subjects: Iterable[Subject]) -> Iterator[Subject]:
        return (subject for subject in subjects if subject.title not in self.broken)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _turned(subjects: Sequence[Subject], number: int) -> Iterator[Subject]:
    """All of them, from another one on in each round; the first round begins with the first."""
    start = number % len(subjects)
    yield from (*subjects[start:], *subjects[:start])


async def _trial(subject: Subject, plan: Plan) -> Figures:
    async with _started(subject) as server:
        await _warm_up(server, subject, plan)
        row = await _closed(server, subject, clients=TRIAL_CLIENTS, seconds=plan.seconds)
    return {name: row[name] for name in ("per_s", "cpu_ms")}


async def _round(subject: Subject, plan: Plan, masks: list[Mask]) -> Figures:
    """One start of the server and all numbers of clients."""
    async with _started(subject) as server:
        row: Figures = {"ready_s": server.ready_s, "processes": len(server.tree.pids())}
        row["agreement"] = await _agreement(server, subject, masks)
        await _warm_up(server, subject, plan)
        row["closed"] = {
            clients: await _closed(server, subject, clients=clients, seconds=plan.seconds)
            for clients in plan.clients
        }
        row["steady_mb"] = server.tree.memory_mb()
    return row


async def _agreement(server: Running, subject: Subject, masks: list[Mask]) -> float:
    """The worst of the photos. Fills the masks when there are none."""
    own = []
    with Connection(server.port) as connection:
        for request in _requests(subject):
            status, body = await connection.exchange(request)
            if status != 200:
                raise BadMask(f"{subject.title}: status {status}")
            own.append(read_mask(body))
    masks.extend(own if not masks else ())
    worst = min(map(agreement, own, masks))
    if subject.same_masks and worst < AGREE_AT_LEAST:
        raise NotTheSame(f"{subject.title}: the masks agree to {worst:.3f} only")
    return worst


async def _warm_up(server: Running, subject: Subject, plan: Plan) -> None:
    await closed(server.port, _requests(subject), clients=WARM_UP_CLIENTS, seconds=plan.warm_up_s)


async def _closed(server: Running, subject: Subject, *, clients: int, seconds: float) -> Figures:
    async with metered(server.tree) as cost:
        load = await closed(server.port, _requests(subject), clients=clients, seconds=seconds)
    figures = closed_figures(
        load, server_s=cost.server_s, client_s=cost.client_s, machine_s=cost.machine_s
    )
    return figures | {"peak_mb": cost.peak_mb}


async def _overload(subject: Subject, plan: Plan, capacity: float) -> Figures:
    if not capacity:
        raise BadMask("it gave none in time")
    per_s = plan.times * capacity
    async with _started(subject) as server:
        await _warm_up(server, subject, plan)
        async with metered(server.tree) as cost:
            load = await opened(
                server.port,
                _requests(subject),
                per_s=per_s,
                seconds=plan.overload_s,
                health=get(subject.health),
            )
    figures = overload_figures(
        load,
        per_s=per_s,
        seconds=plan.overload_s,
        server_s=cost.server_s,
        client_s=cost.client_s,
        machine_s=cost.machine_s,
    )
    return figures | {"peak_mb": cost.peak_mb}


def _of_subject(subject: Subject, rows: Sequence[Figures], plan: Plan) -> Figures:
    """Medians over the rounds, and the rounds themselves."""
    return {
        "name": subject.name,
        "ours": subject.ours,
        "title": subject.title,
        "says": subject.says,
        "same_masks": subject.same_masks,
        "command": subject.shown,
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


def _capacity(figures: Mapping[str, Figures]) -> float:
    """The most that it answered a second, with any number of clients."""
    return float(max(row["per_s"] for row in figures["closed"].values()))


def _started(subject: Subject) -> AbstractAsyncContextManager[Running]:
    return running(
        subject.command,
        folder=subject.folder,
        environment=subject.environment,
        asks=_requests(subject)[0],
    )


def _requests(subject: Subject) -> list[bytes]:
    return [upload(subject.path, photo.jpeg) for photo in photos()]


def _told(figures: Figures) -> str:
    """Of a trial, a round or an overload."""
    if "goodput_per_s" in figures:
        return f"overload, {figures['goodput_per_s']:.1f} masks a second"
    rows = list(figures["closed"].values()) if "closed" in figures else [figures]
    rates = ", ".join(f"{row['per_s']:.1f}" for row in rows)
    costs = ", ".join(f"{row['cpu_ms'] or 0:.1f}" for row in rows)
    return f"{rates} masks a second, {costs} ms of processor time"
