"""The whole comparison: rounds of all servers in turn, then each with more than it can do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median

from loadtests.compare.load import closed, opened
from loadtests.compare.masks import BadMask, Mask, agreement, read_mask
from loadtests.compare.meter import metered
from loadtests.compare.photos import photos
from loadtests.compare.process import Running, running
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
    Raises process.ServerFailed, NotTheSame, masks.BadMask.
    """
    tried = [await _trial(trial, plan, say) for trial in trials]
    if tried:
        best = max(range(len(tried)), key=lambda index: tried[index]["per_s"])
        subjects = sorted((trials[best], *subjects), key=lambda subject: not subject.ours)
    rows: dict[str, list[Figures]] = {subject.name: [] for subject in subjects}
    masks: list[Mask] = []
    for number in range(plan.rounds):
        for subject in _turned(subjects, number):
            rows[subject.name].append(await _round(subject, plan, masks))
            say(_told(f"round {number + 1}", subject, rows[subject.name][-1]))
    found = [_of_subject(subject, rows[subject.name], plan) for subject in subjects]
    for subject, figures in zip(subjects, found, strict=True):
        figures["overload"] = await _overload(subject, plan, _capacity(figures))
        say(f"overload: {subject.title}: {figures['overload']['goodput_per_s']:.1f} a second")
    return {"trials": tried, "subjects": found}


def _turned(subjects: Sequence[Subject], number: int) -> Iterator[Subject]:
    """All of them, from another one on in each round; the first round begins with the first."""
    start = number % len(subjects)
    yield from (*subjects[start:], *subjects[:start])


async def _trial(subject: Subject, plan: Plan, say: Say) -> Figures:
    async with _started(subject) as server:
        await _warm_up(server, subject, plan)
        row = await _closed(server, subject, clients=TRIAL_CLIENTS, seconds=plan.seconds)
    say(f"trial: {subject.title}: {row['per_s']:.1f} a second, {row['cpu_ms'] or 0:.1f} ms")
    return {"title": subject.title} | {name: row[name] for name in ("per_s", "cpu_ms")}


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


def _told(what: str, subject: Subject, row: Figures) -> str:
    rates = ", ".join(f"{each['per_s']:.1f}" for each in row["closed"].values())
    costs = ", ".join(f"{each['cpu_ms'] or 0:.1f}" for each in row["closed"].values())
    return f"{what}: {subject.title}: {rates} a second, {costs} ms of processor time"
