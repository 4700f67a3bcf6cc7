import os

import pytest
from pydantic import ValidationError

from silhouette_seg.settings import Settings
from silhouette_seg.vision.codec.header import ImageLimits


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing of the machine's; a repository that exists."""
    for name in os.environ:
        if name.upper().startswith("SILHOUETTE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))


@pytest.fixture
def refused(monkeypatch):
    """The message of the refusal that a variable causes."""

    def refuse(**variables: str) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(f"SILHOUETTE_{name}", value)
        with pytest.raises(ValidationError) as caught:
            Settings()
        return str(caught.value)

    return refuse


def test_defaults_serve_loopback_on_the_cpu():
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.engine, settings.device, settings.max_batch) == ("onnx", "cpu", 1)
    assert settings.models is None
    assert settings.api_keys == ()


def test_defaults_take_photos_of_phones():
    """8160x6144 pixels are the most that phones of today store: 50,135,040."""
    settings = Settings()
    assert (settings.max_pixels, settings.max_body_bytes) == (64_000_000, 32 * 2**20)
    assert settings.max_pixels >= 8160 * 6144


def test_image_limits_are_those_of_the_decoder():
    settings, limits = Settings(), ImageLimits()
    assert settings.max_body_bytes == limits.bytes
    assert settings.max_pixels == limits.pixels
    assert settings.max_side == limits.side
    assert settings.max_aspect == limits.aspect


def test_variables_are_read(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_PORT", "9000")
    monkeypatch.setenv("SILHOUETTE_LOG_FORMAT", "json")
    assert Settings().port == 9000
    assert Settings().log_format == "json"


def test_arguments_win_over_variables(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_PORT", "9000")
    assert Settings(port=9001).port == 9001


def test_lists_are_split_at_commas(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODELS", "connectnet, rcrnet")
    monkeypatch.setenv("SILHOUETTE_CORS_ORIGINS", "https://one.example")
    assert Settings().models == ("connectnet", "rcrnet")
    assert Settings().cors_origins == ("https://one.example",)


@pytest.mark.parametrize(("written", "meant"), [("false", False), ("0", False), ("true", True)])
def test_booleans_mean_what_they_say(monkeypatch, written, meant):
    monkeypatch.setenv("SILHOUETTE_ALLOW_ANONYMOUS", written)
    assert Settings().allow_anonymous is meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("MAX_BATCH", "-1"),
        ("QUEUE_TIMEOUT_S", "0"),
        ("REQUEST_TIMEOUT_S", "inf"),
        ("DEVICE", "abacus"),
        ("LOG_FORMAT", "xml"),
        ("ALLOW_ANONYMOUS", "perhaps"),
        ("MODELS", ""),
        ("MODELS", "connectnet,,rcrnet"),
        ("API_KEYS", "one,,two"),
        ("MODEL_REPOSITORY", "/no/such/folder"),
    ],
)
def test_a_bad_value_stops_the_start(refused, name, value):
    assert name.lower() in refused(**{name: value})


def test_an_unknown_variable_stops_the_start(refused):
    assert "SILHOUETTE_PROT" in refused(PROT="9000")


def test_an_unknown_argument_is_refused():
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=9000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_a_reachable_address_needs_keys_or_a_word(host):
    with pytest.raises(ValidationError, match="API_KEYS"):
        Settings(host=host)
    assert Settings(host=host, allow_anonymous=True).host == host
    assert Settings(host=host, api_keys=("one",)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_neither(host):
    assert Settings(host=host).host == host


def test_keys_do_not_show(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_API_KEYS", "first-key,second-key")
    settings = Settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["first-key", "second-key"]
    assert "first-key" not in repr(settings)


def test_a_refusal_does_not_show_keys(refused):
    assert "first-key" not in refused(API_KEYS="first-key,second-key", PORT="http")
    assert "first-key" not in refused(API_KEYS="first-key,,second-key")


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_queue_grows_with_the_workers_unless_told():
    assert Settings().queue_size_for(2) == 64
    assert Settings(queue_size=5).queue_size_for(2) == 5


def test_every_field_is_documented():
    undocumented = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undocumented == []


@pytest.mark.parametrize("url", ["triton:8001", "10.0.0.1:8001", "ipv4:10.0.0.1:1,10.0.0.2:1"])
def test_triton_is_somewhere(monkeypatch, url):
    monkeypatch.setenv("SILHOUETTE_ENGINE", "triton")
    monkeypatch.setenv("SILHOUETTE_TRITON_URL", url)
    assert Settings().triton_url == url


@pytest.mark.parametrize("url", ["http://triton:8000", "grpc://triton:8001", "triton", ""])
def test_what_is_no_grpc_address_is_refused(refused, url):
    assert "host:port" in refused(ENGINE="triton", TRITON_URL=url)


def test_triton_nowhere_is_refused(refused):
    assert "SILHOUETTE_TRITON_URL" in refused(ENGINE="triton")
