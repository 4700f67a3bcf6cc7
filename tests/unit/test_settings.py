import os

import pytest
from pydantic import ValidationError

from silhouette_seg.settings import Settings
from silhouette_seg.vision.codec.header import ImageLimits


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Removes the variables of this machine and sets an existing repository."""
    for name in os.environ:
        if name.upper().startswith("SILHOUETTE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path))


@pytest.fixture
def error_of(monkeypatch):
    """Function that sets variables and returns the message of the validation error."""

    def validate(**variables: str) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(f"SILHOUETTE_{name}", value)
        with pytest.raises(ValidationError) as caught:
            Settings()
        return str(caught.value)

    return validate


def test_default_settings_serve_loopback_on_cpu():
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.engine, settings.device, settings.max_batch) == ("onnx", "cpu", 1)
    assert settings.models is None
    assert settings.api_keys == ()


def test_default_limits_admit_photos_of_phones():
    """8160x6144 pixels are the most that phones of today store: 50,135,040."""
    settings = Settings()
    assert (settings.max_pixels, settings.max_body_bytes) == (64_000_000, 32 * 2**20)
    assert settings.max_pixels >= 8160 * 6144


def test_default_image_limits_match_the_decoder():
    settings, limits = Settings(), ImageLimits()
    assert settings.max_body_bytes == limits.bytes
    assert settings.max_pixels == limits.pixels
    assert settings.max_side == limits.side
    assert settings.max_aspect == limits.aspect


def test_settings_read_environment_variables(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_PORT", "9000")
    monkeypatch.setenv("SILHOUETTE_LOG_FORMAT", "json")
    assert Settings().port == 9000
    assert Settings().log_format == "json"


def test_settings_arguments_override_variables(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_PORT", "9000")
    assert Settings(port=9001).port == 9001


def test_list_settings_split_at_commas(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODELS", "connectnet, rcrnet")
    monkeypatch.setenv("SILHOUETTE_CORS_ORIGINS", "https://one.example")
    assert Settings().models == ("connectnet", "rcrnet")
    assert Settings().cors_origins == ("https://one.example",)


@pytest.mark.parametrize(("text", "value"), [("false", False), ("0", False), ("true", True)])
def test_boolean_settings_parse_common_spellings(monkeypatch, text, value):
    monkeypatch.setenv("SILHOUETTE_ALLOW_ANONYMOUS", text)
    assert Settings().allow_anonymous is value


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
        ("PROXY_HEADERS", "via"),
        ("MODELS", ""),
        ("MODELS", "connectnet,,rcrnet"),
        ("API_KEYS", "one,,two"),
        ("MODEL_REPOSITORY", "/no/such/folder"),
    ],
)
def test_invalid_value_is_rejected_by_name(error_of, name, value):
    assert name.lower() in error_of(**{name: value})


def test_trusted_proxies_are_addresses_and_networks(monkeypatch):
    assert Settings().trusted_proxies == ()
    monkeypatch.setenv("SILHOUETTE_TRUSTED_PROXIES", "127.0.0.1, 10.1.0.0/16,fd00::1")
    assert [str(each) for each in Settings().trusted_proxies] == [
        *("127.0.0.1/32", "10.1.0.0/16", "fd00::1/128")
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("*", "'*' does not appear to be"),
        ("nginx", "'nginx' does not appear to be"),
        ("10.1.0.1/16", "has host bits set"),
        ("10.1.0.1,", "'' does not appear to be"),
        ("0.0.0.0/0", "trusts every client"),
        ("10.1.0.1,::/0", "trusts every client"),
    ],
)
def test_proxies_that_cannot_be_trusted_are_rejected(error_of, value, reason):
    assert reason in error_of(TRUSTED_PROXIES=value)


def test_unknown_variable_is_rejected_by_name(error_of):
    assert "SILHOUETTE_PROT" in error_of(PROT="9000")


def test_unknown_argument_is_rejected_by_name():
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=9000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_reachable_address_requires_keys_or_allow_anonymous(host):
    with pytest.raises(ValidationError, match="API_KEYS"):
        Settings(host=host)
    assert Settings(host=host, allow_anonymous=True).host == host
    assert Settings(host=host, api_keys=("one",)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_address_requires_no_keys(host):
    assert Settings(host=host).host == host


def test_settings_repr_hides_api_keys(monkeypatch):
    monkeypatch.setenv("SILHOUETTE_API_KEYS", "first-key,second-key")
    settings = Settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["first-key", "second-key"]
    assert "first-key" not in repr(settings)


def test_validation_error_hides_api_keys(error_of):
    assert "first-key" not in error_of(API_KEYS="first-key,second-key", PORT="http")
    assert "first-key" not in error_of(API_KEYS="first-key,,second-key")


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_queue_size_defaults_to_multiple_of_workers():
    assert Settings().queue_size_for(2) == 64
    assert Settings(queue_size=5).queue_size_for(2) == 5


def test_settings_fields_have_descriptions():
    undocumented = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undocumented == []


@pytest.mark.parametrize("url", ["triton:8001", "10.0.0.1:8001", "ipv4:10.0.0.1:1,10.0.0.2:1"])
def test_triton_url_accepts_grpc_targets(monkeypatch, url):
    monkeypatch.setenv("SILHOUETTE_ENGINE", "triton")
    monkeypatch.setenv("SILHOUETTE_TRITON_URL", url)
    assert Settings().triton_url == url


@pytest.mark.parametrize("url", ["http://triton:8000", "grpc://triton:8001", "triton", ""])
def test_triton_url_with_scheme_or_without_port_is_rejected(error_of, url):
    assert "host:port" in error_of(ENGINE="triton", TRITON_URL=url)


def test_triton_engine_requires_its_url(error_of):
    assert "SILHOUETTE_TRITON_URL" in error_of(ENGINE="triton")


@pytest.mark.parametrize("device", ["coreml", "directml", "rocm"])
def test_triton_rejects_devices_of_its_gateway(error_of, device):
    message = error_of(ENGINE="triton", TRITON_URL="triton:8001", DEVICE=device)
    assert f"cpu, cuda, tensorrt, not on {device}" in message


@pytest.mark.parametrize(
    "other", [{"engine": "triton", "triton_url": "localhost:8001"}, {"device": "cuda"}]
)
def test_several_processes_require_models_on_the_cpu(other):
    with pytest.raises(ValidationError, match="PROCESSES is 2, and must be 1"):
        Settings(processes=2, **other)
    assert Settings(**other).processes == 1


def test_workers_are_a_multiple_of_the_processes():
    assert Settings(processes=2).workers_for(4) == 4
    assert Settings(processes=2, workers=6).workers_for(4) == 6
    with pytest.raises(ValueError, match=r"WORKERS is 3, and must be a multiple of .* is 2"):
        Settings(processes=2).workers_for(3)
