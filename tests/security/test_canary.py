"""No pixel leaves but in the answer to who sent it: not to a disk, a log, a metric or an error.

A server of its own process gets photos that can be found again, on every route, whole and
broken. Its folders are watched; where strace can be used, so is every file that it opens.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from silhouette_seg.streaming.protocol import SUBPROTOCOL
from tests.integration.conftest import PATIENCE_S
from tests.integration.stream_client import config, frame
from tests.security.canary import WORD, Canary
from tests.unit.streaming.webrtc.test_offer import offer, video

CANARY = Canary()
FILES = {"png": CANARY.png, "jpeg": CANARY.jpeg, "webp": CANARY.webp}
KEY = "sesame-a9d2"
TRACED = "open,openat,creat,memfd_create,mkdir,mkdirat,rename,renameat,renameat2,truncate,mknodat"
STRACE = ("--follow-forks", "--seccomp-bpf", "-qq", "-e", "signal=none")
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|\b(creat|memfd_create|mkdir|rename|truncate|mknod)")
NO_DISK = re.compile(r'"/dev/(null|tty|urandom|nvidia\S*)"|"/proc/\S*"')


@dataclass
class Running:
    """A server, and where it could leave something."""

    url: str
    client: httpx.Client
    pid: int
    log: Path
    folders: tuple[Path, ...]
    traced: Path | None
    refusals: list[bytes] = field(default_factory=list)

    def ask(self, method: str, path: str, **request: object) -> httpx.Response:
        headers = {"X-Api-Key": KEY, **request.pop("headers", {})}  # type: ignore[dict-item]
        answer = self.client.request(method, path, headers=headers, **request)  # type: ignore[arg-type]
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            self.refusals.append(answer.content)
        return answer

    @property
    def left(self) -> list[Path]:
        return [path for folder in self.folders for path in folder.rglob("*")]


@pytest.fixture(scope="module")
def running(repository, tmp_path_factory) -> Iterator[Running]:
    base = tmp_path_factory.mktemp("canary")
    folders = tuple(base / name for name in ("tmp", "work", "home"))
    for folder in folders:
        folder.mkdir()
    traced = base / "trace" if _can_trace(base) else None
    with _served(repository, base / "log", folders, traced) as server:
        yield server


def _can_trace(base: Path) -> bool:
    strace = shutil.which("strace")
    if strace is None:
        print("no strace here: only the folders are watched")
        return False
    command = [strace, *STRACE, "-e", "trace=openat", "-o", base / "tried", "true"]
    tried = subprocess.run(command, capture_output=True, check=False)
    if tried.returncode:
        print("strace may not trace here: only the folders are watched")
    return tried.returncode == 0


@contextmanager
def _served(
    repository: Path, log: Path, folders: tuple[Path, ...], traced: Path | None
) -> Iterator[Running]:
    tmp, work, home = folders
    follow = ["strace", *STRACE, "-e", f"trace={TRACED}", "-o", str(traced)]
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp),
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SILHOUETTE_MODEL_REPOSITORY": str(repository),
        "SILHOUETTE_API_KEYS": KEY,
        "SILHOUETTE_WEBRTC_HOSTS": "127.0.0.1",
        "SILHOUETTE_MAX_BODY_BYTES": "200000",
        "SILHOUETTE_READ_TIMEOUT_S": "1",
    }
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [
                *(follow if traced else ()),
                sys.executable,
                "-m",
                "silhouette_seg",
                "serve",
                "--port",
                "0",
            ],
            cwd=work,
            env=environment,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
        try:
            url = _said(process, log, r"listening on (\S+)")
            _said(process, log, r"(ready): connectnet")
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                yield Running(url, client, process.pid, log, folders, traced)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _said(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    give_up = time.monotonic() + 3 * PATIENCE_S
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < give_up, log.read_text(errors="replace")
        time.sleep(0.01)
    return found[1]


def send_photos(server: Running) -> None:
    for kind, content in FILES.items():
        typed = {"Content-Type": f"image/{kind}"}
        for query in ("", "?output=cutout", "?output=composite&background=blur:3&format=jpeg"):
            assert server.ask("POST", f"/v1/segment{query}", content=content, headers=typed).content
        server.ask("POST", "/v1/segment", content=content, headers={"Accept": "application/json"})
        photo = (f"{WORD}.{kind}", content)
        server.ask("POST", "/v1/segment", files=[("image", photo), ("background_image", photo)])
        server.ask("POST", "/v1/segment/batch", files=[("image", photo), ("image", photo)])
        server.ask("POST", "/v1.0/removebg", files=[("image_file", photo)])
        encoded = base64.b64encode(content).decode()
        for body in ({"json": {"image_file_b64": encoded}}, {"data": {"image_file_b64": encoded}}):
            server.ask("POST", "/v1.0/removebg", **body)


def send_broken_ones(server: Running) -> None:
    for kind, content in FILES.items():
        typed = {"Content-Type": f"image/{kind}"}
        for broken in (content[: len(content) // 2], content[1:], b"x" * 200_001 + content):
            server.ask("POST", "/v1/segment", content=broken, headers=typed)
            photo = (f"{WORD}\r\nX: {WORD}.{kind}", broken[:190_000])
            server.ask("POST", "/v1/segment", files=[("image", photo)])
            server.ask("POST", "/v1/segment/batch", files=[("image", photo), ("image", photo)])
            server.ask("POST", "/v1.0/removebg", files=[("image_file", photo)])
            encoded = base64.b64encode(broken[:100_000]).decode()[:-3] + "!"
            server.ask("POST", "/v1.0/removebg", json={"image_file_b64": encoded})
            server.ask("POST", "/v1.0/removebg", json={"size": encoded})
        text = content[: len(content) // 2].decode("latin-1")
        server.ask("POST", "/v1/segment", content=content, headers={"Content-Type": "text/plain"})
        server.ask("POST", "/v1/segment", params={"output": text}, content=content, headers=typed)
        server.ask("POST", "/v1/segment", files=[("image", content)], data={"grow": text[:3000]})
    wrong = {**FILES, "text": b"no picture"}
    server.ask("POST", "/v1/segment", files=[("image", (WORD, each)) for each in wrong.values()])


def send_tensors(server: Running) -> None:
    rgb = CANARY.rgb[:24, :32]
    wanted: dict[str, object] = {"name": "image", "datatype": "UINT8", "shape": [1, 24, 32, 3]}
    path = "/v2/models/connectnet/infer"
    raw = np.ascontiguousarray(rgb).tobytes()
    server.ask("POST", path, json={"inputs": [wanted | {"data": rgb.ravel().tolist()}]})
    server.ask("POST", path, json={"inputs": [wanted | {"data": rgb.ravel().tolist()[1:]}]})
    length = "Inference-Header-Content-Length"
    server.ask("POST", path, content=raw, headers={length: "0"})
    server.ask("POST", path, content=raw[1:], headers={length: "0"})
    server.ask("POST", path, content=raw)
    server.ask("POST", path, json={"inputs": [wanted | {"shape": raw.hex()}], "id": WORD})


def send_frames(server: Running) -> None:
    address = server.url.replace("http", "ws") + "/v1/stream"
    picture = base64.b64encode(CANARY.png).decode()
    options = {"key": KEY, "output": "composite", "background_image": picture}
    with connect(address, subprotocols=[SUBPROTOCOL]) as peer:  # type: ignore[list-item]
        peer.send(config(**options))
        assert '"ready"' in str(peer.recv(PATIENCE_S))
        for seq, content in enumerate((*FILES.values(), CANARY.jpeg[:500], CANARY.png[1:])):
            peer.send(frame(seq, content))
            assert peer.recv(PATIENCE_S)
        peer.send(config(background_image=picture[1:]))
        server.refusals.append(str(peer.recv(PATIENCE_S)).encode())
        peer.send(CANARY.png)
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(PATIENCE_S)
        server.refusals.append(str(closed.value).encode())


def send_backgrounds(server: Running) -> None:
    sdp = {"Content-Type": "application/sdp"}
    begun = server.ask("POST", "/v1/webrtc", content=offer(video()), headers=sdp)
    assert begun.status_code == 201
    place = begun.headers["Location"]
    picture = base64.b64encode(CANARY.jpeg).decode()
    assert server.ask("PATCH", place, json={"background_image": picture}).status_code == 200
    server.ask("PATCH", place, json={"background_image": picture[1:]})
    server.ask("PATCH", place, json={"smoothing": picture})
    server.ask("POST", "/v1/webrtc", content=CANARY.png, headers=sdp)
    server.ask("DELETE", place)


def test_nothing_is_left_of_a_photo(running):
    for send in (send_photos, send_broken_ones, send_tensors, send_frames, send_backgrounds):
        send(running)
    assert len(running.refusals) > 50, "the errors are half of the point"

    said = running.log.read_bytes()
    assert b"POST /v1/segment 200" in said
    metrics = running.ask("GET", "/metrics").content
    assert b"silhouette_requests_total" in metrics
    others = [running.ask("GET", path).content for path in ("/nothing", "/v1/models", "/readyz")]
    for kept in (said, metrics, *others, *running.refusals):
        assert CANARY.seen_in(kept) == []
    assert running.left == []
    if running.traced is not None:
        opened = running.traced.read_text(errors="replace").splitlines()
        assert any(str(running.folders[1]) in line or "model.onnx" in line for line in opened)
        assert [line for line in opened if _writes(line)] == []


def _writes(line: str) -> bool:
    """Of what strace saw: whether something on a disk was opened for writing, or made."""
    return bool(WRITES.search(line)) and " = -1 " not in line and not NO_DISK.search(line)


def test_the_search_finds_what_it_looks_for():
    """In an answer, which holds the pixels; and in whatever way they would be written down."""
    assert CANARY.seen_in(CANARY.rgb.tobytes())
    for content in CANARY.files:
        for written in (content, content.hex().encode(), base64.b64encode(content)):
            assert CANARY.seen_in(written)
        assert CANARY.seen_in(repr(content).encode())
    assert CANARY.seen_in(json.dumps({"name": WORD}).encode())
    assert _writes('9 openat(AT_FDCWD, "/tmp/x", O_RDWR|O_CREAT, 0600) = 5')
    assert _writes('9 memfd_create("x", 0) = 5')
    assert not _writes('9 openat(AT_FDCWD, "/tmp/x", O_RDONLY|O_CLOEXEC) = 5')
    assert not _writes('9 openat(AT_FDCWD, "/dev/null", O_RDWR) = 5')


def test_no_core_is_dumped(running):
    limits = [Path(f"/proc/{pid}/limits").read_text() for pid in _server_pids(running.pid)]
    assert limits
    assert any(re.search(r"Max core file size\s+0\s+0\s", text) for text in limits)


def _server_pids(pid: int) -> list[int]:
    """The process, and what it started: strace is the parent of what it traces."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
