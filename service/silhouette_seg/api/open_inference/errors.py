"""Error shape of the Open Inference Protocol."""

import json

from silhouette_seg.api.problem_details import detail_with_limit
from silhouette_seg.errors import ServiceError

PATH = "/v2"


def error_body(error: ServiceError) -> tuple[int, str]:
    """Returns the status and the JSON body, which has room for one text only."""
    return error.status, json.dumps({"error": detail_with_limit(error)})
