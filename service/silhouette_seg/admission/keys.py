"""API keys from the settings, sent as `Authorization: Bearer` or `X-Api-Key`."""

import hashlib
import hmac
from collections.abc import Iterable

from silhouette_seg.errors import Unauthorized


class Keyring:
    """Stores the keys only as hashes and compares them in constant time.

    A keyring without keys accepts every caller.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def authenticate(self, bearer: str | None, api_key: str | None) -> None:
        """Raises Unauthorized unless the keyring is empty or one of the two is a known key."""
        if not self._digests:
            return
        sent = [key for key in (bearer, api_key) if key]
        if not sent:
            raise Unauthorized("Send a key as Authorization: Bearer or as X-Api-Key.")
        if not any([self._matches(key) for key in sent]):
            raise Unauthorized("The key is not known.")

    def identify(self, bearer: str | None, api_key: str | None, address: str) -> str:
        """Returns the name under which limits per caller count this caller.

        The name is the digest of the key, or `address` where the keyring is empty.
        Raises Unauthorized as `authenticate` does.
        """
        self.authenticate(bearer, api_key)
        known = [key for key in (bearer, api_key) if key and self._matches(key)]
        return _digest(known[0].encode("latin-1", "replace")).hex() if known else address

    def _matches(self, key: str) -> bool:
        """Compares with every key, so that the time does not reveal the one that matched.

        Header text arrives decoded as latin-1; configured keys are UTF-8.
        """
        digest = _digest(key.encode("latin-1", "replace"))
        return any([hmac.compare_digest(digest, known) for known in self._digests])


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
