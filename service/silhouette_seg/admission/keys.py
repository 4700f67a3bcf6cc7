"""Who may call: keys from the settings, sent as `Authorization: Bearer` or `X-Api-Key`."""

import hashlib
import hmac
from collections.abc import Iterable

from silhouette_seg.errors import Unauthorized


class Keyring:
    """Knows the keys only as hashes, and compares them in constant time.

    An empty ring lets everyone in.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def check(self, bearer: str | None, api_key: str | None) -> None:
        """Raises Unauthorized unless one of the two is a key of the ring."""
        if not self._digests:
            return
        sent = [key for key in (bearer, api_key) if key]
        if not sent:
            raise Unauthorized("Send a key as Authorization: Bearer or as X-Api-Key.")
        if not any([self._holds(key) for key in sent]):
            raise Unauthorized("The key is not known.")

    def caller(self, bearer: str | None, api_key: str | None, address: str) -> str:
        """Whose quota it is: the key's where keys are asked for, else the address's.

        Raises Unauthorized as `check` does.
        """
        self.check(bearer, api_key)
        held = [key for key in (bearer, api_key) if key and self._holds(key)]
        return _digest(held[0].encode("latin-1", "replace")).hex() if held else address

    def _holds(self, key: str) -> bool:
        """Looks at every key, so that the time tells nothing about which one matched.

        Header text is latin-1 for whatever bytes the caller sent; our own keys are UTF-8.
        """
        digest = _digest(key.encode("latin-1", "replace"))
        return any([hmac.compare_digest(digest, known) for known in self._digests])


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
