"""Reads the API key of a request, wherever the caller may put it."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from silhouette_seg.errors import BadParameter

API_KEY_HEADER = "X-Api-Key"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys that a caller presents, as header text (latin-1), and its address.

    Keys are None where they are absent, and stay out of the representation.
    """

    bearer: str | None = field(repr=False)
    api_key: str | None = field(repr=False)
    address: str
    """IP address of the peer; empty if the server does not know it."""


def read_credentials(connection: HTTPConnection, config_key: object = None) -> Credentials:
    """Reads `Authorization: Bearer`, `X-Api-Key` and the key of a stream's `config` message.

    `config_key` replaces `X-Api-Key`: browsers cannot send headers with a WebSocket handshake.
    Raises BadParameter if it is not text.
    """
    if not (config_key is None or isinstance(config_key, str)):
        raise BadParameter("key: must be text")
    headers = connection.headers
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return Credentials(
        bearer=bearer or None,
        api_key=(_as_header_text(config_key) if config_key else headers.get(API_KEY_HEADER))
        or None,
        address=connection.client.host if connection.client else "",
    )


def _as_header_text(key: str) -> str:
    """Decodes the UTF-8 bytes of `key` as latin-1, as servers decode the bytes of a header."""
    return key.encode("utf-8", "replace").decode("latin-1")
