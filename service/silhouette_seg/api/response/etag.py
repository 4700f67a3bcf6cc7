"""The ETag of a response to `POST /v1/segment`."""

import hashlib
import json

from silhouette_seg.api.photo_response import ResolvedRequest
from silhouette_seg.api.request.uploads import PhotoUpload


def photo_etag(version: str, upload: PhotoUpload, resolved: ResolvedRequest) -> str:
    """Returns a strong ETag: the hash of a request's files, parameters, models and `version`.

    It is made of the API's names and values, so renaming code does not change it.
    """
    options, segmenter = resolved.options, resolved.segmenter
    background = upload.background
    face_router = segmenter.face_router(find_faces=options.render.uses_faces)
    key = options.render.wire_values() | {
        "version": version,
        "image": upload.image.digest,
        "background_image": None if background is None else background.digest,
        "domain": None if options.domain is None else options.domain.label,
        "format": resolved.representation.image.value,
        "report": resolved.representation.report,
        "model": segmenter.spec.name,
        "model_digest": segmenter.digest,
        "face_detector_digest": None if face_router is None else face_router.digest,
    }
    if options.keep_metadata:  # only then, so that all other ETags stay as they are
        key["keep_metadata"] = True
    text = json.dumps(key, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
