import pytest

from silhouette_seg.admission.keys import Keyring
from silhouette_seg.errors import Unauthorized


def test_empty_ring_lets_everyone_in():
    Keyring([]).check(None, None)
    Keyring([]).check("anything", None)


@pytest.mark.parametrize(("bearer", "api_key"), [("one", None), (None, "two"), ("x", "one")])
def test_known_key_lets_in(bearer, api_key):
    Keyring(["one", "two"]).check(bearer, api_key)


@pytest.mark.parametrize(
    ("bearer", "api_key"), [(None, None), ("", ""), ("on", None), (None, "one "), ("ONE", "\udcff")]
)
def test_anything_else_does_not(bearer, api_key):
    with pytest.raises(Unauthorized):
        Keyring(["one", "two"]).check(bearer, api_key)


def test_key_in_any_script_is_compared_as_bytes():
    Keyring(["schlüssel"]).check("schlüssel".encode().decode("latin-1"), None)
