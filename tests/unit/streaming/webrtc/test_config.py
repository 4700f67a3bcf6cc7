"""Settings of ICE servers, and the late import of aiortc."""

import subprocess
import sys

import pytest

from silhouette_seg.streaming.webrtc.config import IceServer, parse_ice_server


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("stun:stun.example:3478", IceServer("stun:stun.example:3478")),
        ("turn:me:secret@turn.example:3478", IceServer("turn:turn.example:3478", "me", "secret")),
        (
            "turns:me:p%40ss%3A@t:1?transport=tcp",
            IceServer("turns:t:1?transport=tcp", "me", "p@ss:"),
        ),
        ("turn:me:a:b@turn.example", IceServer("turn:turn.example", "me", "a:b")),
    ],
)
def test_ice_server_is_parsed_and_hides_password(text, server):
    assert parse_ice_server(text) == server
    assert not server.password or server.password not in repr(server)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stun:",
        "turn.example",
        "http://turn.example",
        "turn:turn.example",
        "turn:me@turn.example",
        "turn::secret@turn.example",
        "turn:me:secret@",
        "stun:me:secret@stun.example",
    ],
)
def test_invalid_ice_server_raises(text):
    with pytest.raises(ValueError, match="server"):
        parse_ice_server(text)


def test_application_imports_no_aiortc():
    """aiortc is imported on first use, in a thread."""
    code = "import sys, silhouette_seg.app; print(sys.modules.keys() & {'aiortc', 'aioice', 'av'})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "set()", run.stderr
