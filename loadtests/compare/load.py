"""Two ways to ask: clients who wait for their answers, and requests that nobody holds back."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import Literal

from loadtests.arrival import Stage, gaps, moments
from loadtests.compare.masks import Bodies
from loadtests.compare.wire import Connection

DEADLINE_S = 10.0
"""What a client has patience for."""
PROBE_EVERY_S = 0.25
PROBE_DEADLINE_S = 2.0
LEAD_S = 0.2
AFTER_REFUSAL_S = 1.0
"""A client who waits for its answers comes again so much later; refusals say no less."""

Outcome = Literal["ok", "refused", "failed", "late"]
"""`late` is without an answer at the deadline."""

REFUSALS = (429, 503)
BROKEN = (OSError, EOFError, ValueError)
"""What a connection raises that the server broke."""


@dataclass(frozen=True, slots=True)
class Sample:
    due_s: float
    """From the start of the load."""
    seconds: float
    """From that moment to the end of the answer, however late it was sent."""
    outcome: Outcome
    why: str = ""
    """Of a failure."""
    late_s: float = 0.0
    """How much of it passed before the request was sent: what the client itself added."""


@dataclass(slots=True)
class Load:
    """What came of one."""

    samples: list[Sample] = field(default_factory=list)
    probes: list[Sample] = field(default_factory=list)
    """Of the server's health."""
    bodies: Bodies = field(default_factory=Bodies)
    seconds: float = 0.0
    """From its start to the last answer."""


async def closed(port: int, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Each client sends the next request when its last one is answered, until time is up."""
    load, began = Load(), perf_counter()
    turn = cycle(requests)

    async def client() -> None:
        with Connection(port) as connection:
            while (due_s := perf_counter() - began) < seconds:
                sample = await _sample(connection, next(turn), began, due_s, load.bodies)
                load.samples.append(sample)
                if sample.outcome == "refused":
                    await asyncio.sleep(AFTER_REFUSAL_S)

    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = perf_counter() - began
    return load


async def opened(
    port: int,
    requests: Sequence[bytes],
    *,
    per_s: float,
    seconds: float,
    health: bytes,
    deadline_s: float = DEADLINE_S,
    seed: int = 0,
) -> Load:
    """Requests at random moments, `per_s` of them on average, each with the client's deadline."""
    load, began = Load(), perf_counter() + LEAD_S
    turn, idle = cycle(requests), list[Connection]()

    async def ask(due_s: float, request: bytes) -> None:
        connection = idle.pop() if idle else Connection(port)
        asked = _sample(connection, request, began, due_s, load.bodies, deadline_s=deadline_s)
        load.samples.append(await asked)
        idle.append(connection)

    async with _probing(port, health, began, load.probes), asyncio.TaskGroup() as asking:
        for due_s in moments([Stage("over", seconds, per_s)], gaps("poisson", seed)):
            await asyncio.sleep(max(0.0, began + due_s - perf_counter()))
            asking.create_task(ask(due_s, next(turn)))
        await asyncio.sleep(max(0.0, began + seconds - perf_counter()))
    for connection in idle:
        connection.close()
    load.seconds = perf_counter() - began
    return load


@asynccontextmanager
async def _probing(
    port: int, health: bytes, began: float, probes: list[Sample]
) -> AsyncIterator[None]:
    """Asks for the server's health at equal distances while the block runs."""

    async def ask(due_s: float) -> None:
        with Connection(port) as connection:
            sample = await _sample(connection, health, began, due_s, deadline_s=PROBE_DEADLINE_S)
            probes.append(sample)

    async def probe() -> None:
        async with asyncio.TaskGroup() as asking:
            for due_s in _every(PROBE_EVERY_S):
                await asyncio.sleep(max(0.0, began + due_s - perf_counter()))
                asking.create_task(ask(due_s))

    probing = asyncio.create_task(probe())
    try:
        yield
    finally:
        probing.cancel()
        await asyncio.wait([probing])


def _every(gap_s: float) -> Iterator[float]:
    number = 0
    while True:
        yield number * gap_s
        number += 1


async def _sample(
    connection: Connection,
    request: bytes,
    began: float,
    due_s: float,
    bodies: Bodies | None = None,
    *,
    deadline_s: float = DEADLINE_S,
) -> Sample:
    """One request on a connection, which is closed unless it was answered."""
    loop = asyncio.get_running_loop()
    late_s = perf_counter() - began - due_s
    outcome: Outcome = "failed"
    why = ""
    try:
        async with asyncio.timeout_at(loop.time() + deadline_s - late_s):
            status, body = await connection.exchange(request)
    except TimeoutError:
        connection.close()
        outcome = "late"
    except BROKEN as error:
        connection.close()
        why = type(error).__name__
    else:
        if status == 200:
            outcome = "ok"
            if bodies is not None:
                bodies.add(body)
        elif status in REFUSALS:
            outcome = "refused"
        else:
            why = f"status {status}"
    return Sample(due_s, perf_counter() - began - due_s, outcome, why, late_s)
