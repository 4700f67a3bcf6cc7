"""Keys and passwords occur in no dump, log, metric, error or page."""

import logging
import pickle
import traceback

import pytest
from pydantic import ValidationError

from silhouette_seg.admission.keys import Keyring
from silhouette_seg.assembly import webrtc_config
from silhouette_seg.engine import ENGINES
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.settings import Settings
from silhouette_seg.streaming.webrtc.config import parse_ice_server
from silhouette_seg.telemetry.logs import TextFormatter
from tests.integration.conftest import in_process
from tests.integration.pictures import refusal
from tests.integration.stream_client import config, connected
from tests.support.images import make_jpeg, quadrants

KEY, OTHER, PASSWORD = "key-5b1d0c77", "guess-90aa41", "turn-password-3e8f"
TURN = f"turn:user:{PASSWORD}@turn.example:3478"
SECRETS = (KEY, OTHER, PASSWORD)
JPEG = make_jpeg(quadrants())


def has_no_secret(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)


@pytest.fixture
def settings(settings_with) -> Settings:
    return settings_with(api_keys=KEY, webrtc_ice_servers=TURN)


def test_settings_representation_hides_secrets(settings):
    assert [key.get_secret_value() for key in settings.api_keys] == [KEY]
    for text in (repr(settings), str(settings), str(settings.model_dump()), str(vars(settings))):
        assert has_no_secret(text)
    assert has_no_secret(settings.model_dump_json())
    config = webrtc_config(settings)
    assert config.ice_servers[0].password == PASSWORD
    assert has_no_secret(repr(config))


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": "x"},
        {"host": "192.0.2.1", "api_keys": f"{KEY},,"},
        {"webrtc_idle_s": "nan"},
        {"api_keys": [KEY, ""]},
        {"webrtc_ice_servers": [TURN, 5]},
        {"otel_endpoint": f"http://user:{PASSWORD}@collector:4318"},
    ],
)
def test_invalid_settings_error_hides_secrets(settings_with, wrong):
    given = {"api_keys": KEY, "webrtc_ice_servers": TURN} | wrong
    with pytest.raises(ValidationError) as error:
        settings_with(**given)
    assert has_no_secret(str(error.value))
    assert has_no_secret("".join(traceback.format_exception(error.value)))


@pytest.mark.parametrize(
    "wrong", [f"turn:{PASSWORD}@host", f"http://user:{PASSWORD}@host", f"stun:u:{PASSWORD}@host"]
)
def test_invalid_ice_server_error_hides_secrets(wrong):
    with pytest.raises(ValueError, match="server") as error:
        parse_ice_server(wrong)
    assert has_no_secret("".join(traceback.format_exception(error.value)))


class Failing(FakeEngine):
    """An engine that raises an unexpected exception when `broken` is set."""

    async def infer(self, inputs):
        if Failing.broken:
            raise RuntimeError("unexpected failure of an engine")
        return await super().infer(inputs)

    broken = False


def open_failing(spec, repository, *, device, workers) -> Failing:
    return Failing(spec)


async def test_requests_with_keys_leave_no_secret(settings, caplog, monkeypatch):
    """Sends valid and invalid keys in every place, with requests that succeed and fail."""
    monkeypatch.setitem(ENGINES, "failing", f"{__name__}:open_failing")
    monkeypatch.setattr(Failing, "broken", False)
    caplog.set_level(logging.DEBUG)
    responses: list[str] = []
    async with in_process(settings.model_copy(update={"engine": "failing"})) as service:
        jpeg = {"content-type": "image/jpeg"}
        for broken in (False, True):
            monkeypatch.setattr(Failing, "broken", broken)
            for key in (KEY, OTHER):
                for header in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
                    answer = await service.client.post(
                        f"/v1/segment?key={key}", content=JPEG, headers=jpeg | header
                    )
                    responses.append(answer.text)
                    answer = await service.client.post(
                        "/v1/segment", content=JPEG, headers=jpeg | header
                    )
                    expected = 401 if key == OTHER else 500 if broken else 200
                    assert answer.status_code == expected
                    responses += [answer.text, str(answer.headers)]
                async with connected(service.app, x_api_key=key) as peer:
                    peer.send(config(key=key, nonsense=1))
                    responses.append(str(await peer.end()))
        valid = {"x-api-key": KEY}
        documents = ("/openapi.json", "/asyncapi.json", "/v1/models", "/v1/capabilities")
        for path in (*documents, "/metrics", "/", "/models", "/docs"):
            responses.append((await service.client.get(path, headers=valid)).text)
        refusal(await service.client.get("/metrics"), 401, "unauthorized")
        gateway = service.gateway
        responses += [
            repr(gateway.keyring),
            str(vars(gateway.keyring)),
            repr(gateway.webrtc),
            repr(gateway),
        ]
    assert len(responses) > 30
    formatter = TextFormatter()
    records = [record for record in caplog.records if not record.name.startswith("http")]
    log = [formatter.format(record) for record in records]
    assert any("unexpected failure of an engine" in line for line in log)
    assert has_no_secret("".join(responses))
    assert has_no_secret("".join(log))


def test_keyring_stores_only_hashes():
    ring = Keyring([KEY])
    ring.authenticate(KEY, None)
    assert KEY.encode() not in pickle.dumps(ring)
