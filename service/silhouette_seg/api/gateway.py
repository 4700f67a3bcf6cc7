"""The gateway of a running service that routes use, put together by `create_app`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection, Request

from silhouette_seg.admission.body_memory import BodyMemoryBudget
from silhouette_seg.admission.keys import Keyring
from silhouette_seg.admission.photo_queue import PhotoQueue
from silhouette_seg.admission.request_limit import RequestLimiter
from silhouette_seg.admission.stream_limit import StreamLimiter, StreamLimits
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
    request_s: float
    queue_s: float


@dataclass(slots=True)
class Gateway:
    """`requests` counts requests from their first byte on; `photo_queue` bounds decoded photos.

    `stream_pool` decodes and renders frames, so that streams do not wait for photos.
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
    """Of one frame of a stream."""
    allowed_origins: tuple[str, ...] = ()
    """Of other hosts, whose pages may call us; `*` for all."""
    remote: InferenceServer | None = None
    engines: tuple[HealthCheckedEngine, ...] = ()
    warm_up_failed: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether every model has worked, and none has failed again and again since."""
        return self.registry.ready and not any(each.is_failing() for each in self.engines)

    async def check_engines(self) -> None:
        """Raises EngineDown or EngineFailed while what runs the models cannot, and Draining before
        either: nobody mends an engine that is being closed.
        """
        self.requests.check()
        if self.remote is not None:
            await self.remote.check_ready()
        for engine in self.engines:
            await engine.check_health()

    def check_ready(self) -> None:
        """Raises Draining, WarmingUp or EngineFailed unless photos can be taken."""
        self.requests.check()
        if self.warm_up_failed:
            raise EngineFailed("A model failed its warm-up.")
        if not self.registry.ready:
            raise WarmingUp

    def check_capacity(self) -> None:
        """Raises what `check_ready` does, or Overloaded: before a body is read, if possible."""
        self.check_ready()
        self.photo_queue.check()


def gateway_of(connection: HTTPConnection) -> Gateway:
    gateway: Gateway = connection.app.state.gateway
    return gateway


_bearer = HTTPBearer(auto_error=False)
_api_key = APIKeyHeader(name="X-Api-Key", auto_error=False)


async def require_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    api_key: Annotated[str | None, Depends(_api_key)],
) -> None:
    """Raises Unauthorized when keys are set and none was sent."""
    gateway_of(request).keyring.authenticate(bearer.credentials if bearer else None, api_key)
