import pytest
from starlette.requests import HTTPConnection

from silhouette_seg.api.request.credentials import read_credentials
from silhouette_seg.errors import BadParameter


def connection(client: tuple[str, int] | None = ("192.0.2.1", 9), **headers: str) -> HTTPConnection:
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    return HTTPConnection({"type": "http", "headers": raw, "client": client})


@pytest.mark.parametrize(
    ("authorization", "bearer"),
    [
        ("Bearer secret", "secret"),
        ("bearer secret", "secret"),
        ("BEARER  secret ", "secret"),
        ("Bearer two words", "two words"),
        ("Bearer", None),
        ("Bearer  ", None),
        ("Basic secret", None),
        ("secret", None),
        ("", None),
    ],
)
def test_bearer_key_is_read_from_authorization(authorization, bearer):
    assert read_credentials(connection(authorization=authorization)).bearer == bearer


def test_credentials_of_an_anonymous_request_are_empty():
    credentials = read_credentials(connection())
    assert (credentials.bearer, credentials.api_key) == (None, None)
    assert credentials.address == "192.0.2.1"
    assert read_credentials(connection(client=None)).address == ""


def test_config_key_replaces_the_api_key_header():
    with_header = connection(x_api_key="header")
    assert read_credentials(with_header).api_key == "header"
    assert read_credentials(with_header, "config").api_key == "config"
    for absent in (None, ""):
        assert read_credentials(with_header, absent).api_key == "header"


def test_config_key_equals_the_same_key_in_a_header():
    key = "clé ☃"
    in_header = connection(x_api_key=key.encode().decode("latin-1"))
    assert read_credentials(connection(), key) == read_credentials(in_header)


@pytest.mark.parametrize("key", [1, True, ["key"], {}])
def test_config_key_that_is_not_text_is_rejected(key):
    with pytest.raises(BadParameter, match="key"):
        read_credentials(connection(), key)


def test_credentials_hide_keys_in_their_representation():
    credentials = read_credentials(connection(authorization="Bearer s3cret"), "s3cret")
    assert "s3cret" not in repr(credentials)
