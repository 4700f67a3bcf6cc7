"""Images that the service rejects, with status and code of the error."""

import numpy as np

from tests.support.images import TEXT, make_animated, make_bomb, make_gif, make_jpeg, make_png

BAD_IMAGES = {
    "text named jpg": (TEXT, 415, "unsupported_image_type"),
    "gif": (make_gif(), 415, "unsupported_image_type"),
    "animated gif": (make_animated("GIF"), 415, "unsupported_image_type"),
    "animated webp": (make_animated("WEBP"), 422, "too_many_frames"),
    "apng": (make_animated("PNG"), 422, "too_many_frames"),
    "truncated jpeg": (make_jpeg()[:-2000], 422, "undecodable_image"),
    "only the start of a jpeg": (make_jpeg()[:3], 422, "undecodable_image"),
    "truncated png": (make_png()[:-2000], 422, "undecodable_image"),
    "bomb of 50k x 50k": (make_bomb(), 422, "side_too_long"),
    "bomb within the side": (make_bomb(16_000, 16_000), 422, "too_many_pixels"),
    "extreme aspect": (make_png(np.zeros((2, 102, 3), np.uint8)), 422, "aspect_too_extreme"),
}
