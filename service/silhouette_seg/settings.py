"""Settings of the service, read once at start from `SILHOUETTE_*` environment variables."""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from silhouette_seg.spec import find_model_repository

PREFIX = "SILHOUETTE_"
CLIENT_KEY_VARIABLE = f"{PREFIX}CLIENT_KEY"
"""Environment variable with the API key that `silhouette segment --server` sends.

It is no setting of the service.
"""
QUEUE_PER_WORKER = 32
"""Default of the setting `queue_size` per worker, in photos or images."""
STREAMS_PER_WORKER = 8
"""Default of the setting `max_streams` per worker, in streams."""
PIXELS_PER_WORKER = 25_000_000
"""Default of the setting `max_pixels_in_flight` per worker, in pixels."""
TRITON_DEVICES = ("cpu", "cuda", "tensorrt")
"""Values of the setting `device` that a configuration of Triton can name."""

PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Immutable settings of the service, one field for each `SILHOUETTE_<NAME>` variable.

    Lists are separated by commas: `SILHOUETTE_API_KEYS=one,two`. Raises pydantic.ValidationError
    for an invalid value or an unknown `SILHOUETTE_` variable.
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
    """TCP port to bind, 0..65535; 0 lets the system choose a free port."""

    model_repository: Path = find_model_repository()
    """Folder that holds `<model>/spec.json` and `<model>/<version>/model.onnx`."""
    models: Annotated[tuple[str, ...], NoDecode] | None = None
    """Names of the models to serve. Unset serves every model in the repository."""
    engine: str = "onnx"
    """Inference engine: `onnx` runs models in this process, `triton` on a Triton server."""
    device: Literal["cpu", "cuda", "tensorrt", "coreml", "directml", "rocm"] = "cpu"
    """Device that runs the models. Without `allow_degraded` there is no fallback to another.

    `coreml`, `directml` and `rocm` run models in this process only, and were not tested.
    """
    allow_degraded: bool = False
    """Allow a slower device if `device` is missing; `silhouette_engine_degraded` reports it."""
    triton_url: str | None = None
    """Address of Triton's gRPC endpoint as `host:port`; required by the engine `triton`.

    A host name that resolves to several addresses stands for as many replicas of Triton.
    """

    processes: PositiveInt = 1
    """Number of server processes behind the port; each runs its share of the workers.

    More than one requires an engine of this process and the device `cpu`.
    """
    workers: PositiveInt | None = None
    """Number of threads that decode and render images, and again as many that run models.

    Unset uses one for each processor that the affinity mask and the cgroup quota grant. Defaults
    "for each worker" are multiples of this number. It is of all processes together, a multiple of
    their number.
    """
    max_batch: PositiveInt = 1
    """Largest number of images in one run of a model. On a CPU batches save no time per image."""
    queue_size: PositiveInt | None = None
    """Largest number of photos in the queue, and of images that wait for one model.

    Unset is 32 for each worker.
    """
    photos_at_once: PositiveInt | None = None
    """Largest number of photos that are decoded and processed at the same time.

    Unset is 1 + `max_batch` for each worker. With the engine `triton` it is `queue_size`.
    """

    max_body_bytes: PositiveInt = 32 * 2**20
    """Largest image file that a request may send, in bytes."""
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
    """Largest total size of the photos processed at the same time, in pixels.

    A photo with more pixels is processed alone.

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
    """Time without a frame after which a WebSocket stream is closed with 4410, in seconds."""
    stream_max_s: Seconds = 4 * 3600
    """Maximum duration of a stream, in seconds."""
    webrtc_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """IP addresses that WebRTC offers as ICE host candidates.

    Unset offers those of all network interfaces.
    """
    webrtc_ice_servers: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """URLs of the STUN and TURN servers of WebRTC.

    The forms are `stun:host:port` and `turn:user:password@host:port`.
    """
    webrtc_idle_s: Seconds = 10
    """Time without a frame after which a WebRTC stream ends, in seconds."""
    webrtc_connect_s: Seconds = 30
    """Time for a WebRTC client to connect after its offer was answered, in seconds."""
    webrtc_low_latency: bool = False
    """Deliver each WebRTC frame as soon as it is complete, by a patch of aiortc's jitter buffer.

    The default waits for the next frame, which adds one frame interval of delay.
    """

    read_timeout_s: Seconds = 10
    """Time for a request body to arrive, in seconds; a later one is answered with 408."""
    queue_timeout_s: Seconds = 2
    """Maximum wait of a photo in the photo queue, and of an image for its model, in seconds.

    A photo whose predicted wait is longer is rejected at once, with 503.
    """
    request_timeout_s: Seconds = 10
    """Time for a whole request, in seconds; then its work is cancelled, with 504."""
    drain_timeout_s: Seconds = 20
    """Time for running requests and streams to end after a stop signal, in seconds."""

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """API keys that callers may use. Empty disables authentication."""
    allow_anonymous: bool = False
    """Serve without API keys although the address is reachable from other machines."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins of the web pages that may call the service from a browser; `*` allows all."""
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """IP addresses and networks of the proxies that forward the client address and the host.

    Empty ignores such headers from all senders.
    """
    proxy_headers: Literal["x-forwarded", "forwarded"] = "x-forwarded"
    """Headers that the trusted proxies write: `X-Forwarded-*`, or `Forwarded` of RFC 7239."""
    log_format: Literal["text", "json"] = "text"
    """Format of the log: a line of text, or a JSON object, for each event."""
    otel_endpoint: str | None = None
    """URL of an OpenTelemetry collector for OTLP over HTTP, such as `http://collector:4318`.

    Unset disables tracing. It requires the extra `otel`.
    """

    def workers_for(self, cpus: int) -> int:
        """Returns the setting `workers`, or its default for this number of usable processors.

        Raises ValueError if it is not a multiple of `processes`.
        """
        workers = self.workers or cpus
        if workers % self.processes:
            raise ValueError(
                f"{PREFIX}WORKERS is {workers}, and must be a multiple of {PREFIX}PROCESSES,"
                f" which is {self.processes}"
            )
        return workers

    def queue_size_for(self, workers: int) -> int:
        """Returns the setting `queue_size`, or its default for this number of workers."""
        return QUEUE_PER_WORKER * workers if self.queue_size is None else self.queue_size

    def photos_at_once_for(self, workers: int) -> int:
        """Returns the setting `photos_at_once`, or its default for this number of workers."""
        if self.photos_at_once is not None:
            return self.photos_at_once
        if self.engine == "triton":
            return self.queue_size_for(workers)
        return workers * (1 + self.max_batch)

    def max_pixels_in_flight_for(self, workers: int) -> int:
        """Returns the setting `max_pixels_in_flight`, or its default for this number of workers."""
        return self.max_pixels_in_flight or PIXELS_PER_WORKER * workers

    def max_streams_for(self, workers: int) -> int:
        """Returns the setting `max_streams`, or its default for this number of workers."""
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

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _parse_networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(_parse_proxy(part.strip()) for part in value.split(",") if value.strip())

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
            raise ValueError(f"{path} is not a folder")
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
    def _require_device_of_triton(self) -> Self:
        if self.engine == "triton" and self.device not in TRITON_DEVICES:
            raise ValueError(
                f"the engine triton runs models on {', '.join(TRITON_DEVICES)},"
                f" not on {self.device}"
            )
        return self

    @model_validator(mode="after")
    def _require_models_on_cpu_for_processes(self) -> Self:
        if self.processes > 1 and (self.engine == "triton" or self.device != "cpu"):
            raise ValueError(
                f"{PREFIX}PROCESSES is {self.processes}, and must be 1 with the engine triton"
                " or a device other than cpu"
            )
        return self

    @model_validator(mode="after")
    def _reject_unknown_variables(self) -> Self:
        present = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
        known = {PREFIX + field.upper() for field in type(self).model_fields}
        unknown = present - known - {CLIENT_KEY_VARIABLE}
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        return self


def _parse_proxy(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{error}; expected an address, or a network such as 10.1.2.0/24"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{text} trusts every client, which could then forge its address")
    return network


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
