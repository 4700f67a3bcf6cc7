"""Closed loop of clients that wait for responses, and open loop with independent arrivals."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import Literal

from loadtests.compare.http_client import HttpConnection
from loadtests.compare.masks import ResponseBodies
from loadtests.scenario.arrival import Phase, arrival_times, interarrival_times
from loadtests.scenario.responses import REFUSAL_STATUSES

CLIENT_TIMEOUT_S = 10.0
"""Time from the due time after which a client gives up."""
PROBE_INTERVAL_S = 0.25
PROBE_TIMEOUT_S = 2.0
START_DELAY_S = 0.2
REFUSAL_DELAY_S = 1.0
"""Pause of a closed-loop client after a refusal, the shortest that Retry-After can state."""

ExchangeOutcome = Literal["ok", "refused", "failed", "late"]
"""Result of a request. `late` has no response within the timeout."""

CONNECTION_ERRORS = (OSError, EOFError, ValueError)
"""Errors of a connection that the server closed or that carries invalid HTTP."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its outcome."""

    due_s: float
    """Due time, in seconds from the start of the load."""
    latency_s: float
    """Time from the due time to the end of the response, even if the request was sent late."""
    outcome: ExchangeOutcome
    error: str = ""
    """Reason of a failure."""
    send_delay_s: float = 0.0
    """Time from the due time to the send time. It is the delay of the client itself."""


@dataclass(slots=True)
class LoopResult:
    """Results of one loop."""

    exchanges: list[Exchange] = field(default_factory=list)
    probes: list[Exchange] = field(default_factory=list)
    """Probes of the server's health."""
    bodies: ResponseBodies = field(default_factory=ResponseBodies)
    seconds: float = 0.0
    """Duration from the start to the last response."""


async def run_closed_loop(
    port: int, requests: Sequence[bytes], *, clients: int, seconds: float
) -> LoopResult:
    """Runs clients that each send a request after the response to the last one, until the end."""
    result, start_s = LoopResult(), perf_counter()
    next_request = cycle(requests)

    async def client() -> None:
        with HttpConnection(port) as connection:
            while (due_s := perf_counter() - start_s) < seconds:
                exchange = await _exchange(
                    connection, next(next_request), start_s, due_s, result.bodies
                )
                result.exchanges.append(exchange)
                if exchange.outcome == "refused":
                    await asyncio.sleep(REFUSAL_DELAY_S)

    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = perf_counter() - start_s
    return result


async def run_open_loop(
    port: int,
    requests: Sequence[bytes],
    *,
    per_s: float,
    seconds: float,
    health: bytes,
    timeout_s: float = CLIENT_TIMEOUT_S,
    seed: int = 0,
) -> LoopResult:
    """Sends requests at the times of a Poisson process with `per_s` arrivals per second.

    The request `health` probes the server meanwhile.
    """
    result, start_s = LoopResult(), perf_counter() + START_DELAY_S
    next_request, idle = cycle(requests), list[HttpConnection]()

    async def send(due_s: float, request: bytes) -> None:
        connection = idle.pop() if idle else HttpConnection(port)
        exchange = await _exchange(
            connection, request, start_s, due_s, result.bodies, timeout_s=timeout_s
        )
        result.exchanges.append(exchange)
        idle.append(connection)

    async with _probe_health(port, health, start_s, result.probes), asyncio.TaskGroup() as tasks:
        intervals = interarrival_times("poisson", seed)
        for due_s in arrival_times([Phase("over", seconds, per_s)], intervals):
            await asyncio.sleep(max(0.0, start_s + due_s - perf_counter()))
            tasks.create_task(send(due_s, next(next_request)))
        await asyncio.sleep(max(0.0, start_s + seconds - perf_counter()))
    for connection in idle:
        connection.close()
    result.seconds = perf_counter() - start_s
    return result


@asynccontextmanager
async def _probe_health(
    port: int, health: bytes, start_s: float, probes: list[Exchange]
) -> AsyncIterator[None]:
    """Probes the server's health at equal intervals inside the block."""

    async def probe(due_s: float) -> None:
        with HttpConnection(port) as connection:
            probes.append(
                await _exchange(connection, health, start_s, due_s, timeout_s=PROBE_TIMEOUT_S)
            )

    async def probe_all() -> None:
        async with asyncio.TaskGroup() as tasks:
            for due_s in _multiples(PROBE_INTERVAL_S):
                await asyncio.sleep(max(0.0, start_s + due_s - perf_counter()))
                tasks.create_task(probe(due_s))

    probing = asyncio.create_task(probe_all())
    try:
        yield
    finally:
        probing.cancel()
        await asyncio.wait([probing])


def _multiples(interval_s: float) -> Iterator[float]:
    number = 0
    while True:
        yield number * interval_s
        number += 1


async def _exchange(
    connection: HttpConnection,
    request: bytes,
    start_s: float,
    due_s: float,
    bodies: ResponseBodies | None = None,
    *,
    timeout_s: float = CLIENT_TIMEOUT_S,
) -> Exchange:
    """Sends one request. The connection is closed unless a response was received."""
    loop = asyncio.get_running_loop()
    send_delay_s = perf_counter() - start_s - due_s
    outcome: ExchangeOutcome = "failed"
    error = ""
    try:
        async with asyncio.timeout_at(loop.time() + timeout_s - send_delay_s):
            status, body = await connection.send(request)
    except TimeoutError:
        connection.close()
        outcome = "late"
    except CONNECTION_ERRORS as exception:
        connection.close()
        error = type(exception).__name__
    else:
        if status == 200:
            outcome = "ok"
            if bodies is not None:
                bodies.add(body)
        elif status in REFUSAL_STATUSES:
            outcome = "refused"
        else:
            error = f"status {status}"
    return Exchange(due_s, perf_counter() - start_s - due_s, outcome, error, send_delay_s)
