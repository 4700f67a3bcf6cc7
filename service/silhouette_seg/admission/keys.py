"""API keys from the settings, sent as `Authorization: Bearer` or `X-Api-Key`."""

import hashlib
import hmac
from collections.abc import Iterable

from silhouette_seg.errors import Unauthorized


class Keyring:
    """Set of accepted API keys, stored as SHA-256 digests and compared in constant time.

    If the set is empty, every caller is accepted.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    @property
    def requires_key(self) -> bool:
        """True if keys are configured, so that callers without one are rejected."""
        return bool(self._digests)

    def authenticate(self, bearer: str | None, api_key: str | None) -> None:
        """Checks the key of a bearer token and the key of `X-Api-Key`; None is an absent key.

        Raises Unauthorized if keys are configured and neither of the two is one of them.
        """
        if not self._digests:
            return
        sent = [key for key in (bearer, api_key) if key]
        if not sent:
            raise Unauthorized("Send a key as Authorization: Bearer or as X-Api-Key.")
        if not any([self._matches(key) for key in sent]):
            raise Unauthorized("The key is not known.")

    def identify(self, bearer: str | None, api_key: str | None, address: str) -> str:
        """Returns an id of the caller, under which limits per caller are counted.

        The id is the SHA-256 of the caller's key in hexadecimal, or `address` if no key is
        configured. Raises Unauthorized as `authenticate` does.
        """
        self.authenticate(bearer, api_key)
        known = [key for key in (bearer, api_key) if key and self._matches(key)]
        return _digest(known[0].encode("latin-1", "replace")).hex() if known else address

    def _matches(self, key: str) -> bool:
        """Returns True if `key`, text of a header, is one of the accepted keys.

        It is compared with every key, so that the time does not reveal the one that matched.
        Header text arrives decoded as latin-1; configured keys are UTF-8.
        """
        digest = _digest(key.encode("latin-1", "replace"))
        return any([hmac.compare_digest(digest, known) for known in self._digests])


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
