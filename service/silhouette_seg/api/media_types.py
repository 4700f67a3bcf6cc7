"""Media types that the API reads and writes."""

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
FORM_DATA = "multipart/form-data"
MULTIPART_MIXED = "multipart/mixed"
URLENCODED = "application/x-www-form-urlencoded"
OCTET_STREAM = "application/octet-stream"
SDP = "application/sdp"


def media_type_of(content_type: str) -> str:
    """Returns the media type of a `Content-Type` header in lower case, without parameters.

    `Text/HTML; charset=utf-8` becomes `text/html`; an empty header stays empty.
    """
    return content_type.partition(";")[0].strip().lower()
