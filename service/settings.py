"""Everything an operator may choose, read once at start from `SILHOUETTE_*` variables."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "SILHOUETTE_"
CLIENT_KEY = f"{PREFIX}CLIENT_KEY"
"""No setting: the key that our command line presents where it is a client."""
QUEUE_PER_WORKER = 32
STREAMS_PER_WORKER = 8
PIXELS_PER_WORKER = 25_000_000

PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """One frozen value. A bad value, or a variable that is not known, stops the start.

    Lists are written with commas: `SILHOUETTE_API_KEYS=one,two`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        hide_input_in_errors=True,  # keys are among the values
        use_attribute_docstrings=True,
        validate_default=True,
    )

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback needs `api_keys` or `allow_anonymous`."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """Port to bind; 0 lets the system choose."""

    model_repository: Path = Path(__file__).resolve().parent.parent / "model_repository"
    """Folder that holds `<model>/spec.json` and `<model>/<version>/model.onnx`."""
    models: Annotated[tuple[str, ...], NoDecode] | None = None
    """Models to serve; unset serves all that the repository holds."""
    engine: str = "onnx"
    """What runs the models: a name of the table in `service/engine`."""
    device: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """What the engine runs on. There is no silent fallback to the CPU."""
    allow_degraded: bool = False
    """Start on something slower where the device is not there; a metric says so."""
    triton_url: str | None = None
    """`host:port` of Triton's gRPC, for the engine `triton`. A name may stand for many replicas."""

    workers: PositiveInt | None = None
    """Threads for pixels, and as many for inference; unset uses the processors we may use."""
    max_batch: PositiveInt = 1
    """Images that may share one run. On a CPU batches never lower the time per image."""
    queue_size: PositiveInt | None = None
    """Photos that may wait for their turn, and images for the engine, per model; unset is 32 for
    each worker."""
    photos_at_once: PositiveInt | None = None
    """Photos decoded and in work at once; unset is two for each worker, and more where batches
    form: `max_batch` more for each worker, or with Triton as many as may wait."""

    max_body_bytes: PositiveInt = 32 * 2**20
    """Bytes of one image."""
    max_batch_images: PositiveInt = 32
    """Images of one `POST /v1/segment/batch`."""
    max_batch_body_bytes: PositiveInt = 64 * 2**20
    """Bytes of its whole body."""
    max_pixels: PositiveInt = 64_000_000
    """Pixels of one image, read from its header before it is decoded."""
    max_side: PositiveInt = 16_384
    """Pixels along the longer side."""
    max_aspect: PositiveInt = 50
    """Longer side over shorter side."""
    max_pixels_in_flight: PositiveInt | None = None
    """Pixels of all the photos decoded and in work, of which one may have more; the others wait.
    Unset is 25 million for each worker."""

    max_streams: PositiveInt | None = None
    """Streams of live video at once; unset is 8 for each worker."""
    max_streams_per_caller: PositiveInt | None = None
    """Of one key, or of one address where no key is asked for; unset is as many as there may be."""
    max_frame_bytes: PositiveInt = 4 * 2**20
    """Bytes of one message of a stream (close code 1009)."""
    stream_idle_s: Seconds = 30
    """Time without a frame after which a WebSocket stream ends (close code 4410)."""
    stream_max_s: Seconds = 4 * 3600
    """Time after which a stream ends, however lively."""
    webrtc_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses to offer as ICE host candidates; none offers those of the network interfaces."""
    webrtc_ice_servers: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """`stun:` and `turn:` URLs, with credentials as in `turn:user:password@host:port`."""
    webrtc_idle_s: Seconds = 10
    """Time without a frame after which a WebRTC stream ends."""
    webrtc_connect_s: Seconds = 30
    """Time that a peer has to connect after its offer."""
    webrtc_low_latency: bool = False
    """Patches aiortc's jitter buffer to hand a frame on as soon as it is whole."""

    read_timeout_s: Seconds = 10
    """Time a client has to send its body (408)."""
    queue_timeout_s: Seconds = 2
    """Time a photo may wait for its turn, and an image for the engine; one that would have to wait
    longer is refused at once (503)."""
    request_timeout_s: Seconds = 10
    """Time for a whole request, after which its work is cancelled (504)."""
    drain_timeout_s: Seconds = 20
    """Time that running requests have to finish when the service stops."""

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that callers may present; none means that nobody is asked."""
    allow_anonymous: bool = False
    """Serve without keys although the address is not loopback."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call us."""
    log_format: Literal["text", "json"] = "text"
    """One line of text or one JSON object per event."""
    otel_endpoint: str | None = None
    """URL of an OpenTelemetry collector that takes OTLP over HTTP, as in `http://collector:4318`;
    unset sends no trace. Needs the extra `otel`."""

    def queue_size_for(self, workers: int) -> int:
        """How many images may wait when `workers` of them can run."""
        return QUEUE_PER_WORKER * workers if self.queue_size is None else self.queue_size

    def photos_at_once_for(self, workers: int) -> int:
        """How many photos may be in work when `workers` threads touch their pixels."""
        if self.photos_at_once is not None:
            return self.photos_at_once
        if self.engine == "triton":
            return self.queue_size_for(workers)
        return workers * (1 + self.max_batch)

    def max_pixels_in_flight_for(self, workers: int) -> int:
        """How many pixels those photos may have together."""
        return self.max_pixels_in_flight or PIXELS_PER_WORKER * workers

    def max_streams_for(self, workers: int) -> int:
        """How many streams there may be when `workers` frames can be in work."""
        return STREAMS_PER_WORKER * workers if self.max_streams is None else self.max_streams

    @field_validator(
        "models", "api_keys", "cors_origins", "webrtc_hosts", "webrtc_ice_servers", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",")) if value.strip() else ()

    @field_validator("models")
    @classmethod
    def _names_some(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and not (names and all(names)):
            raise ValueError("names no model, or one with an empty name")
        return names

    @field_validator("api_keys")
    @classmethod
    def _no_empty_key(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(key.get_secret_value() for key in keys):
            raise ValueError("one of the keys is empty")
        return keys

    @field_validator("model_repository")
    @classmethod
    def _is_folder(cls, path: Path) -> Path:
        if not path.is_dir():
            raise ValueError(f"no such folder: {path}; set {PREFIX}MODEL_REPOSITORY")
        return path

    @model_validator(mode="after")
    def _asks_for_keys_when_reachable(self) -> Self:
        if not (self.api_keys or self.allow_anonymous or _is_loopback(self.host)):
            raise ValueError(
                f"{self.host} can be reached from outside: set {PREFIX}API_KEYS,"
                f" or {PREFIX}ALLOW_ANONYMOUS=true to serve everybody"
            )
        return self

    @field_validator("triton_url")
    @classmethod
    def _is_grpc(cls, url: str | None) -> str | None:
        if url is not None and ("//" in url or not re.search(r":\d+$", url)):
            raise ValueError("write host:port of Triton's gRPC, as in triton:8001")
        return url

    @field_validator("otel_endpoint")
    @classmethod
    def _is_otlp(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", url):
            raise ValueError("write the collector's URL, as in http://collector:4318")
        return url

    @model_validator(mode="after")
    def _knows_where_triton_is(self) -> Self:
        if self.engine == "triton" and self.triton_url is None:
            raise ValueError(f"the engine triton needs {PREFIX}TRITON_URL")
        return self

    @model_validator(mode="after")
    def _knows_every_variable(self) -> Self:
        ours = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
        known = {PREFIX + field.upper() for field in type(self).model_fields}
        unknown = ours - known - {CLIENT_KEY}
        if unknown:
            raise ValueError(f"not a setting: {', '.join(sorted(unknown))}")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
