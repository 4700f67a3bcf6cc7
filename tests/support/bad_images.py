"""Images that the service rejects, with status and code of the error."""

import numpy as np

from tests.support.heif import av1_item, heif_file, heif_layout, hevc_item, make_heic
from tests.support.images import (
    TEXT,
    make,
    make_animated,
    make_bomb,
    make_gif,
    make_jpeg,
    make_png,
    person,
)

BAD_IMAGES = {
    "text named jpg": (TEXT, 415, "unsupported_image_type"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_image_type"),
    "video": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", 415, "unsupported_image_type"),
    "fax": (make("TIFF", mode="1", compression="group4"), 415, "unsupported_image_type"),
    "animated avif": (make_animated("AVIF"), 422, "too_many_frames"),
    "truncated heic": (make_heic(person(64, 80))[:-99], 422, "undecodable_image"),
    "truncated avif": (make("AVIF")[:-99], 422, "undecodable_image"),
    "truncated tiff": (make("TIFF")[:-2000], 422, "undecodable_image"),
    "truncated bmp": (make("BMP")[:-99], 422, "undecodable_image"),
    "truncated gif": (make_gif()[:-999], 422, "undecodable_image"),
    "heic that declares two sizes": (
        heif_file(heif_layout(hevc_item(person(64, 80), size=(9_000, 7_000)), b"heic")),
        *(422, "undecodable_image"),
    ),
    "avif that declares two sizes": (
        heif_file(heif_layout(av1_item(person(64, 80), size=(9_000, 7_000)), b"avif")),
        *(422, "undecodable_image"),
    ),
    "animated webp": (make_animated("WEBP"), 422, "too_many_frames"),
    "apng": (make_animated("PNG"), 422, "too_many_frames"),
    "truncated jpeg": (make_jpeg()[:-2000], 422, "undecodable_image"),
    "only the start of a jpeg": (make_jpeg()[:3], 422, "undecodable_image"),
    "truncated png": (make_png()[:-2000], 422, "undecodable_image"),
    "bomb of 50k x 50k": (make_bomb(), 422, "side_too_long"),
    "bomb within the side": (make_bomb(16_000, 16_000), 422, "too_many_pixels"),
    "extreme aspect": (make_png(np.zeros((2, 102, 3), np.uint8)), 422, "aspect_too_extreme"),
}
