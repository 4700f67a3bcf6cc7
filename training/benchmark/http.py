"""Measures the service over HTTP against pipeline and library in process, and its memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.base import Engine
from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.library import Session
from silhouette_seg.pipeline.options import Refinement, RenderOptions
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, segment_photo
from silhouette_seg.pipeline.registry import ModelRegistry, load_registry
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import ImageFormat, ImageLimits, check_limits, read_header
from training.benchmark import mixed
from training.benchmark.measure import Figures, p95
from training.benchmark.photos import SIZES, encoded
from training.benchmark.server import ServerProcess, run_server
from training.benchmark.wire import ExpectedRequest, RequestTally, post, send_all

QUEUE_PER_WORKER = 32
QUEUE_TIMEOUT_S = 2.0
PHOTO = SIZES["1280x720"]
MODEL = "connectnet"
"""Name of the fastest model, which makes the cost outside the model visible."""
PHOTO_OPTIONS = RenderOptions(refine=Refinement.GUIDED)
"""Options that the service applies to a photo by default."""


@dataclass(frozen=True, slots=True)
class InProcess:
    """The pipeline below HTTP, assembled as in the application, and the library."""

    registry: ModelRegistry
    session: Session
    threads: int
    """Number of threads that call the library."""

    async def segment(self, data: bytes) -> bytes:
        """Returns the mask of a JPEG as PNG."""
        header = read_header(data)
        check_limits(header, ImageLimits())
        job = PhotoJob(ImageFile(data, header), PHOTO_OPTIONS, ImageFormat.PNG)
        return (await segment_photo(job, self.registry.get(MODEL))).body


@asynccontextmanager
async def open_pipeline(repository: Path, *, workers: int) -> AsyncIterator[InProcess]:
    """Opens the pipeline with warm models; it is closed on exit."""
    pool = ThreadPool(workers)
    registry = load_registry(
        repository, None, pool, partial(_batched, repository=repository, workers=workers)
    )
    try:
        await registry.warm_up()
        with Session(model_repository=repository, model=MODEL) as session:
            yield InProcess(registry, session, workers)
    finally:
        await registry.close()
        pool.close()


def _batched(spec: ModelSpec, *, repository: Path, workers: int) -> Engine:
    return Batcher(
        open_engine("onnx", spec, repository, workers=workers),
        max_batch=1,
        max_queue=QUEUE_PER_WORKER * workers,
        queue_timeout_s=QUEUE_TIMEOUT_S,
        concurrency=workers,
    )


async def measure_start_times(repository: Path, *, workers: int, starts: int) -> Figures:
    """Returns the seconds from process start to the first 200 of /readyz."""
    seconds: list[float] = []
    for _ in range(starts):
        async with run_server(repository, workers=workers) as server:
            seconds.append(server.ready_s)
    return {
        "starts": starts,
        "first_s": seconds[0],
        "median_s": median(seconds),
        "worst_s": max(seconds),
    }


async def measure_throughput(
    server: ServerProcess, pipeline: InProcess, *, rounds: int, requests: int, clients: int
) -> list[Figures]:
    """Measures rounds of the three sides in turn, each after a short round that is not counted.

    The ratios are those of the throughput in process and of the library to that over HTTP.
    """
    rows: list[Figures] = []
    for number in range(-1, rounds):
        count = requests if number >= 0 else 2 * clients
        over_http = await _call_over_http(server, requests=count, clients=clients)
        in_process_row = await _call_in_process(pipeline, requests=count, clients=clients)
        library_row = await _call_library(pipeline, requests=count)
        if number >= 0:
            sides = {"http": over_http, "in process": in_process_row, "library": library_row}
            rows += [
                {"round": number + 1, "side": side} | row | {"ratio": over_http["ms"] / row["ms"]}
                for side, row in sides.items()
            ]
    return rows


def summarise_throughput(rows: list[Figures]) -> Figures:
    """Returns medians over the rounds.

    `cpu_ratio` leaves the client out. It is the expected ratio with the client on its own machine
    and all processors busy.
    """
    http_rows, in_process_rows, library_rows = (
        [row for row in rows if row["side"] == side] for side in ("http", "in process", "library")
    )
    http_cpu_ms = median(row["cpu_ms"] for row in http_rows)
    in_process_cpu_ms = median(row["cpu_ms"] for row in in_process_rows)
    return {
        "http_per_s": 1000 / median(row["ms"] for row in http_rows),
        "in_process_per_s": 1000 / median(row["ms"] for row in in_process_rows),
        "ratio": 1 / median(row["ratio"] for row in in_process_rows),
        "library_per_s": 1000 / median(row["ms"] for row in library_rows),
        "library_ratio": median(row["ratio"] for row in library_rows),
        "library_cpu_ms": median(row["cpu_ms"] for row in library_rows),
        "http_p50_ms": median(row["latency_p50_ms"] for row in http_rows),
        "http_p95_ms": median(row["latency_p95_ms"] for row in http_rows),
        "http_cpu_ms": http_cpu_ms,
        "in_process_cpu_ms": in_process_cpu_ms,
        "client_cpu_ms": median(row["client_cpu_ms"] for row in http_rows),
        "cpu_ratio": in_process_cpu_ms / http_cpu_ms if http_cpu_ms else None,
    }


async def _call_over_http(server: ServerProcess, *, requests: int, clients: int) -> Figures:
    call = ExpectedRequest(post(f"{mixed.PATH}?model={MODEL}", encoded(PHOTO)), 200, "mask HD")
    tally = RequestTally()
    cpu, client_cpu, wall = server.cpu_s(), process_time(), perf_counter()
    await send_all(server.port, repeat(call, requests), clients=clients, tally=tally)
    wall_s, client_cpu_s = perf_counter() - wall, process_time() - client_cpu
    return {
        "ms": 1000 * wall_s / requests,
        "cpu_ms": 1000 * (server.cpu_s() - cpu) / requests,
        "latency_p50_ms": 1000 * median(tally.seconds),
        "latency_p95_ms": 1000 * p95(tally.seconds),
        "client_cpu_ms": 1000 * client_cpu_s / requests,
        "unexpected": sum(tally.unexpected.values()),
    }


async def _call_in_process(pipeline: InProcess, *, requests: int, clients: int) -> Figures:
    photo = encoded(PHOTO)
    remaining = iter(range(requests))
    seconds: list[float] = []

    async def caller() -> None:
        for _ in remaining:
            start = perf_counter()
            await pipeline.segment(photo)
            seconds.append(perf_counter() - start)

    cpu, wall = process_time(), perf_counter()
    await asyncio.gather(*(caller() for _ in range(clients)))
    wall_s, cpu_s = perf_counter() - wall, process_time() - cpu
    return {
        "ms": 1000 * wall_s / requests,
        "cpu_ms": 1000 * cpu_s / requests,
        "latency_p50_ms": 1000 * median(seconds),
        "latency_p95_ms": 1000 * p95(seconds),
    }


async def _call_library(pipeline: InProcess, *, requests: int) -> Figures:
    """Calls the library from as many threads as the service has workers."""
    photo = encoded(PHOTO)
    remaining = iter(range(requests))

    def caller() -> None:
        for _ in remaining:
            pipeline.session.segment(photo)

    cpu, wall = process_time(), perf_counter()
    await asyncio.gather(*(asyncio.to_thread(caller) for _ in range(pipeline.threads)))
    wall_s, cpu_s = perf_counter() - wall, process_time() - cpu
    return {"ms": 1000 * wall_s / requests, "cpu_ms": 1000 * cpu_s / requests}


async def measure_memory(server: ServerProcess, *, requests: int, clients: int) -> list[Figures]:
    """Sends mixed requests in four parts and records the server's memory after each."""
    calls = mixed.mixed_requests(requests)
    tally = RequestTally()
    rows = [_memory_row(server, tally)]
    for part in _quarters(requests):
        await send_all(server.port, islice(calls, part), clients=clients, tally=tally)
        rows.append(_memory_row(server, tally))
    return rows


def _quarters(total: int) -> Iterator[int]:
    yield from (total * (n + 1) // 4 - total * n // 4 for n in range(4))


def _memory_row(server: ServerProcess, tally: RequestTally) -> Figures:
    return {
        "requests": tally.responses,
        "rss_mb": server.rss_mb(),
        "peak_mb": server.peak_mb(),
        "threads": server.threads(),
        "statuses": ", ".join(f"{status}: {n}" for status, n in sorted(tally.statuses.items())),
        "unexpected": ", ".join(f"{kind} x{n}" for kind, n in sorted(tally.unexpected.items())),
    }
