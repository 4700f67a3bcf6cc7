"""Start and stop of the service: remote check, warm-up in the background, and drain."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from fastapi import FastAPI

from silhouette_seg.api.gateway import Gateway
from silhouette_seg.engine.base import InferenceServer
from silhouette_seg.errors import EngineFailed, ServiceError, Unavailable
from silhouette_seg.telemetry import monitor_loop_lag

log = logging.getLogger(__name__)


WARM_UP_RETRY_S = 1.0
"""Interval between warm-up attempts while a remote inference server is unavailable, in seconds."""


async def drain(gateway: Gateway, timeout_s: float) -> None:
    """Rejects new work, ends streams, waits for running work, then fails the rest."""
    gateway.requests.start_draining()
    gateway.streams.start_draining()
    try:
        async with asyncio.timeout(timeout_s):
            await gateway.requests.wait_idle()
            await gateway.streams.wait_idle()
    except TimeoutError:
        unfinished = gateway.requests.count, gateway.streams.count
        log.warning("%d requests and %d streams did not finish in time", *unfinished)
    await gateway.registry.close()


@asynccontextmanager
async def lifespan(
    app: FastAPI, *, gateway: Gateway, drain_timeout_s: float
) -> AsyncIterator[None]:
    """Starts the background tasks; on exit drains the service and closes the gateway.

    Raises EngineFailed if a remote inference server holds other models.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, gateway.telemetry.tracing.close)
        stack.callback(gateway.photo_pool.close)
        stack.callback(gateway.stream_pool.close)
        stack.push_async_callback(drain, gateway, drain_timeout_s)
        if gateway.remote is not None:
            await _check_remote(gateway.remote)
        for task in (_warm_up(gateway), monitor_loop_lag(gateway.telemetry.observe_loop_lag)):
            stack.push_async_callback(_cancel, asyncio.create_task(task))
        yield


async def _check_remote(remote: InferenceServer) -> None:
    """Refuses to start if the server's models differ; an unavailable server may start later."""
    try:
        await remote.check_ready()
    except EngineFailed as error:
        log.error("refusing to start: %s", error.detail)
        raise
    except Unavailable as error:
        log.warning("inference server unavailable: %s (%r)", error.detail, error.__cause__)


async def _warm_up(gateway: Gateway) -> None:
    """Warms up every model in the background, so that `/livez` and `/readyz` always answer.

    A remote inference server may start or recover later: its models are tried until they work.
    """
    last_warning = ""
    while not gateway.registry.ready:
        try:
            await gateway.registry.warm_up()
        except ServiceError as error:
            if gateway.remote is None:
                _mark_warm_up_failed(gateway)
                return
            if last_warning != error.detail:
                log.warning("not ready: %s (%r)", error.detail, error.__cause__)
                last_warning = error.detail
            await asyncio.sleep(WARM_UP_RETRY_S)
        except Exception:
            _mark_warm_up_failed(gateway)
            return
    log.info("ready: %s", ", ".join(gateway.registry.names))
    await gateway.webrtc.warm_up()


def _mark_warm_up_failed(gateway: Gateway) -> None:
    gateway.warm_up_failed = True
    log.exception("a model failed its warm-up; the service does not become ready")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
