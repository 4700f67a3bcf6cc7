"""JSON models of the API. Their class names are the schema names of the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class JsonModel(BaseModel):
    """Base of all JSON objects of the API: immutable, and unknown fields are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(JsonModel):
    """Body of an error response: an `application/problem+json` document (RFC 9457)."""

    type: str = Field(description="Stable identifier, one per `code`.")
    title: str
    status: int
    detail: str = Field(description="Explanation of this error, in English.")
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable name of the error, for programs.")
    request_id: str
    retryable: bool = Field(description="True: the same request may succeed later.")
    limit: float | None = Field(default=None, description="Limit that was exceeded.")
    actual: float | None = Field(default=None, description="Value that exceeded `limit`.")


class Box(JsonModel):
    """A rectangle in pixels of the upright photo."""

    top: int
    left: int
    width: int
    height: int


class ModelUsed(JsonModel):
    """The model that segmented a photo."""

    name: str
    digest: str = Field(description="`sha256:` and the hash of the model file.")
    backend: str = Field(description="Execution provider that ran the model.")


class MaskMeasures(JsonModel):
    """Measurements of the model's mask, with all people, before parameters change it."""

    coverage: float = Field(description="Share of the photo that is person, 0..1.")
    connectivity: float = Field(description="Share of the person in the largest piece, 0..1.")
    islands: int = Field(description="Number of separate pieces of the person.")
    holes: int = Field(description="Number of background regions that the person encloses.")
    confidence: float | None = Field(
        description="Expected share of correct pixels along the outline, 0..1, calibrated on "
        "photos with known masks; see training/RESULTS.md. Null for a mask without an outline, "
        "such as an empty one."
    )


class Piece(JsonModel):
    """A connected region of person pixels in the mask."""

    box: Box
    share: float = Field(description="Share of all person pixels of the mask, 0..1.")
    kept: bool
    reason: str = Field(description="For example `dominant` or `near the dominant person`.")


class DetectedFace(JsonModel):
    """A face in the photo."""

    box: Box
    score: float = Field(description="Score of the face detector, 0..1; at least 0.4.")


class RunLengths(JsonModel):
    """A mask as run lengths of COCO, as pycocotools reads them."""

    size: tuple[int, int] = Field(description="Height and width of the photo in pixels.")
    counts: str = Field(description="Run lengths column by column, in the compressed form.")


class PersonAnnotation(JsonModel):
    """One person, with the fields of an annotation of COCO."""

    segmentation: RunLengths | list[list[float]] = Field(
        description="Run lengths, or polygons x1, y1, x2, y2, ... along the edges of the pixels. "
        "A polygon leads to a hole and back over a line of no width."
    )
    bbox: tuple[int, int, int, int] = Field(
        description="Left edge, top edge, width and height in pixels of the upright photo."
    )
    area: int = Field(description="Number of pixels of the mask.")
    iscrowd: Literal[0, 1] = Field(
        description="1 if the body has several faces: its people touch and are one entry."
    )
    faces: list[DetectedFace] = Field(description="Faces on this body.")
    confidence: float | None = Field(
        description="Expected share of correct pixels along the outline, 0..1. Null if the person "
        "has no outline in the model's mask."
    )


class Foreground(JsonModel):
    """Presence and position of the person in the photo."""

    present: bool
    doubtful: bool = Field(
        description="True if a person is present whose outline is so uncertain that it may be an "
        "animal or an object."
    )
    box: Box | None = Field(
        description="Bounding box of the person in the upright photo; null without a person."
    )
    pieces: list[Piece] = Field(
        description="With `person=dominant` the 16 largest pieces, kept and rejected; otherwise "
        "empty."
    )


class PictureSize(JsonModel):
    """Size of an image in pixels."""

    width: int
    height: int


class Photo(PictureSize):
    """Size and colour conversion of the uploaded photo."""

    colour: str = Field(
        description="Conversion of the colours to sRGB: `srgb` if none was needed, `converted:` "
        "with the name of the profile, or `ignored:` with the reason why the profile could not "
        "be used. `kept` for a mask, which does not depend on the profile."
    )


class ResultImage(PictureSize):
    """The mask, trimap, cut-out or composite as an image file."""

    media_type: str
    data: str = Field(description="The image file, base64.")


class Report(JsonModel):
    """Response of `POST /v1/segment` to `Accept: application/json`."""

    request_id: str
    output: str
    model: ModelUsed
    photo: Photo = Field(description="The uploaded photo, upright.")
    foreground: Foreground
    mask: MaskMeasures
    domain: str | None = Field(
        description="Distance of the person, from `far_shot` to `head_shot`, or `no_face`; null "
        "for a model without a domain input, unless the request searches for faces."
    )
    face_ratio: float | None = Field(
        description="Share of the photo that its dominant face covers, 0..1; null if no face "
        "detection was needed."
    )
    looks: int = Field(
        description="Number of passes through the model: two for a person who is small in the "
        "photo."
    )
    faces: list[DetectedFace] | None = Field(
        default=None, description="With `faces=true` the faces that were found; otherwise null."
    )
    faces_blurred: int | None = Field(
        default=None,
        description="With `background=blur_faces` the number of faces that were blurred; "
        "otherwise null.",
    )
    people: list[PersonAnnotation] | None = Field(
        default=None,
        description="With `masks` each person, the largest first; otherwise null. The masks are "
        "those of the whole photo, before `invert`, `crop` and `layout`.",
    )
    people_separated: bool | None = Field(
        default=None,
        description="With `masks`: false if faces show that an entry has several people, or if no "
        "face detector is served.",
    )
    people_reason: str | None = Field(
        default=None, description="Sentence on why people are not separated; otherwise null."
    )
    warning: str | None = Field(
        default=None, description="Sentences of the header `X-Input-Warning`; otherwise null."
    )
    timings_ms: dict[str, float]
    image: ResultImage


class ModelCard(JsonModel):
    """Description of one served model: inputs, digest of the weights, scores and licence."""

    name: str
    task: str = Field(
        description="`segmentation`, or `faces` for the face detector, which no request can name."
    )
    version: int
    digest: str
    height: int = Field(description="Input height in pixels.")
    width: int = Field(description="Input width in pixels.")
    resize: str
    inputs: list[str] = Field(description="`image`, and `prior` or `domain` if the model has it.")
    precision: str
    max_batch: int
    metrics: dict[str, dict[str, float]] = Field(
        description="Scores on the validation split by source of the photos, and under `all`. "
        "`photos` is their number; scores of different photos cannot be compared."
    )
    licence: str
    run: str = Field(description="Training run or import that the weights come from.")
    provider: str = Field(description="Execution provider that runs the model.")
    ready: bool


class FailedModel(JsonModel):
    """A model that does not serve, and the reason."""

    name: str
    reason: str = Field(description="One sentence; `silhouette models check` says more.")


class Models(JsonModel):
    """Response of `GET /v1/models`."""

    auto: str = Field(description="Model that `model=auto` selects.")
    models: list[ModelCard]
    failed: list[FailedModel] = Field(
        default=[], description="Models of the repository that do not serve."
    )


class Limits(JsonModel):
    """Limits of requests with photos: bytes, pixels, and times in seconds."""

    image_bytes: int = Field(description="Maximum bytes of one image file.")
    batch_images: int = Field(description="Maximum number of photos in one batch.")
    batch_body_bytes: int = Field(description="Maximum bytes of the body of a batch.")
    pixels: int = Field(description="Maximum pixels of one image, width times height.")
    side: int = Field(description="Maximum pixels of the longer side.")
    aspect: float = Field(description="Maximum ratio of the longer side to the shorter side.")
    frames: int = Field(description="Maximum number of frames; an animation has more than 1.")
    read_timeout_s: float = Field(description="Seconds for a body to arrive.")
    queue_timeout_s: float = Field(description="Seconds that a photo may wait in the queue.")
    request_timeout_s: float = Field(description="Seconds for a whole request.")


class LiveLimits(JsonModel):
    """Limits of video streams."""

    streams: int = Field(description="Maximum number of streams at the same time.")
    streams_per_caller: int = Field(description="Maximum number of streams of one caller.")
    message_bytes: int = Field(description="Maximum bytes of one WebSocket message.")
    frame_pixels: int = Field(description="Maximum pixels of one frame, width times height.")
    idle_s: float = Field(description="Seconds without a frame that end a WebSocket stream.")
    max_s: float = Field(description="Maximum duration of a stream in seconds.")


class Formats(JsonModel):
    """Names of the image formats that the service reads and writes."""

    input: list[str]
    output: list[str]


class Capabilities(JsonModel):
    """Response of `GET /v1/capabilities`."""

    version: str
    limits: Limits
    formats: Formats
    parameters: dict[str, dict[str, Any]] = Field(
        description="JSON schema of each parameter of `POST /v1/segment`."
    )
    models: list[str]
    streams: list[str] = Field(description="Transports for live video.")
    stream_limits: LiveLimits
    stream_parameters: dict[str, dict[str, Any]] = Field(
        description="JSON schema of each option of a stream."
    )


class Health(JsonModel):
    """Response of `/livez`."""

    status: Literal["ok"]


class Readiness(JsonModel):
    """Response of `/readyz`."""

    status: Literal["ready"]
    failed: list[FailedModel] | None = Field(
        default=None,
        description="Models that do not serve and are not required; absent if all serve.",
    )
