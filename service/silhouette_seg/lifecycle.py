"""Start and stop of the service: check of a remote inference server, warm-up, and drain."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from fastapi import FastAPI

from silhouette_seg.api.gateway import Gateway
from silhouette_seg.engine.base import InferenceServer
from silhouette_seg.errors import Draining, EngineFailed, Unavailable
from silhouette_seg.telemetry import monitor_loop_lag

log = logging.getLogger(__name__)


HEALTH_INTERVAL_S = 0.1
"""Seconds between two reports of a process to the others of its server."""
PROBE_INTERVAL_S = 1.0
"""Seconds between two checks of the models of a server with several processes.

No request of `/readyz` may reach the process that has a failing model.
"""
WARM_UP_RETRY_S = 1.0
"""Seconds between warm-up attempts while a model is unavailable."""


async def drain(gateway: Gateway, timeout_s: float) -> None:
    """Stops the service in order: rejects new requests and streams, and tells streams to end.

    It waits up to `timeout_s` seconds for running work, then closes the models. Inferences that
    still run then fail.
    """
    gateway.requests.start_draining()
    gateway.streams.start_draining()
    try:
        async with asyncio.timeout(timeout_s):
            await gateway.requests.wait_idle()
            await gateway.streams.wait_idle()
    except TimeoutError:
        unfinished = gateway.requests.own_count, gateway.streams.own_count
        log.warning("%d requests and %d streams did not finish in time", *unfinished)
    await gateway.registry.close()


@asynccontextmanager
async def lifespan(
    app: FastAPI, *, gateway: Gateway, drain_timeout_s: float
) -> AsyncIterator[None]:
    """Starts warm-up and monitoring in the background; on exit drains and closes the service.

    `drain_timeout_s` is the time for running work to finish, in seconds. A process that was
    restarted yields after its warm-up, so that no other process of the server is less ready than
    it. Raises EngineFailed if required models of a remote inference server differ from their
    `spec.json`.
    """
    gateway.photo_pool.start()
    gateway.stream_pool.start()
    async with AsyncExitStack() as stack:
        stack.enter_context(gateway.group.listening())
        stack.push_async_callback(asyncio.to_thread, gateway.telemetry.tracing.close)
        stack.callback(gateway.photo_pool.close)
        stack.callback(gateway.stream_pool.close)
        stack.push_async_callback(drain, gateway, drain_timeout_s)
        if gateway.remote is not None:
            await _check_remote(gateway, gateway.remote)
        if gateway.group.restarted:
            await _warm_up_models(gateway, gateway.registry.required)
        tasks = [
            _warm_up(gateway),
            monitor_loop_lag(gateway.telemetry.observe_loop_lag),
            _report_health(gateway),
        ]
        if gateway.group.count > 1:
            tasks.append(_probe_models(gateway))
        for task in tasks:
            stack.push_async_callback(_cancel, asyncio.create_task(task))
        yield


async def _report_health(gateway: Gateway) -> None:
    """Tells the other processes the state of this one, until it is cancelled."""
    while True:
        gateway.report_health()
        await asyncio.sleep(HEALTH_INTERVAL_S)


async def _probe_models(gateway: Gateway) -> None:
    """Checks the models of this process, so that one that works again is noticed."""
    while True:
        await asyncio.sleep(PROBE_INTERVAL_S)
        for engine in gateway.engines:
            with suppress(EngineFailed):
                await engine.check_health()


async def _check_remote(gateway: Gateway, remote: InferenceServer) -> None:
    """Checks the required models of a remote inference server when the service starts.

    Raises EngineFailed if they differ from their `spec.json`. If the server is unavailable it only
    logs a warning, because the server may start later.
    """
    try:
        await remote.check_ready(gateway.registry.required)
    except EngineFailed as error:
        log.error("refusing to start: %s", error.detail)
        raise
    except Unavailable as error:
        log.warning("inference server unavailable: %s (%r)", error.detail, error.__cause__)


async def _warm_up(gateway: Gateway) -> None:
    """Runs one image through the required models, prepares WebRTC, then runs the other models.

    It runs in the background, so that `/livez` and `/readyz` answer meanwhile. Photos are served
    from the end of the first step: no other model can delay them. A shutdown ends the warm-up,
    which is no failure.
    """
    registry = gateway.registry
    try:
        await _warm_up_models(gateway, registry.required)
        if registry.ready:
            log.info("ready: %s", ", ".join(registry.names))
        await gateway.webrtc.warm_up()
        await _warm_up_models(gateway, registry.cold)
    except Draining:
        return


async def _warm_up_models(gateway: Gateway, names: Collection[str]) -> None:
    """Runs one image through each model of `names`, until none of them is cold.

    With a remote inference server it retries until they work. Otherwise a failure is final, unless
    other requests fill the queue of the model.
    """
    reported: dict[str, str] = {}
    retry = gateway.remote is not None
    while errors := await gateway.registry.warm_up(names, retry=retry):
        cold = gateway.registry.cold
        for name, error in errors.items():
            if name not in cold:
                log.error("%s failed its warm-up", name, exc_info=error)
            elif reported.get(name) != str(error):
                log.warning("%s is not ready: %s (%r)", name, error, error.__cause__)
                reported[name] = str(error)
        if errors.keys() & set(cold):
            await asyncio.sleep(WARM_UP_RETRY_S)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
