"""Reads the API key of a request from its headers, or from the first message of a WebSocket."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from silhouette_seg.errors import BadParameter

API_KEY_HEADER = "X-Api-Key"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The API keys that a caller presents, unchecked, and its IP address.

    A key is text as servers decode headers (latin-1), or None if it is absent. `repr` omits keys.
    """

    bearer: str | None = field(repr=False)
    api_key: str | None = field(repr=False)
    address: str
    """IP address of the caller; empty if the server does not know it."""


def read_credentials(connection: HTTPConnection, config_key: object = None) -> Credentials:
    """Returns the keys in `Authorization: Bearer` and in `X-Api-Key`, and the caller's address.

    `config_key`, from the first message of a WebSocket, replaces `X-Api-Key`: browsers cannot send
    headers with a handshake. Raises BadParameter if it is not text.
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
    """Returns the UTF-8 bytes of `key` decoded as latin-1, as servers decode headers."""
    return key.encode("utf-8", "replace").decode("latin-1")
