"""Wire types: what the JSON of this service looks like, and nothing else."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class JsonModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(JsonModel):
    """RFC 9457 `application/problem+json`: every refusal and failure has this shape."""

    type: str = Field(description="Stable, one per `code`.")
    title: str
    status: int
    detail: str = Field(description="What was wrong with this request, in words.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="What a program should look at.")
    request_id: str
    retryable: bool = Field(description="True: the same request may succeed later.")
    limit: float | None = Field(default=None, description="The limit that was hit.")
    actual: float | None = Field(default=None, description="What was sent instead.")


class Box(JsonModel):
    """A rectangle in pixels of the upright photo."""

    top: int
    left: int
    width: int
    height: int


class ModelUsed(JsonModel):
    name: str
    digest: str = Field(description="`sha256:` and the hash of the model file.")
    backend: str = Field(description="The execution provider that really ran.")


class MaskMeasures(JsonModel):
    """Of the mask that the model gave: of everyone, and before any parameter changed it."""

    coverage: float = Field(description="Share of the photo that is person, 0..1.")
    connectivity: float = Field(description="Share of the person in the largest piece, 0..1.")
    islands: int = Field(description="Number of separate pieces.")
    holes: int = Field(description="Number of places inside the person that are background.")
    confidence: float = Field(
        description="Share of the pixels along the outline that is expected to be right, 0..1: "
        "measured on photos with known masks, see training/RESULTS.md."
    )


class Piece(JsonModel):
    """A part of the mask that touches no other."""

    box: Box
    share: float = Field(description="Of all person pixels of the mask, 0..1.")
    kept: bool
    reason: str = Field(description="Such as `dominant`, `near the dominant person`.")


class Foreground(JsonModel):
    present: bool
    box: Box | None = Field(description="Where the person is in the upright photo.")
    pieces: list[Piece] = Field(
        description="With `person=dominant`: what was kept and what was rejected, the 16 largest; "
        "empty otherwise."
    )


class PictureSize(JsonModel):
    width: int
    height: int


class Photo(PictureSize):
    colour: str = Field(
        description="What was done to show its colours as sRGB: `srgb` when nothing had to be, "
        "`converted:` and the profile's name, `ignored:` and why its profile could not be used; "
        "`kept` for a mask, which no profile changes."
    )


class ResultImage(PictureSize):
    media_type: str
    data: str = Field(description="The image file, base64.")


class Report(JsonModel):
    """The answer of `POST /v1/segment` to `Accept: application/json`."""

    request_id: str
    output: str
    model: ModelUsed
    photo: Photo = Field(description="The photo that was sent, upright.")
    foreground: Foreground
    mask: MaskMeasures
    domain: str | None = Field(
        description="What the photo was segmented in; null where the model takes no domain."
    )
    face_ratio: float | None = Field(
        description="Share of the photo that its dominant face covers, 0..1; null when nobody "
        "looked for a face."
    )
    looks: int = Field(
        description="How often the model was asked: twice for a person who is small in the photo."
    )
    timings_ms: dict[str, float]
    image: ResultImage


class ModelCard(JsonModel):
    """One served model."""

    name: str
    task: str = Field(description="`segmentation`; `faces` only routes and cannot be asked for.")
    version: int
    digest: str
    height: int = Field(description="Input size in pixels.")
    width: int
    resize: str
    inputs: list[str] = Field(description="`image`, and `prior` or `domain` where it takes one.")
    precision: str
    max_batch: int
    metrics: dict[str, dict[str, float]]
    licence: str
    run: str = Field(description="The training run that made the weights.")
    provider: str = Field(description="The execution provider that really runs it.")
    ready: bool


class Models(JsonModel):
    auto: str = Field(description="The model that `model=auto` means.")
    models: list[ModelCard]


class Limits(JsonModel):
    image_bytes: int
    batch_images: int
    batch_body_bytes: int
    pixels: int
    side: int
    aspect: float
    frames: int
    read_timeout_s: float
    queue_timeout_s: float
    request_timeout_s: float


class LiveLimits(JsonModel):
    """Of live video."""

    streams: int
    streams_per_caller: int
    message_bytes: int = Field(description="Of one WebSocket message.")
    frame_pixels: int
    idle_s: float = Field(description="Without a frame, after which a WebSocket stream ends.")
    max_s: float


class Formats(JsonModel):
    input: list[str]
    output: list[str]


class Capabilities(JsonModel):
    version: str
    limits: Limits
    formats: Formats
    parameters: dict[str, dict[str, Any]] = Field(
        description="JSON schema of each parameter of `POST /v1/segment`."
    )
    models: list[str]
    streams: list[str] = Field(description="How live video may come and go.")
    stream_limits: LiveLimits
    stream_parameters: dict[str, dict[str, Any]] = Field(
        description="JSON schema of each option of a stream."
    )


class Health(JsonModel):
    status: Literal["ok", "ready"]
