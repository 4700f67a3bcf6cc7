"""Reads the Kubernetes manifests, and the times that a stop of each server takes."""

from pathlib import Path
from typing import Any

import yaml

from silhouette_seg.server.server import CLOSE_TIMEOUT_S
from silhouette_seg.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
MANIFESTS = [
    manifest
    for name in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())
]
DRAIN_S = Settings.model_fields["drain_timeout_s"].default + CLOSE_TIMEOUT_S
"""Longest time that the gateway takes to stop, in seconds."""
TRITON_EXIT_S = 30
"""Longest time that Triton takes to stop, in seconds, by its option `--exit-timeout-secs`."""


def find_manifest(kind: str, name: str) -> dict[str, Any]:
    return next(manifest for manifest in MANIFESTS if identity(manifest) == (kind, name))


def identity(manifest: dict[str, Any]) -> tuple[str, str]:
    """Returns kind and name of a manifest."""
    return manifest["kind"], manifest["metadata"]["name"]


def pod_spec(name: str) -> dict[str, Any]:
    """Returns the pod specification of a Deployment."""
    spec: dict[str, Any] = find_manifest("Deployment", name)["spec"]["template"]["spec"]
    return spec


def environment_of(name: str) -> dict[str, str]:
    """Returns the environment of the only container of a Deployment."""
    [container] = pod_spec(name)["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}
