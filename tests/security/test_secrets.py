"""Keys and passwords stay where they were set: no dump, log, metric, error or page has them."""

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
from tests.integration.stream_peer import config, connected
from tests.support.images import make_jpeg, quadrants

KEY, OTHER, PASSWORD = "key-5b1d0c77", "guess-90aa41", "turn-password-3e8f"
TURN = f"turn:user:{PASSWORD}@turn.example:3478"
SECRETS = (KEY, OTHER, PASSWORD)
JPEG = make_jpeg(quadrants())


def clean(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)


@pytest.fixture
def settings(settings_with) -> Settings:
    return settings_with(api_keys=KEY, webrtc_ice_servers=TURN)


def test_settings_show_no_secret(settings):
    assert [key.get_secret_value() for key in settings.api_keys] == [KEY]
    for shown in (repr(settings), str(settings), str(settings.model_dump()), str(vars(settings))):
        assert clean(shown)
    assert clean(settings.model_dump_json())
    config = webrtc_config(settings)
    assert config.ice_servers[0].password == PASSWORD
    assert clean(repr(config))


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
def test_settings_that_are_wrong_tell_no_secret(settings_with, wrong):
    given = {"api_keys": KEY, "webrtc_ice_servers": TURN} | wrong
    with pytest.raises(ValidationError) as refused:
        settings_with(**given)
    assert clean(str(refused.value))
    assert clean("".join(traceback.format_exception(refused.value)))


@pytest.mark.parametrize(
    "wrong", [f"turn:{PASSWORD}@host", f"http://user:{PASSWORD}@host", f"stun:u:{PASSWORD}@host"]
)
def test_an_ice_server_that_is_wrong_tells_no_secret(wrong):
    with pytest.raises(ValueError, match="server") as refused:
        parse_ice_server(wrong)
    assert clean("".join(traceback.format_exception(refused.value)))


class Failing(FakeEngine):
    """Fails in a way that nobody foresaw, once it is warm."""

    async def infer(self, inputs):
        if Failing.broken:
            raise RuntimeError("nobody foresaw this")
        return await super().infer(inputs)

    broken = False


def open_failing(spec, repository, *, device, workers) -> Failing:
    return Failing(spec)


async def test_requests_leave_no_secret(settings, caplog, monkeypatch):
    """Right keys and wrong ones, everywhere a key may be, in what succeeds and what fails."""
    monkeypatch.setitem(ENGINES, "failing", f"{__name__}:open_failing")
    monkeypatch.setattr(Failing, "broken", False)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with in_process(settings.model_copy(update={"engine": "failing"})) as service:
        jpeg = {"content-type": "image/jpeg"}
        for broken in (False, True):
            monkeypatch.setattr(Failing, "broken", broken)
            for key in (KEY, OTHER):
                for named in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
                    answer = await service.client.post(
                        f"/v1/segment?key={key}", content=JPEG, headers=jpeg | named
                    )
                    said.append(answer.text)
                    answer = await service.client.post(
                        "/v1/segment", content=JPEG, headers=jpeg | named
                    )
                    expected = 401 if key == OTHER else 500 if broken else 200
                    assert answer.status_code == expected
                    said += [answer.text, str(answer.headers)]
                async with connected(service.app, x_api_key=key) as peer:
                    peer.send(config(key=key, nonsense=1))
                    said.append(str(await peer.end()))
        keyed = {"x-api-key": KEY}
        for path in ("/metrics", "/v1/models", "/v1/capabilities", "/openapi.json", "/", "/docs"):
            said.append((await service.client.get(path, headers=keyed)).text)
        refusal(await service.client.get("/metrics"), 401, "unauthorized")
        gateway = service.gateway
        said += [
            repr(gateway.keyring),
            str(vars(gateway.keyring)),
            repr(gateway.webrtc),
            repr(gateway),
        ]
    assert len(said) > 30
    line = TextFormatter()
    ours = [line.format(each) for each in caplog.records if not each.name.startswith("http")]
    assert any("nobody foresaw this" in each for each in ours)
    assert clean("".join(said))
    assert clean("".join(ours))


def test_a_keyring_keeps_hashes_alone():
    ring = Keyring([KEY])
    ring.authenticate(KEY, None)
    assert KEY.encode() not in pickle.dumps(ring)
