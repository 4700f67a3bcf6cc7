import pytest

from silhouette_seg.admission.keys import Keyring
from silhouette_seg.errors import Unauthorized


def test_keyring_without_keys_accepts_everyone():
    Keyring([]).authenticate(None, None)
    Keyring([]).authenticate("anything", None)


@pytest.mark.parametrize(("bearer", "api_key"), [("one", None), (None, "two"), ("x", "one")])
def test_keyring_accepts_known_key(bearer, api_key):
    Keyring(["one", "two"]).authenticate(bearer, api_key)


@pytest.mark.parametrize(
    ("bearer", "api_key"), [(None, None), ("", ""), ("on", None), (None, "one "), ("ONE", "\udcff")]
)
def test_keyring_rejects_unknown_key(bearer, api_key):
    with pytest.raises(Unauthorized):
        Keyring(["one", "two"]).authenticate(bearer, api_key)


def test_keyring_compares_non_ascii_keys_as_bytes():
    Keyring(["schlüssel"]).authenticate("schlüssel".encode().decode("latin-1"), None)
