"""Reads manifests and scripts of `deploy/`, and the times that a stop of each server takes."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from silhouette_seg.server.server import CLOSE_TIMEOUT_S
from silhouette_seg.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("cpu", "gpu")


def load_script(name: str) -> ModuleType:
    """Imports a script of `deploy/` that the image build runs."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kustomization(folder: str) -> dict[str, Any]:
    """Returns the kustomization of a folder below `deploy/kubernetes`."""
    loaded: dict[str, Any] = yaml.safe_load(
        (KUBERNETES / folder / "kustomization.yaml").read_text()
    )
    return loaded


def read_manifests(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def manifests_of(folder: str) -> list[dict[str, Any]]:
    """Returns the manifests of an overlay and of its base, before patches."""
    found = []
    for name in kustomization(folder)["resources"]:
        path = (KUBERNETES / folder / name).resolve()
        if path.is_dir():
            found += manifests_of(str(path.relative_to(KUBERNETES)))
        else:
            found += read_manifests(path)
    return found


MANIFESTS = manifests_of("overlays/gpu")
"""Manifests of the overlay with GPUs, which contain those of the base."""
[GATEWAY_PATCH] = read_manifests(KUBERNETES / "overlays/gpu/gateway-patch.yaml")
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


def gpu_environment() -> dict[str, str]:
    """Returns the environment of the gateways in the overlay with GPUs."""
    patch = GATEWAY_PATCH["spec"]["template"]["spec"]
    return {
        variable["name"]: variable["value"]
        for spec in (pod_spec("gateway"), patch)
        for variable in spec["containers"][0]["env"]
    }
