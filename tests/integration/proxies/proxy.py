"""Runs nginx and Caddy on loopback with the files of `deploy/proxies/`.

Only name, ports and certificate differ from those files.
"""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.faults.process import free_port
from tests.support.deployment import DEPLOY

PATIENCE_S = 60
NAME = "localhost"
PUBLISHED_NAME = "photos.example.com"
UPSTREAM = "127.0.0.1:8000"
NGINX, CADDY = shutil.which("nginx", path=f"{os.defpath}:/usr/sbin"), shutil.which("caddy")
PROXIES = [
    pytest.param(
        name, marks=pytest.mark.skipif(program is None, reason=f"there is no {name} on PATH")
    )
    for name, program in (("nginx", NGINX), ("caddy", CADDY))
]
_NGINX_MAIN = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/log info;
events {{}}
http {{
    access_log off; types {{}}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/silhouette.conf;
}}
"""
_CADDY_MAIN = "{\n\tadmin off\n\tauto_https off\n}\n"


@dataclass(frozen=True)
class Certificate:
    """A certificate of `NAME` that signs itself, and its key, as PEM files."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Returns a context for clients that trust this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    port: int
    certificate: Certificate
    log: Path

    @property
    def authority(self) -> str:
        return f"{NAME}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}"


def make_certificate(folder: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    files = Certificate(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@contextmanager
def running_proxy(name: str, folder: Path, upstream_port: int) -> Iterator[Proxy]:
    """Runs a proxy in front of a port of loopback, until the block ends."""
    folder.chmod(0o755)  # nginx, started by root, serves as another user
    certificate = make_certificate(folder)
    port = free_port()
    command = _WRITERS[name](folder, certificate, port, upstream_port)
    log = folder / "log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        _wait_listening(process, port, log)
        yield Proxy(port, certificate, log)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _write_nginx(folder: Path, files: Certificate, port: int, upstream_port: int) -> list[str]:
    (folder / "silhouette.conf").write_text(
        replaced(
            (DEPLOY / "proxies" / "nginx.conf").read_text(),
            {
                UPSTREAM: f"127.0.0.1:{upstream_port}",
                "listen 80;": f"listen 127.0.0.1:{free_port()};",
                "    listen [::]:80;\n": "",
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                "    listen [::]:443 ssl http2;\n": "",
                f"/etc/ssl/certs/{PUBLISHED_NAME}.pem": str(files.certificate),
                f"/etc/ssl/private/{PUBLISHED_NAME}.key": str(files.key),
                PUBLISHED_NAME: NAME,
            },
        )
    )
    main = folder / "nginx.conf"
    main.write_text(_NGINX_MAIN.format(folder=folder))
    return [str(NGINX), "-p", str(folder), "-c", str(main)]


def _write_caddy(folder: Path, files: Certificate, port: int, upstream_port: int) -> list[str]:
    tls = f"{NAME}:{port} {{\n\ttls {files.certificate} {files.key}\n"
    text = replaced(
        (DEPLOY / "proxies" / "Caddyfile").read_text(),
        {UPSTREAM: f"127.0.0.1:{upstream_port}", f"{PUBLISHED_NAME} {{\n": tls},
    )
    main = folder / "Caddyfile"
    main.write_text(_CADDY_MAIN + text)
    return [str(CADDY), "run", "--config", str(main), "--adapter", "caddyfile"]


_WRITERS: dict[str, Callable[[Path, Certificate, int, int], list[str]]] = {
    "nginx": _write_nginx,
    "caddy": _write_caddy,
}


def replaced(text: str, changes: dict[str, str]) -> str:
    """Returns the text with every change applied; each must occur."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _wait_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Polls the port of another process, for which this process has no event."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
