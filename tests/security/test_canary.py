"""Photos stay out of disks, logs, metrics and errors; only their own responses contain pixels.

A server process receives recognisable photos on every route, intact and damaged. The tests watch
its folders and, if strace is available, every file that it opens.
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
from tests.support.sdp import offer, video

CANARY = Canary()
FILES = {"png": CANARY.png, "jpeg": CANARY.jpeg, "webp": CANARY.webp}
KEY = "sesame-a9d2"
TRACED = "open,openat,creat,memfd_create,mkdir,mkdirat,rename,renameat,renameat2,truncate,mknodat"
STRACE = ("--follow-forks", "--seccomp-bpf", "-qq", "-e", "signal=none")
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|\b(creat|memfd_create|mkdir|rename|truncate|mknod)")
NO_DISK = re.compile(r'"/dev/(null|tty|urandom|nvidia\S*)"|"/proc/\S*"')


@dataclass
class RunningServer:
    """A server process, with the places where it could leave data."""

    url: str
    client: httpx.Client
    pid: int
    log: Path
    folders: tuple[Path, ...]
    traced: Path | None
    errors: list[bytes] = field(default_factory=list)

    def send(self, method: str, path: str, **request: object) -> httpx.Response:
        headers = {"X-Api-Key": KEY, **request.pop("headers", {})}  # type: ignore[dict-item]
        answer = self.client.request(method, path, headers=headers, **request)  # type: ignore[arg-type]
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            self.errors.append(answer.content)
        return answer

    @property
    def files(self) -> list[Path]:
        """Files and folders that the server left behind."""
        return [path for folder in self.folders for path in folder.rglob("*")]


@pytest.fixture(scope="module")
def running(repository, tmp_path_factory) -> Iterator[RunningServer]:
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
        print("strace is missing: only the folders are watched")
        return False
    command = [strace, *STRACE, "-e", "trace=openat", "-o", base / "trial", "true"]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode:
        print("strace has no permission: only the folders are watched")
    return result.returncode == 0


@contextmanager
def _served(
    repository: Path, log: Path, folders: tuple[Path, ...], traced: Path | None
) -> Iterator[RunningServer]:
    tmp, work, home = folders
    strace = ["strace", *STRACE, "-e", f"trace={TRACED}", "-o", str(traced)]
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
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(strace if traced else ()),
                sys.executable,
                "-m",
                "silhouette_seg",
                "serve",
                "--port",
                "0",
            ],
            cwd=work,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            url = _wait_for_log(process, log, r"listening on (\S+)")
            _wait_for_log(process, log, r"(ready): connectnet")
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                yield RunningServer(url, client, process.pid, log, folders, traced)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_log(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    deadline = time.monotonic() + 3 * PATIENCE_S
    while not (match := re.search(pattern, log.read_text(errors="replace"))):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.01)
    return match[1]


def send_photos(server: RunningServer) -> None:
    for kind, content in FILES.items():
        typed = {"Content-Type": f"image/{kind}"}
        for query in ("", "?output=cutout", "?output=composite&background=blur:3&format=jpeg"):
            assert server.send(
                "POST", f"/v1/segment{query}", content=content, headers=typed
            ).content
        server.send("POST", "/v1/segment", content=content, headers={"Accept": "application/json"})
        photo = (f"{WORD}.{kind}", content)
        server.send("POST", "/v1/segment", files=[("image", photo), ("background_image", photo)])
        server.send("POST", "/v1/segment/batch", files=[("image", photo), ("image", photo)])
        server.send("POST", "/v1.0/removebg", files=[("image_file", photo)])
        encoded = base64.b64encode(content).decode()
        for body in ({"json": {"image_file_b64": encoded}}, {"data": {"image_file_b64": encoded}}):
            server.send("POST", "/v1.0/removebg", **body)


def send_damaged_photos(server: RunningServer) -> None:
    for kind, content in FILES.items():
        typed = {"Content-Type": f"image/{kind}"}
        for damaged in (content[: len(content) // 2], content[1:], b"x" * 200_001 + content):
            server.send("POST", "/v1/segment", content=damaged, headers=typed)
            photo = (f"{WORD}\r\nX: {WORD}.{kind}", damaged[:190_000])
            server.send("POST", "/v1/segment", files=[("image", photo)])
            server.send("POST", "/v1/segment/batch", files=[("image", photo), ("image", photo)])
            server.send("POST", "/v1.0/removebg", files=[("image_file", photo)])
            encoded = base64.b64encode(damaged[:100_000]).decode()[:-3] + "!"
            server.send("POST", "/v1.0/removebg", json={"image_file_b64": encoded})
            server.send("POST", "/v1.0/removebg", json={"size": encoded})
        text = content[: len(content) // 2].decode("latin-1")
        server.send("POST", "/v1/segment", content=content, headers={"Content-Type": "text/plain"})
        server.send("POST", "/v1/segment", params={"output": text}, content=content, headers=typed)
        server.send("POST", "/v1/segment", files=[("image", content)], data={"grow": text[:3000]})
    several = {**FILES, "text": b"no picture"}
    server.send(
        "POST", "/v1/segment", files=[("image", (WORD, content)) for content in several.values()]
    )


def send_tensors(server: RunningServer) -> None:
    rgb = CANARY.rgb[:24, :32]
    tensor: dict[str, object] = {"name": "image", "datatype": "UINT8", "shape": [1, 24, 32, 3]}
    path = "/v2/models/connectnet/infer"
    raw = np.ascontiguousarray(rgb).tobytes()
    server.send("POST", path, json={"inputs": [tensor | {"data": rgb.ravel().tolist()}]})
    server.send("POST", path, json={"inputs": [tensor | {"data": rgb.ravel().tolist()[1:]}]})
    length = "Inference-Header-Content-Length"
    server.send("POST", path, content=raw, headers={length: "0"})
    server.send("POST", path, content=raw[1:], headers={length: "0"})
    server.send("POST", path, content=raw)
    server.send("POST", path, json={"inputs": [tensor | {"shape": raw.hex()}], "id": WORD})


def send_frames(server: RunningServer) -> None:
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
        server.errors.append(str(peer.recv(PATIENCE_S)).encode())
        peer.send(CANARY.png)
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(PATIENCE_S)
        server.errors.append(str(closed.value).encode())


def send_backgrounds(server: RunningServer) -> None:
    sdp = {"Content-Type": "application/sdp"}
    started = server.send("POST", "/v1/webrtc", content=offer(video()), headers=sdp)
    assert started.status_code == 201
    location = started.headers["Location"]
    picture = base64.b64encode(CANARY.jpeg).decode()
    assert server.send("PATCH", location, json={"background_image": picture}).status_code == 200
    server.send("PATCH", location, json={"background_image": picture[1:]})
    server.send("PATCH", location, json={"smoothing": picture})
    server.send("POST", "/v1/webrtc", content=CANARY.png, headers=sdp)
    server.send("DELETE", location)


def test_photo_leaves_no_trace_outside_its_responses(running):
    for send in (send_photos, send_damaged_photos, send_tensors, send_frames, send_backgrounds):
        send(running)
    assert len(running.errors) > 50, "errors must be covered, too"

    log = running.log.read_bytes()
    assert b"POST /v1/segment 200" in log
    metrics = running.send("GET", "/metrics").content
    assert b"silhouette_requests_total" in metrics
    others = [running.send("GET", path).content for path in ("/nothing", "/v1/models", "/readyz")]
    for text in (log, metrics, *others, *running.errors):
        assert CANARY.found_in(text) == []
    assert running.files == []
    if running.traced is not None:
        opened = running.traced.read_text(errors="replace").splitlines()
        assert any(str(running.folders[1]) in line or "model.onnx" in line for line in opened)
        assert [line for line in opened if _writes(line)] == []


def _writes(line: str) -> bool:
    """Tells if a line of strace opens a file on a disk for writing, or creates one."""
    return bool(WRITES.search(line)) and " = -1 " not in line and not NO_DISK.search(line)


def test_canary_search_finds_every_encoding():
    """The search finds pixels, files and text in every encoding, and writes in a trace."""
    assert CANARY.found_in(CANARY.rgb.tobytes())
    for content in CANARY.files:
        for encoded in (content, content.hex().encode(), base64.b64encode(content)):
            assert CANARY.found_in(encoded)
        assert CANARY.found_in(repr(content).encode())
    assert CANARY.found_in(json.dumps({"name": WORD}).encode())
    assert _writes('9 openat(AT_FDCWD, "/tmp/x", O_RDWR|O_CREAT, 0600) = 5')
    assert _writes('9 memfd_create("x", 0) = 5')
    assert not _writes('9 openat(AT_FDCWD, "/tmp/x", O_RDONLY|O_CLOEXEC) = 5')
    assert not _writes('9 openat(AT_FDCWD, "/dev/null", O_RDWR) = 5')


def test_server_disables_core_dumps(running):
    limits = [Path(f"/proc/{pid}/limits").read_text() for pid in _server_pids(running.pid)]
    assert limits
    assert any(re.search(r"Max core file size\s+0\s+0\s", text) for text in limits)


def _server_pids(pid: int) -> list[int]:
    """Returns the process and its children: strace is the parent of the server."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
