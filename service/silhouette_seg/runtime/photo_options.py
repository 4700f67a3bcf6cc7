"""Types of the options of one photo that the library and the clients share."""

from typing import Literal, TypedDict


class PhotoOptions(TypedDict, total=False):
    """Options of a photo, with the names, values and defaults of the API; None leaves one out."""

    format: Literal["png", "jpeg", "jpg", "webp", "avif"] | None
    """Format of the image file."""
    person: Literal["all", "dominant"] | None
    refine: Literal["guided", "none"] | None
    decontaminate: bool | None
    grow: int | None
    feather: float | None
    crop: bool | None
    crop_margin: float | None
    invert: bool | None
    threshold: float | None
    domain: (
        Literal["far_shot", "whole_body", "half_body", "close_shot", "head_shot", "no_face"] | None
    )
    layout: str | None
    light_wrap: float | None
    trimap_band: float | None
    masks: Literal["polygon", "rle"] | None
    faces: bool | None
    keep_metadata: bool | None
    require_foreground: bool | None
