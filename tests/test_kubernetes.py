"""Checks the Kubernetes manifests without a cluster."""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from silhouette_seg.assembly import MAX_BODIES_IN_MEMORY
from silhouette_seg.engine.triton.config_pbtxt import CACHE_VOLUME
from silhouette_seg.settings import PREFIX, Settings
from tests.support.deployment import (
    DEPLOY,
    DRAIN_S,
    KUSTOMIZATION,
    MANIFESTS,
    TRITON_EXIT_S,
    environment_of,
    find_manifest,
    identity,
    pod_spec,
)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: "-".join(identity(manifest)))
def test_manifest_is_valid_for_kubernetes(manifest):
    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_kustomization_lists_every_manifest():
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert files - {"kustomization.yaml", "prometheus-adapter.yaml"} == {
        *KUSTOMIZATION["resources"]
    }


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_renders_every_manifest():
    folder = DEPLOY / "kubernetes"
    result = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, check=True)
    rendered = list(yaml.safe_load_all(result.stdout))
    assert sorted(map(identity, rendered)) == sorted(map(identity, MANIFESTS))
    for manifest in rendered:
        kubernetes_validate.validate(manifest, "1.33", strict=True)
    tagged = {f"{image['name']}:{image['newTag']}" for image in KUSTOMIZATION["images"]}
    assert set(re.findall(rb"image: (\S+)", result.stdout)) == {image.encode() for image in tagged}


def test_kustomization_tags_every_image():
    images = {
        container["image"]
        for name in ("gateway", "triton")
        for container in chain(
            pod_spec(name)["containers"], pod_spec(name).get("initContainers", ())
        )
    }
    assert images == {image["name"] for image in KUSTOMIZATION["images"]}


@pytest.mark.parametrize("name", ["gateway", "triton"])
def test_pod_security_context_is_restricted(name):
    assert pod_spec(name)["securityContext"]["runAsNonRoot"] is True
    assert pod_spec(name)["automountServiceAccountToken"] is False
    for container in chain(pod_spec(name)["containers"], pod_spec(name).get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("name", "drain_s"), [("gateway", DRAIN_S), ("triton", TRITON_EXIT_S)])
def test_pod_grace_period_exceeds_the_drain(name, drain_s):
    [container] = pod_spec(name)["containers"]
    sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_spec(name)["terminationGracePeriodSeconds"] > sleep_s + drain_s


def test_gateway_pod_has_memory_for_the_largest_photo():
    """The figures are those of docs/settings.md for a WebP in colour, plus all request bodies."""
    [container] = pod_spec("gateway")["containers"]
    limit = container["resources"]["limits"]["memory"]
    settings = Settings.model_fields
    idle, bytes_per_pixel = 250 * 10**6, 38
    photo = bytes_per_pixel * settings["max_pixels"].default
    bodies = MAX_BODIES_IN_MEMORY * settings["max_body_bytes"].default
    assert limit.endswith("Gi")
    assert idle + photo + bodies < int(limit.removesuffix("Gi")) * 2**30


def test_memory_alert_is_below_pod_limit():
    [container] = pod_spec("gateway")["containers"]
    gibibytes = container["resources"]["limits"]["memory"].removesuffix("Gi")
    assert f"> 0.9 * {gibibytes} * 2 ^ 30" in (DEPLOY / "prometheus/alerts.yml").read_text()


@pytest.mark.parametrize("name", ["gateway", "triton"])
def test_pod_selectors_match_the_deployment(name):
    labels = find_manifest("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    spec = {
        kind: find_manifest(kind, name)["spec"]
        for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
    }
    assert labels == spec["Deployment"]["selector"]["matchLabels"]
    assert labels == spec["Service"]["selector"]
    assert labels == spec["PodDisruptionBudget"]["selector"]["matchLabels"]
    assert labels == spec["NetworkPolicy"]["podSelector"]["matchLabels"]
    target = find_manifest("HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", name)


def test_triton_service_exposes_single_replicas():
    assert find_manifest("Service", "triton")["spec"]["clusterIP"] == "None"
    environment = environment_of("gateway")
    assert environment["SILHOUETTE_TRITON_URL"] == "triton:8001"
    assert environment.keys() <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_pod_volume_holds_the_engine_cache():
    [copy] = pod_spec("triton")["initContainers"]
    assert copy["command"][-1].endswith(f"mkdir -p {CACHE_VOLUME}")
    for container in (copy, *pod_spec("triton")["containers"]):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert Path(CACHE_VOLUME).is_relative_to(mounts["engines"])


def test_triton_scales_by_metric_of_the_adapter():
    rules = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]
    names = {rule["name"]["as"] for rule in rules["custom"]}
    [metric] = find_manifest("HorizontalPodAutoscaler", "triton")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in names
