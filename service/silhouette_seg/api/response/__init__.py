"""Parts of HTTP responses: JSON report, ETag, file names and `multipart/mixed` bodies."""
