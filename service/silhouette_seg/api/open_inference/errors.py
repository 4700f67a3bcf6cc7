"""Format of error responses in the Open Inference Protocol."""

import json

from silhouette_seg.api.problem_details import detail_with_limit
from silhouette_seg.errors import ServiceError

PATH = "/v2"


def error_body(error: ServiceError) -> tuple[int, str]:
    """Returns the HTTP status of an error, and its JSON body `{"error": text}`.

    The protocol has no other field, so limits are part of the text.
    """
    return error.status, json.dumps({"error": detail_with_limit(error)})
