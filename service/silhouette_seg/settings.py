"""Settings of the service, read once at start from `SILHOUETTE_*` variables."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "SILHOUETTE_"
CLIENT_KEY_VARIABLE = f"{PREFIX}CLIENT_KEY"
"""Variable with the key that the command line sends to a service. It is not a setting."""
QUEUE_PER_WORKER = 32
"""Default of `queue_size`, for each worker."""
STREAMS_PER_WORKER = 8
"""Default of `max_streams`, for each worker."""
PIXELS_PER_WORKER = 25_000_000
"""Default of `max_pixels_in_flight`, for each worker."""

PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def find_model_repository() -> Path:
    """Returns the model folder of the installed package, or else that of the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "model_repository"
    return installed if installed.is_dir() else package.parents[1] / "model_repository"


class Settings(BaseSettings):
    """Immutable settings. Raises ValidationError for a bad value or an unknown variable.

    Values of lists are separated by commas: `SILHOUETTE_API_KEYS=one,two`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        hide_input_in_errors=True,  # keys are among the values
        use_attribute_docstrings=True,
        validate_default=True,
    )

    host: str = "127.0.0.1"
    """Address to bind. An address beyond loopback requires `api_keys` or `allow_anonymous`."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """Port to bind; 0 lets the system choose a free port."""

    model_repository: Path = find_model_repository()
    """Folder that holds `<model>/spec.json` and `<model>/<version>/model.onnx`."""
    models: Annotated[tuple[str, ...], NoDecode] | None = None
    """Names of the models to serve. Unset serves every model in the repository."""
    engine: str = "onnx"
    """Inference engine: `onnx` runs models in this process, `triton` on an inference server."""
    device: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """Device of the engine. Without `allow_degraded` there is no fallback to another device."""
    allow_degraded: bool = False
    """Fall back to a slower device if the configured one is missing. A metric reports it."""
    triton_url: str | None = None
    """Address of Triton's gRPC endpoint as `host:port`; required by the engine `triton`.

    A name that resolves to several addresses stands for as many replicas.
    """

    workers: PositiveInt | None = None
    """Number of threads for pixels, and again as many for inference.

    Unset uses one for each processor that the affinity mask and the cgroup quota grant.
    """
    max_batch: PositiveInt = 1
    """Largest number of images in one run of a model. On a CPU batches save no time per image."""
    queue_size: PositiveInt | None = None
    """Largest number of photos in the queue, and of images that wait for one model.

    Unset is 32 for each worker.
    """
    photos_at_once: PositiveInt | None = None
    """Largest number of photos that are decoded and in work at the same time.

    Unset is 1 + `max_batch` for each worker. With the engine `triton` it is `queue_size`.
    """

    max_body_bytes: PositiveInt = 32 * 2**20
    """Largest image, in bytes."""
    max_batch_images: PositiveInt = 32
    """Largest number of images in one request to `POST /v1/segment/batch`."""
    max_batch_body_bytes: PositiveInt = 64 * 2**20
    """Largest body of a request to `POST /v1/segment/batch`, in bytes."""
    max_pixels: PositiveInt = 64_000_000
    """Largest image, in pixels. The service reads the size from the header, before decoding."""
    max_side: PositiveInt = 16_384
    """Largest side of an image, in pixels."""
    max_aspect: PositiveInt = 50
    """Largest aspect ratio of an image, as its longer side over its shorter side."""
    max_pixels_in_flight: PositiveInt | None = None
    """Largest total size of the photos in work, in pixels. A larger photo runs alone.

    Unset is 25 million for each worker.
    """

    max_streams: PositiveInt | None = None
    """Largest number of video streams at the same time. Unset is 8 for each worker."""
    max_streams_per_caller: PositiveInt | None = None
    """Largest number of video streams of one caller at the same time. Unset is `max_streams`.

    A caller is an API key, or a network address while `api_keys` is empty.
    """
    max_frame_bytes: PositiveInt = 4 * 2**20
    """Largest message of a WebSocket stream, in bytes; a larger one closes it with 1009."""
    stream_idle_s: Seconds = 30
    """Time without a frame after which a WebSocket stream ends with 4410, in seconds."""
    stream_max_s: Seconds = 4 * 3600
    """Maximum duration of a stream, in seconds."""
    webrtc_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses to offer as ICE host candidates. Unset offers those of the network interfaces."""
    webrtc_ice_servers: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """URLs of ICE servers: `stun:host:port` or `turn:user:password@host:port`."""
    webrtc_idle_s: Seconds = 10
    """Time without a frame after which a WebRTC stream ends, in seconds."""
    webrtc_connect_s: Seconds = 30
    """Time for a WebRTC peer to connect after its offer, in seconds."""
    webrtc_low_latency: bool = False
    """Patch aiortc's jitter buffer to deliver each frame as soon as it is complete."""

    read_timeout_s: Seconds = 10
    """Time for a request body to arrive before the request fails with 408, in seconds."""
    queue_timeout_s: Seconds = 2
    """Maximum wait of a photo in the queue, and of an image for its model, in seconds.

    A photo whose predicted wait is longer is rejected at once, with 503.
    """
    request_timeout_s: Seconds = 10
    """Time for a whole request before its work is cancelled and it fails with 504, in seconds."""
    drain_timeout_s: Seconds = 20
    """Time for running requests to finish after a stop signal, in seconds."""

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """API keys accepted from callers. Empty disables authentication."""
    allow_anonymous: bool = False
    """Serve without API keys although the address is reachable from other machines."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins of the web pages that may call the service; `*` allows every origin."""
    log_format: Literal["text", "json"] = "text"
    """Format of the log: one line of text or one JSON object per event."""
    otel_endpoint: str | None = None
    """URL of an OpenTelemetry collector for OTLP over HTTP, such as `http://collector:4318`.

    Unset disables tracing. It requires the extra `otel`.
    """

    def queue_size_for(self, workers: int) -> int:
        """Returns `queue_size`, or its default for this number of workers."""
        return QUEUE_PER_WORKER * workers if self.queue_size is None else self.queue_size

    def photos_at_once_for(self, workers: int) -> int:
        """Returns `photos_at_once`, or its default for this number of workers."""
        if self.photos_at_once is not None:
            return self.photos_at_once
        if self.engine == "triton":
            return self.queue_size_for(workers)
        return workers * (1 + self.max_batch)

    def max_pixels_in_flight_for(self, workers: int) -> int:
        """Returns `max_pixels_in_flight`, or its default for this number of workers."""
        return self.max_pixels_in_flight or PIXELS_PER_WORKER * workers

    def max_streams_for(self, workers: int) -> int:
        """Returns `max_streams`, or its default for this number of workers."""
        return STREAMS_PER_WORKER * workers if self.max_streams is None else self.max_streams

    @field_validator(
        "models", "api_keys", "cors_origins", "webrtc_hosts", "webrtc_ice_servers", mode="before"
    )
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",")) if value.strip() else ()

    @field_validator("models")
    @classmethod
    def _require_model_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and not (names and all(names)):
            raise ValueError("the list is empty or contains an empty name")
        return names

    @field_validator("api_keys")
    @classmethod
    def _reject_empty_key(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(key.get_secret_value() for key in keys):
            raise ValueError("the list contains an empty key")
        return keys

    @field_validator("model_repository")
    @classmethod
    def _require_folder(cls, path: Path) -> Path:
        if not path.is_dir():
            raise ValueError(f"{path} is not a folder; set {PREFIX}MODEL_REPOSITORY")
        return path

    @model_validator(mode="after")
    def _require_keys_beyond_loopback(self) -> Self:
        if not (self.api_keys or self.allow_anonymous or _is_loopback(self.host)):
            raise ValueError(
                f"{self.host} is reachable from other machines: set {PREFIX}API_KEYS,"
                f" or {PREFIX}ALLOW_ANONYMOUS=true to serve without keys"
            )
        return self

    @field_validator("triton_url")
    @classmethod
    def _require_host_and_port(cls, url: str | None) -> str | None:
        if url is not None and ("//" in url or not re.search(r":\d+$", url)):
            raise ValueError("expected host:port of Triton's gRPC endpoint, such as triton:8001")
        return url

    @field_validator("otel_endpoint")
    @classmethod
    def _require_http_url(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", url):
            raise ValueError("expected the collector's URL, such as http://collector:4318")
        return url

    @model_validator(mode="after")
    def _require_triton_url(self) -> Self:
        if self.engine == "triton" and self.triton_url is None:
            raise ValueError(f"the engine triton requires {PREFIX}TRITON_URL")
        return self

    @model_validator(mode="after")
    def _reject_unknown_variables(self) -> Self:
        present = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
        known = {PREFIX + field.upper() for field in type(self).model_fields}
        unknown = present - known - {CLIENT_KEY_VARIABLE}
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
