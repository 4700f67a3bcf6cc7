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
    GATEWAY_PATCH,
    KUBERNETES,
    MANIFESTS,
    OVERLAYS,
    TRITON_EXIT_S,
    find_manifest,
    gpu_environment,
    identity,
    kustomization,
    manifests_of,
    pod_spec,
    read_manifests,
)
from tests.support.kserve_schema import MISSING_SCHEMA, schema_errors

KUBERNETES_VERSION = "1.33"
[INGRESS] = read_manifests(KUBERNETES / "examples/ingress.yaml")
[INFERENCE_SERVICE] = read_manifests(KUBERNETES / "examples/kserve.yaml")
PREDICTOR = INFERENCE_SERVICE["spec"]["predictor"]


@pytest.mark.parametrize(
    "manifest", [*MANIFESTS, INGRESS], ids=lambda manifest: "-".join(identity(manifest))
)
def test_manifest_is_valid_for_kubernetes(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("folder", ["base", *(f"overlays/{name}" for name in OVERLAYS)])
def test_kustomization_lists_every_manifest(folder):
    content = kustomization(folder)
    patches = [patch["path"] for patch in content.get("patches", ())]
    listed = {name for name in (*content["resources"], *patches) if name.endswith(".yaml")}
    files = {path.name for path in (KUBERNETES / folder).iterdir()}
    assert listed == files - {"kustomization.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_renders_every_manifest(overlay):
    folder = f"overlays/{overlay}"
    command = ["kubectl", "kustomize", KUBERNETES / folder]
    result = subprocess.run(command, capture_output=True, check=True)
    rendered = list(yaml.safe_load_all(result.stdout))
    assert sorted(map(identity, rendered)) == sorted(map(identity, manifests_of(folder)))
    for manifest in rendered:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    tagged = {f"{image['name']}:{image['newTag']}" for image in kustomization(folder)["images"]}
    assert set(re.findall(rb"image: (\S+)", result.stdout)) == {image.encode() for image in tagged}


def test_cpu_overlay_has_no_triton_and_no_egress():
    manifests = manifests_of("overlays/cpu")
    assert "triton" not in {name for _, name in map(identity, manifests)}
    [policy] = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    assert policy["spec"]["egress"] == []
    [container] = pod_spec("gateway")["containers"]
    names = {variable["name"] for variable in container["env"]}
    assert names.isdisjoint({"SILHOUETTE_ENGINE", "SILHOUETTE_DEVICE", "SILHOUETTE_TRITON_URL"})


def test_gpu_patch_names_the_container_of_the_gateway():
    [patched] = GATEWAY_PATCH["spec"]["template"]["spec"]["containers"]
    [container] = pod_spec("gateway")["containers"]
    assert identity(GATEWAY_PATCH) == ("Deployment", "gateway")
    assert patched["name"] == container["name"]


def test_kustomization_tags_every_image():
    images = {
        container["image"]
        for name in ("gateway", "triton")
        for container in chain(
            pod_spec(name)["containers"], pod_spec(name).get("initContainers", ())
        )
    }
    assert images == {image["name"] for image in kustomization("overlays/gpu")["images"]}


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
    environment = gpu_environment()
    assert environment["SILHOUETTE_TRITON_URL"] == "triton:8001"
    assert environment.keys() <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_pod_volume_holds_the_engine_cache():
    [copy] = pod_spec("triton")["initContainers"]
    assert copy["command"][-1].endswith(f"mkdir -p {CACHE_VOLUME}")
    for container in (copy, *pod_spec("triton")["containers"]):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert Path(CACHE_VOLUME).is_relative_to(mounts["engines"])


def test_triton_scales_by_metric_of_the_adapter():
    rules = yaml.safe_load((KUBERNETES / "examples/prometheus-adapter.yaml").read_text())["rules"]
    names = {rule["name"]["as"] for rule in rules["custom"]}
    [metric] = find_manifest("HorizontalPodAutoscaler", "triton")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in names


# Ingress


def test_ingress_forwards_to_the_port_of_the_gateway():
    [rule] = INGRESS["spec"]["rules"]
    [path] = rule["http"]["paths"]
    service = find_manifest("Service", path["backend"]["service"]["name"])
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert path["backend"]["service"]["port"]["name"] in ports
    assert INGRESS["spec"]["tls"][0]["hosts"] == [rule["host"]]


@pytest.mark.parametrize("controller", ["nginx.org", "nginx.ingress.kubernetes.io"])
def test_ingress_has_the_values_of_the_nginx_example(controller):
    directives = dict(
        re.findall(r"^ +(\w+) +(\S+);$", (DEPLOY / "proxies/nginx.conf").read_text(), re.MULTILINE)
    )
    off = {"nginx.org": "false"}.get(controller, "off")
    expected = {
        "body-size": directives["client_max_body_size"],
        "buffering": directives["proxy_buffering"].replace("off", off),
        "read-timeout": directives["proxy_read_timeout"],
        "send-timeout": directives["proxy_send_timeout"],
    }
    annotations = {
        name.partition("/")[2]: value
        for name, value in INGRESS["metadata"]["annotations"].items()
        if name.startswith(f"{controller}/")
    }
    for suffix, value in expected.items():
        [found] = [annotations[name] for name in annotations if name.endswith(f"-{suffix}")][:1]
        assert found.removesuffix("s") == value.removesuffix("s"), suffix


def test_ingress_names_the_service_with_websockets():
    annotations = INGRESS["metadata"]["annotations"]
    assert annotations["nginx.org/websocket-services"] == "gateway"
    assert find_manifest("Service", "gateway")


# KServe


@pytest.mark.skipif(bool(MISSING_SCHEMA), reason=MISSING_SCHEMA or "the schema is installed")
def test_inference_service_is_valid_for_kserve():
    assert schema_errors(INFERENCE_SERVICE, "V1beta1InferenceService") == []


@pytest.mark.skipif(bool(MISSING_SCHEMA), reason=MISSING_SCHEMA or "the schema is installed")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"minReplica": 1}, "spec.predictor.minReplica is unknown"),
        ({"minReplicas": "one"}, "spec.predictor.minReplicas is no int"),
        ({"containers": {}}, "spec.predictor.containers is no list"),
        ({"logger": {"urls": ""}}, "spec.predictor.logger.urls is unknown"),
    ],
    ids=["unknown", "text", "mapping", "nested"],
)
def test_wrong_field_is_invalid_for_kserve(change, error):
    spec = {"predictor": {**PREDICTOR, **change}}
    assert schema_errors({**INFERENCE_SERVICE, "spec": spec}, "V1beta1InferenceService") == [error]


def test_predictor_has_the_pod_of_the_gateway():
    """KServe copies the predictor's fields of a pod, which its own schema does not describe."""
    own = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
    pod = {name: value for name, value in PREDICTOR.items() if name not in own}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
    kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    gateway = pod_spec("gateway")
    for name in ("automountServiceAccountToken", "enableServiceLinks", "securityContext"):
        assert pod[name] == gateway[name]
    for name in ("envFrom", "resources", "securityContext"):
        assert pod["containers"][0][name] == gateway["containers"][0][name]


def test_predictor_serves_open_inference_protocol():
    [container] = PREDICTOR["containers"]
    assert container["name"] == "kserve-container"
    assert container["ports"][0]["containerPort"] == Settings.model_fields["port"].default
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert PREDICTOR["terminationGracePeriodSeconds"] > DRAIN_S
