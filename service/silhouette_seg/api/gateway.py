"""The shared state of a running service, which every route reads from the application."""

from dataclasses import dataclass
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
from silhouette_seg.api.request.credentials import API_KEY_HEADER, Credentials, read_credentials
from silhouette_seg.api.request.stream_parameters import StreamOptionsParser
from silhouette_seg.api.request.uploads import BatchLimits, UploadLimits
from silhouette_seg.engine.base import InferenceServer
from silhouette_seg.engine.health import HealthCheckedEngine
from silhouette_seg.errors import EngineFailed, WarmingUp
from silhouette_seg.pipeline.registry import ModelRegistry
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.webrtc.registry import PeerRegistry
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageLimits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds for one photo."""

    request_s: float
    """Time from the request head to the response, including the body."""
    queue_s: float
    """Time in the photo queue."""

    def remaining_s(self, arrived: float) -> float:
        """Returns the rest of `request_s`, at least 0, after `perf_counter()` read `arrived`."""
        return max(0.0, self.request_s - (perf_counter() - arrived))


@dataclass(slots=True)
class Gateway:
    """All parts of a running service; `app.state.gateway` holds the only instance.

    `requests` counts a request from its first byte on. `photo_queue` admits photos to decoding.
    `stream_pool` are threads for frames: streams do not wait for photos that are decoded.
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
    """Limits of one frame of a stream."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other hosts with access to the API from a browser; `*` allows all."""
    remote: InferenceServer | None = None
    """Server that runs the models, if another process does."""
    engines: tuple[HealthCheckedEngine, ...] = ()
    warm_up_failed: bool = False

    @property
    def is_healthy(self) -> bool:
        """True when every model is warmed up and no engine has failed repeatedly since."""
        return self.registry.ready and not any(engine.is_failing() for engine in self.engines)

    @property
    def stream_options(self) -> StreamOptionsParser:
        """Parser for the options of a stream."""
        return StreamOptionsParser(self.registry, self.stream_pool, self.image_limits)

    def check_key(self, connection: HTTPConnection) -> None:
        """Raises Unauthorized when keys are configured and the request has none of them."""
        credentials = read_credentials(connection)
        self.keyring.authenticate(credentials.bearer, credentials.api_key)

    def identify(self, credentials: Credentials) -> str:
        """Returns the name under which the quotas of a caller are counted.

        Raises Unauthorized as `check_key` does.
        """
        return self.keyring.identify(credentials.bearer, credentials.api_key, credentials.address)

    async def check_engines(self) -> None:
        """Raises EngineDown or EngineFailed while a model cannot run.

        Raises Draining first: an engine that is being closed must not be probed or restarted.
        """
        self.requests.check()
        if self.remote is not None:
            await self.remote.check_ready()
        for engine in self.engines:
            await engine.check_health()

    def check_ready(self) -> None:
        """Raises Draining, WarmingUp or EngineFailed unless photos can be processed."""
        self.requests.check()
        if self.warm_up_failed:
            raise EngineFailed("A model failed its warm-up.")
        if not self.registry.ready:
            raise WarmingUp

    def check_capacity(self) -> None:
        """Raises the errors of `check_ready`, or Overloaded when the photo queue is full.

        Routes call it before they read the body.
        """
        self.check_ready()
        self.photo_queue.check()


def gateway_of(connection: HTTPConnection) -> Gateway:
    """Returns the gateway of the application that serves a request or a WebSocket."""
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def require_key(
    request: Request,
    _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False))],
    _api_key: Annotated[object, Depends(APIKeyHeader(name=API_KEY_HEADER, auto_error=False))],
) -> None:
    """Raises Unauthorized when keys are configured and the request has none of them.

    The two schemes are dependencies only so that the OpenAPI document describes them.
    """
    gateway_of(request).check_key(request)
