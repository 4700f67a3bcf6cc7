"""Benchmark commands: pixels, model, http, processes, triton, streams and webrtc.

    python -m training.benchmark pixels [--json FILE]

Each takes about a minute. Nothing is asserted: read the figures with the load of the machine.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import typer
import uvloop
from rich.console import Console

from silhouette_seg.runtime.cpu_quota import available_cpus
from silhouette_seg.spec import ResizeRule
from training.benchmark import http, model, pixels, processes, streams, triton, webrtc
from training.benchmark.measure import Figures, describe_machine, print_table, write_json
from training.benchmark.photos import SIZES
from training.benchmark.server import run_server

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
out = Console(width=None if sys.stdout.isatty() else 120)

Json = Annotated[Path | None, typer.Option("--json", help="JSON file for the figures.")]
Repository = Annotated[Path, typer.Option(help="Folder of exported models.")]
Workers = Annotated[int | None, typer.Option(help="Number of threads; all processors by default.")]


@app.command("pixels")
def pixels_command(
    sizes: Annotated[str, typer.Option(help="Sizes of the photo, separated by commas.")] = ",".join(
        SIZES
    ),
    model_size: Annotated[int, typer.Option(help="Side of the model's input in pixels.")] = 192,
    resize: Annotated[
        ResizeRule, typer.Option(help="Resize rule of the model's input.")
    ] = ResizeRule.STRETCH,
    calls: Annotated[int, typer.Option(help="Maximum number of calls of each step.")] = 300,
    budget_s: Annotated[float, typer.Option(help="Time limit of each step in seconds.")] = 0.8,
    json: Json = None,
) -> None:
    """Measures each step of a photo through the service, without the model, on one thread."""
    cv2.setNumThreads(1)
    context = describe_machine()
    measured: list[Figures] = []
    for name in sizes.split(","):
        rows = list(
            pixels.measure_steps(
                SIZES[name], (model_size, model_size), resize, calls=calls, budget_s=budget_s
            )
        )
        print_table(f"Pixels, {name} to {model_size}x{model_size} {resize}", rows, out)
        measured += rows
    write_json({"machine": context, "pixels": measured}, json)


@app.command("model")
def model_command(
    repository: Repository = REPOSITORY,
    images: Annotated[int, typer.Option(help="Number of images in each round.")] = 400,
    rounds: Annotated[int, typer.Option(help="Number of rounds; the best one is reported.")] = 5,
    json: Json = None,
) -> None:
    """Measures milliseconds per image of every model, on one thread and on all."""
    context = describe_machine()
    rows = list(model.measure_models(repository, images=images, rounds=rounds))
    print_table(f"Models of {repository.name}", rows, out)
    write_json({"machine": context, "model": rows}, json)


@dataclass(frozen=True, slots=True)
class HttpPlan:
    """Options of the HTTP benchmark."""

    repository: Path
    workers: int
    clients: int
    starts: int
    rounds: int
    requests: int
    mixed: int


@app.command("http")
def http_command(
    repository: Repository = REPOSITORY,
    workers: Workers = None,
    clients: Annotated[
        int, typer.Option(help="Number of connections, and of concurrent tasks in process.")
    ] = 8,
    starts: Annotated[int, typer.Option(help="Number of timed server starts.")] = 3,
    rounds: Annotated[int, typer.Option(help="Number of rounds of the sides in turn.")] = 7,
    requests: Annotated[
        int, typer.Option(help="Number of requests of each side in each round.")
    ] = 400,
    mixed: Annotated[int, typer.Option(help="Number of requests for the memory figures.")] = 2000,
    json: Json = None,
) -> None:
    """Measures start-up, throughput against pipeline and library in process, and memory."""
    plan = HttpPlan(
        repository, workers or available_cpus(), clients, starts, rounds, requests, mixed
    )
    context = describe_machine()
    # With the server's own event loop the two sides differ by HTTP alone.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_http(plan))
    write_json({"machine": context} | figures, json)


async def _http(plan: HttpPlan) -> Figures:
    start = await http.measure_start_times(
        plan.repository, workers=plan.workers, starts=plan.starts
    )
    print_table("From the start of the process to ready", [start], out)
    async with run_server(plan.repository, workers=plan.workers) as server:
        async with http.open_pipeline(plan.repository, workers=plan.workers) as pipeline:
            rounds = await http.measure_throughput(
                server, pipeline, rounds=plan.rounds, requests=plan.requests, clients=plan.clients
            )
        print_table("1280x720 JPEG to mask PNG", rounds, out)
        summary = http.summarise_throughput(rounds)
        print_table("Medians", [summary], out)
    # A fresh server: its memory comes from the mixed requests alone.
    async with run_server(plan.repository, workers=plan.workers) as server:
        memory = await http.measure_memory(server, requests=plan.mixed, clients=plan.clients)
    print_table("Memory over mixed requests", memory, out)
    return {"start": start, "rounds": rounds, "summary": summary, "memory": memory}


@app.command("processes")
def processes_command(
    repository: Repository = REPOSITORY,
    workers: Workers = None,
    counts: Annotated[
        str, typer.Option(help="Numbers of server processes, separated by commas.")
    ] = "1,2",
    clients: Annotated[int, typer.Option(help="Number of keep-alive connections.")] = 8,
    rounds: Annotated[int, typer.Option(help="Number of rounds of the servers in turn.")] = 5,
    requests: Annotated[
        int, typer.Option(help="Number of requests to each server in each round.")
    ] = 400,
    json: Json = None,
) -> None:
    """Measures servers with different numbers of processes: throughput, processor time, memory."""
    context = describe_machine()
    run = processes.measure_rounds(
        repository,
        processes=[int(count) for count in counts.split(",")],
        workers=workers or available_cpus(),
        clients=clients,
        rounds=rounds,
        requests=requests,
    )
    measured = asyncio.run(run)
    print_table("1280x720 JPEG to mask PNG, refine=none", measured, out)
    summary = processes.summarise_rounds(measured)
    print_table("Medians", summary, out)
    write_json({"machine": context, "rounds": measured, "summary": summary}, json)


@app.command("triton")
def triton_command(
    pid: Annotated[int, typer.Argument(help="Process id of a Triton server on this machine.")],
    url: Annotated[str, typer.Argument(help="Address host:port of its gRPC endpoint.")],
    metrics: Annotated[int, typer.Argument(help="Loopback port of its metrics endpoint.")],
    repository: Repository = REPOSITORY,
    name: Annotated[str, typer.Option("--model", help="Model that Triton serves.")] = "connectnet",
    clients: Annotated[
        str, typer.Option(help="Numbers of concurrent connections, separated by commas.")
    ] = "8,32",
    rounds: Annotated[int, typer.Option(help="Number of rounds of both sides in turn.")] = 7,
    requests: Annotated[
        int, typer.Option(help="Number of requests of each side in each round.")
    ] = 200,
    json: Json = None,
) -> None:
    """Measures processor time per request: gateway and Triton, against the gateway alone.

    `python -m tests.triton.server` starts a Triton without a GPU and prints these three arguments.
    """
    context = describe_machine()
    server = triton.TritonProcess(pid, url, metrics, name)
    counts = [int(count) for count in clients.split(",")]
    run = triton.measure_rounds(
        repository, server, clients=counts, rounds=rounds, requests=requests
    )
    measured = asyncio.run(run)
    print_table(f"{name}, 1280x720 JPEG to mask PNG", measured, out)
    summary = triton.summarise_rounds(measured)
    print_table("Medians", summary, out)
    write_json({"machine": context, "rounds": measured, "summary": summary}, json)


@dataclass(frozen=True, slots=True)
class StreamsPlan:
    """Options of the WebSocket benchmark."""

    repository: Path
    workers: int
    seconds: float
    streams: int
    sessions: int


@app.command("streams")
def streams_command(
    repository: Repository = REPOSITORY,
    workers: Workers = None,
    seconds: Annotated[float, typer.Option(help="Duration of each run in seconds.")] = 15,
    at_once: Annotated[
        int, typer.Option(help="Number of concurrent streams in the run with many.")
    ] = 8,
    sessions: Annotated[
        int, typer.Option(help="Number of consecutive sessions for the memory figures.")
    ] = 200,
    json: Json = None,
) -> None:
    """Measures live video over WebSocket: 640x480 JPEGs in, masks out."""
    plan = StreamsPlan(repository, workers or available_cpus(), seconds, at_once, sessions)
    context = describe_machine()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_streams(plan))
    write_json({"machine": context} | figures, json)


async def _streams(plan: StreamsPlan) -> Figures:
    async with run_server(plan.repository, workers=plan.workers) as server:
        runs = [
            await streams.measure_one_stream(server, seconds=plan.seconds),
            *await streams.measure_overload(server, seconds=plan.seconds),
            await streams.measure_many_streams(server, count=plan.streams, seconds=plan.seconds),
        ]
        print_table("Round trips of 640x480 over WebSocket", runs, out)
    # A fresh server: its memory comes from the sessions alone.
    async with run_server(plan.repository, workers=plan.workers) as server:
        memory = await streams.measure_sessions(server, count=plan.sessions)
    print_table("Memory over sessions, one after the other", memory, out)
    return {"runs": runs, "memory": memory}


@dataclass(frozen=True, slots=True)
class WebRTCPlan:
    """Options of the WebRTC benchmark."""

    repository: Path
    workers: int
    model: str
    seconds: float
    heavy: str
    calls: int
    overload_s: float
    sessions: int


@app.command("webrtc")
def webrtc_command(
    repository: Repository = REPOSITORY,
    workers: Workers = None,
    model: Annotated[
        str, typer.Option(help="Model of one stream and of the memory figures.")
    ] = "connectnet",
    seconds: Annotated[
        float, typer.Option(help="Duration of the run with one stream in seconds.")
    ] = 30,
    heavy: Annotated[str, typer.Option(help="Model of the overload.")] = "md_trisenet",
    calls: Annotated[int, typer.Option(help="Number of concurrent calls in the overload.")] = 2,
    overload_s: Annotated[float, typer.Option(help="Duration of the overload in seconds.")] = 300,
    sessions: Annotated[
        int, typer.Option(help="Number of consecutive sessions for the memory figures.")
    ] = 200,
    json: Json = None,
) -> None:
    """Measures live video over WebRTC: 640x480 at 30 fps in, composites out.

    A duration of 0 skips its run.
    """
    plan = WebRTCPlan(
        repository, workers or available_cpus(), model, seconds, heavy, calls, overload_s, sessions
    )
    context = describe_machine()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_webrtc(plan))
    write_json({"machine": context} | figures, json)


async def _webrtc(plan: WebRTCPlan) -> Figures:
    runs: list[Figures] = []
    memory: list[Figures] = []
    async with run_server(plan.repository, workers=plan.workers) as server:
        if plan.seconds:
            runs.append(await webrtc.measure_one_call(server, plan.model, seconds=plan.seconds))
        if plan.overload_s:
            runs += await webrtc.measure_many_calls(
                server, plan.heavy, count=plan.calls, seconds=plan.overload_s
            )
        print_table("640x480 over WebRTC, there and back", runs, out)
    if plan.sessions:
        # A fresh server: its memory comes from the sessions alone.
        async with run_server(plan.repository, workers=plan.workers) as server:
            memory = await webrtc.measure_sessions(server, plan.model, count=plan.sessions)
        print_table("Memory over sessions, one after the other", memory, out)
    return {"runs": runs, "memory": memory}


if __name__ == "__main__":
    app()
