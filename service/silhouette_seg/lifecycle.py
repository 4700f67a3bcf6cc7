"""Start and stop: remote check, warm-up in the background, drain."""

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


WARM_UP_EVERY_S = 1.0
"""While the server that runs the models is not there."""


async def drain(gateway: Gateway, timeout_s: float) -> None:
    """Refuses what is new, ends streams, waits for what is in work, then fails what is left."""
    gateway.requests.refuse()
    gateway.streams.close()
    try:
        async with asyncio.timeout(timeout_s):
            await gateway.requests.idle()
            await gateway.streams.idle()
    except TimeoutError:
        left = gateway.requests.requests, gateway.streams.count
        log.warning("%d requests and %d streams did not finish in time", *left)
    await gateway.registry.close()


@asynccontextmanager
async def lifespan(
    app: FastAPI, *, gateway: Gateway, drain_timeout_s: float
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, gateway.telemetry.tracing.close)
        stack.callback(gateway.workers.close)
        stack.callback(gateway.stream_workers.close)
        stack.push_async_callback(drain, gateway, drain_timeout_s)
        if gateway.remote is not None:
            await _meet(gateway.remote)
        for task in (_warm_up(gateway), monitor_loop_lag(gateway.telemetry.observe_loop_lag)):
            stack.push_async_callback(_cancel, asyncio.create_task(task))
        yield


async def _meet(remote: InferenceServer) -> None:
    """Refuses the start where the server's models are not ours. It may as well come later."""
    try:
        await remote.check_ready()
    except EngineFailed as error:
        log.error("refusing to start: %s", error.detail)
        raise
    except Unavailable as error:
        log.warning("not there yet: %s (%r)", error.detail, error.__cause__)


async def _warm_up(gateway: Gateway) -> None:
    """In the background, so that `/livez` and `/readyz` answer from the first moment.

    What another server runs may be there later, or work later: that is tried until it does.
    """
    said = ""
    while not gateway.registry.ready:
        try:
            await gateway.registry.warm_up()
        except ServiceError as error:
            if gateway.remote is None:
                _never_ready(gateway)
                return
            if said != error.detail:
                log.warning("not ready: %s (%r)", error.detail, error.__cause__)
                said = error.detail
            await asyncio.sleep(WARM_UP_EVERY_S)
        except Exception:
            _never_ready(gateway)
            return
    log.info("ready: %s", ", ".join(gateway.registry.names))
    await gateway.webrtc.warm_up()


def _never_ready(gateway: Gateway) -> None:
    gateway.warm_up_failed = True
    log.exception("a model failed its warm-up: not ready")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
