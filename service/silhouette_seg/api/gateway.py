"""Models, queues, limits and metrics of a running service, which all routes share."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection, Request

from silhouette_seg.admission.body_memory import BodyMemoryBudget
from silhouette_seg.admission.keys import Keyring
from silhouette_seg.admission.photo_queue import PhotoQueue
from silhouette_seg.admission.request_limit import RequestLimiter
from silhouette_seg.admission.stream_limit import StreamLimiter, StreamLimits
from silhouette_seg.api.forwarding import Forwarder
from silhouette_seg.api.process_health import ModelState, ProcessHealth
from silhouette_seg.api.request.credentials import API_KEY_HEADER, Credentials, read_credentials
from silhouette_seg.api.request.stream_parameters import StreamOptionsParser
from silhouette_seg.api.request.uploads import BatchLimits, UploadLimits
from silhouette_seg.engine.base import InferenceServer
from silhouette_seg.engine.health import HealthCheckedEngine
from silhouette_seg.engine.statistics import ModelStatistics
from silhouette_seg.errors import EngineFailed, ModelFailed, WarmingUp
from silhouette_seg.pipeline.registry import ModelRegistry
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.webrtc.registry import PeerRegistry
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageLimits

FAILING = "it fails repeatedly"
"""Reason of a model with several failed inferences in a row, until one succeeds."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of one photo, in seconds."""

    request_s: float
    """Time from the headers of the request to the response, including the upload."""
    queue_s: float
    """Largest predicted wait in the photo queue."""

    def remaining_s(self, arrived: float) -> float:
        """Returns the seconds that are left of `request_s`, at least 0.

        `arrived` is the `time.perf_counter()` value at which the request arrived.
        """
        return max(0.0, self.request_s - (perf_counter() - arrived))


@dataclass(slots=True)
class Gateway:
    """All parts of a running service: models, threads, queues, limits, keys and metrics.

    `app.state.gateway` is the only instance. `requests` counts an HTTP request from before its
    body is read. Photos wait in `photo_queue` before they are decoded. `stream_pool` has threads
    for video frames, so that streams do not wait for the photos in `photo_pool`.
    """

    version: str
    registry: ModelRegistry
    photo_pool: ThreadPool
    stream_pool: ThreadPool
    requests: RequestLimiter
    photo_queue: PhotoQueue
    streams: StreamLimiter
    webrtc: PeerRegistry
    body_memory: BodyMemoryBudget
    telemetry: Telemetry
    keyring: Keyring
    image_limits: ImageLimits
    upload_limits: UploadLimits
    batch_limits: BatchLimits
    timeouts: Timeouts
    stream_limits: StreamLimits
    frame_limits: ImageLimits
    """Size limits of one frame of a video stream."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of the pages that may call the API from a browser; `*` allows all."""
    group: ProcessGroup = field(default_factory=ProcessGroup)
    """The processes of the server, of which this is one."""
    process_health: ProcessHealth = field(init=False)
    forwarder: Forwarder | None = None
    """Reaches the other processes of the server; None if there are none."""
    remote: InferenceServer | None = None
    """Client of the inference server that runs the models; None if they run in this process."""
    engines: tuple[HealthCheckedEngine, ...] = ()
    statistics: Mapping[str, ModelStatistics] = field(default_factory=dict)
    """Statistics of each model by its name."""

    def __post_init__(self) -> None:
        loaded = {engine.spec.name for engine in self.engines}
        names = sorted(loaded | self.registry.required | self.registry.failures.keys())
        self.process_health = ProcessHealth(self.group, names)

    @property
    def is_ready(self) -> bool:
        """True if every process of the server is healthy, and this one does not drain."""
        return self._is_own_ready and self.process_health.others_ready

    @property
    def _is_own_ready(self) -> bool:
        return self.is_healthy and not self.streams.draining.is_set()

    @property
    def is_healthy(self) -> bool:
        """True if every required model is warmed up and none of them fails repeatedly now."""
        required = self._engines_of(self.registry.required)
        return self.registry.ready and not any(engine.is_failing() for engine in required)

    @property
    def failures(self) -> dict[str, str]:
        """Reason of each model that does not serve now, by its name; no model is asked."""
        failing = {name: FAILING for name in self.process_health.models if self.is_failing(name)}
        return failing | self.registry.failures

    def is_failing(self, name: str) -> bool:
        """Returns True if a model fails repeatedly or failed its warm-up, in any process."""
        return (
            name in self.registry.failures
            or any(engine.is_failing() for engine in self._engines_of([name]))
            or self.process_health.worst_of_others(name) is ModelState.FAILING
        )

    @property
    def stream_options(self) -> StreamOptionsParser:
        """Parser for the parameters of a video stream, with the served models."""
        return StreamOptionsParser(self.registry, self.stream_pool, self.image_limits)

    def check_key(self, connection: HTTPConnection) -> None:
        """Checks the API key of a request or WebSocket.

        Raises Unauthorized if keys are configured and the connection presents none of them.
        """
        credentials = read_credentials(connection)
        self.keyring.authenticate(credentials.bearer, credentials.api_key)

    def identify(self, credentials: Credentials) -> str:
        """Returns an id of the caller, under which its streams are counted.

        It is the hash of the API key, or the IP address if no keys are configured. Raises
        Unauthorized as `check_key` does.
        """
        return self.keyring.identify(credentials.bearer, credentials.api_key, credentials.address)

    async def check_models(self, names: Collection[str]) -> None:
        """Checks that each model of `names` works, here or on the inference server.

        Raises EngineFailed with the reason for a model that has failed, and EngineDown or
        EngineFailed for one that cannot run now. Raises WarmingUp before the warm-up of one. While
        the service drains it raises Draining first: an engine that is being closed must not be
        probed or restarted.
        """
        self.requests.check()
        for name in sorted(names):
            try:
                self.registry.check(name)
            except ModelFailed as error:  # probes of readiness expect a 503
                raise EngineFailed(error.detail) from None
        if self.remote is not None:
            await self.remote.check_ready(names)
        for engine in self._engines_of(names):
            await engine.check_health()
        others = [self.process_health.worst_of_others(name) for name in sorted(names)]
        for name, state in zip(sorted(names), others, strict=True):
            if state is ModelState.FAILING:
                raise EngineFailed(f"{name} is not working in a process", retry_after_s=1)
        if ModelState.COLD in others or not all(self.registry.is_warm(name) for name in names):
            raise WarmingUp

    def report_health(self) -> None:
        """Tells the other processes of the server the state of this one and of its models."""
        states = dict.fromkeys(self.registry.failures, ModelState.FAILING)
        for engine in self.engines:
            name = engine.spec.name
            if engine.is_failing():
                states[name] = ModelState.FAILING
            elif name not in states:
                warm = self.registry.is_warm(name)
                states[name] = ModelState.WORKING if warm else ModelState.COLD
        self.process_health.report(ready=self._is_own_ready, states=states)

    async def check_ready(self) -> None:
        """Checks that every required model works; raises the errors of `check_models`."""
        await self.check_models(self.registry.required)

    def check_started(self) -> None:
        """Checks that the service processes photos. A model that has failed may still be named.

        Raises Draining during shutdown, Overloaded if too many requests are in progress, and
        WarmingUp before the required models are warm or have failed.
        """
        self.requests.check()
        if not self.registry.tried:
            raise WarmingUp

    def check_capacity(self) -> None:
        """Checks that the service can accept another photo. Routes call it before they read a body.

        Raises the errors of `check_started`, and Overloaded if the photo queue is full or its wait
        too long.
        """
        self.check_started()
        self.photo_queue.check()

    def _engines_of(self, names: Collection[str]) -> list[HealthCheckedEngine]:
        return [engine for engine in self.engines if engine.spec.name in names]


def gateway_of(connection: HTTPConnection) -> Gateway:
    """Returns the `Gateway` of the application that serves a request or a WebSocket."""
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def require_key(
    request: Request,
    _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False))],
    _api_key: Annotated[object, Depends(APIKeyHeader(name=API_KEY_HEADER, auto_error=False))],
) -> None:
    """Checks the API key of a request, as a FastAPI dependency.

    Raises Unauthorized if keys are configured and the request presents none of them. The two
    security schemes are parameters only so that the OpenAPI document describes them.
    """
    gateway_of(request).check_key(request)
