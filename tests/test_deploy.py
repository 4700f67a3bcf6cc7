"""What Dockerfile, compose file and Kubernetes manifests promise. No engine is needed for it."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from hashlib import sha256
from itertools import chain
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from silhouette_seg.assembly import MAX_BODIES_IN_MEMORY
from silhouette_seg.engine.base import is_degraded
from silhouette_seg.engine.triton_model_config import provider_of
from silhouette_seg.server.server import CLOSE_TIMEOUT_S
from silhouette_seg.settings import PREFIX, Settings
from tests.support.config_lint import parse
from training.export.triton_config import CACHE_VOLUME, TRITON_RELEASE

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
TRITON_CPU = yaml.safe_load((DEPLOY / "triton-cpu.yml").read_text())["services"]
SERVICES = {**COMPOSE["services"], "triton-cpu": TRITON_CPU["triton-cpu"]}
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
MANIFESTS = [
    manifest
    for name in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DRAIN_S = Settings.model_fields["drain_timeout_s"].default + CLOSE_TIMEOUT_S
TRITON_EXIT_S = 30


def manifest(kind, name):
    return next(each for each in MANIFESTS if named(each) == (kind, name))


def named(manifest):
    return manifest["kind"], manifest["metadata"]["name"]


def pod(name):
    return manifest("Deployment", name)["spec"]["template"]["spec"]


def variables(name):
    """Of the one container of a Deployment."""
    [container] = pod(name)["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


# The image


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_image_runs_one_process_that_hears_signals_and_is_not_root():
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert 'ENTRYPOINT ["silhouette"]' in final
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert not re.search(r"^RUN ", final, re.MULTILINE)


def test_image_reports_to_nobody():
    assert re.search(r"^ +ORT_DISABLE_TELEMETRY=1 ", DOCKERFILE, re.MULTILINE)


def test_every_stage_is_of_the_one_pinned_base():
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}"] * 2
    assert re.search(r"^ARG BASE=python:\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)


def test_healthcheck_asks_whether_photos_can_be_taken():
    [check] = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    *interpreter, code = json.loads(check)
    assert interpreter == ["python", "-I", "-S", "-c"]
    compile(code, "healthcheck", "exec")
    assert "/readyz" in code


def test_context_holds_what_the_image_is_made_of_and_no_more():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / path).exists() for path in allowed)
    assert allowed.isdisjoint({"training", "tests", "deploy", ".git"})


def test_packages_of_the_image_are_what_the_project_asks_for():
    pinned = {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for line in (DEPLOY / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
        for requirement in [Requirement(line)]
    }
    extras = PROJECT["optional-dependencies"]
    for wanted in map(
        Requirement, chain(PROJECT["dependencies"], extras["triton"], extras["otel"])
    ):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), wanted
    for unwanted in map(Requirement, extras["training"]):
        assert canonicalize_name(unwanted.name) not in pinned


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("check_models", DEPLOY / "check_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check


def test_weights_of_the_repository_are_those_of_the_specs(check):
    assert "connectnet" in check(ROOT / "model_repository")


def test_build_refuses_other_weights(check, tmp_path):
    (tmp_path / "net/1").mkdir(parents=True)
    weights = tmp_path / "net/1/model.onnx"
    weights.write_bytes(b"weights")
    spec = {"name": "net", "version": 1, "sha256": sha256(b"weights").hexdigest()}
    (tmp_path / "net/spec.json").write_text(json.dumps(spec))
    assert check(tmp_path) == ["net"]
    weights.write_bytes(b"others")
    with pytest.raises(ValueError, match="sha256"):
        check(tmp_path)


def test_build_refuses_a_repository_without_models(check, tmp_path):
    with pytest.raises(ValueError, match="no model"):
        check(tmp_path)


# The compose file


def test_the_gateway_alone_is_the_default():
    assert {name for name, each in COMPOSE["services"].items() if "profiles" not in each} == {
        "gateway"
    }
    assert {tuple(each.get("profiles", ())) for each in COMPOSE["services"].values()} == {
        (),
        ("gpu",),
        ("monitoring",),
    }


@pytest.mark.parametrize("name", SERVICES)
def test_root_is_read_only_and_powers_are_dropped(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_of_a_release(name):
    image = re.sub(r"\$\{\w+:-(.+)\}", r"\1", SERVICES[name]["image"])
    assert re.fullmatch(r".+:v?\d+\.\d+[\w.-]*", image)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_for_this_machine_only(name):
    default = [re.sub(r"\$\{\w+:-(.+?)\}", r"\1", port) for port in SERVICES[name].get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in default)


@pytest.mark.parametrize("name", ["triton", "triton-cpu"])
def test_triton_is_reached_by_the_gateway_only(name):
    assert "ports" not in SERVICES[name]
    assert list(SERVICES[name]["networks"]) == ["inner"]
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert "inner" in SERVICES["gateway"]["networks"]


@pytest.mark.parametrize("name", ["triton", "triton-cpu"])
def test_triton_reads_the_models_and_cannot_change_them(name):
    assert "./model_repository:/models:ro" in SERVICES[name]["volumes"]
    assert "--model-control-mode=none" in SERVICES[name]["command"]
    assert SERVICES[name]["user"] == "1000:1000"
    assert seconds(SERVICES[name]["shm_size"].replace("m", "s")) >= 256


@pytest.mark.parametrize("name", ["gateway", "triton", "triton-cpu"])
def test_what_stops_has_time_to_finish(name):
    needed = DRAIN_S if name == "gateway" else TRITON_EXIT_S
    assert seconds(SERVICES[name]["stop_grace_period"]) > needed
    if name != "gateway":
        assert f"--exit-timeout-secs={TRITON_EXIT_S}" in SERVICES[name]["command"]


def test_triton_has_a_gpu_and_a_patient_healthcheck():
    triton = SERVICES["triton"]
    [device] = triton["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert triton["healthcheck"]["test"][-1].endswith("/v2/health/ready")
    assert seconds(triton["healthcheck"]["start_period"]) >= 600


@pytest.mark.parametrize(
    "file",
    ["docker-compose.yml", "deploy/triton-cpu.yml", "deploy/kubernetes/kustomization.yaml"],
)
def test_triton_is_of_the_release_that_configurations_are_made_for(file):
    text = (ROOT / file).read_text()
    assert set(re.findall(r"(\d\d\.\d\d)-py3", text)) == {TRITON_RELEASE}


def test_engines_are_kept_where_configurations_say():
    volume, _, mount = SERVICES["triton"]["volumes"][1].partition(":")
    init = SERVICES["engine-cache"]
    assert init["volumes"] == [f"{volume}:{mount}"]
    assert volume in COMPOSE["volumes"]
    assert init["entrypoint"][-1] == CACHE_VOLUME
    assert Path(CACHE_VOLUME).is_relative_to(mount)


def test_variables_handed_to_the_gateway_are_settings():
    given = {*SERVICES["gateway"]["environment"], *TRITON_CPU["gateway"]["environment"]}
    assert given <= {PREFIX + name.upper() for name in Settings.model_fields}


def gpu_file():
    lines = (DEPLOY / "gpu.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_gpu_file_switches_the_gateway_over():
    given = gpu_file()
    assert given.pop("COMPOSE_PROFILES") == "gpu"
    assert given == {**TRITON_CPU["gateway"]["environment"], "SILHOUETTE_DEVICE": "tensorrt"}
    assert given.keys() <= SERVICES["gateway"]["environment"].keys()


@pytest.mark.parametrize(
    ("environment", "device", "file"),
    [
        (gpu_file(), "tensorrt", "config.pbtxt"),
        (variables("gateway"), "tensorrt", "config.pbtxt"),
        (TRITON_CPU["gateway"]["environment"], "cpu", "configs/cpu.pbtxt"),
    ],
    ids=["gpu.env", "kubernetes", "triton-cpu.yml"],
)
def test_gateway_asks_for_the_device_that_triton_is_told_to_use(environment, device, file):
    assert environment["SILHOUETTE_DEVICE"] == device
    configured = (ROOT / "model_repository/connectnet" / file).read_text()
    assert provider_of(parse(configured)) == f"triton:{device}"


@pytest.mark.parametrize(
    "environment", [gpu_file(), variables("gateway")], ids=["gpu.env", "kubernetes"]
)
def test_a_gpu_is_not_given_up_in_silence(environment):
    assert is_degraded("triton:cpu", environment["SILHOUETTE_DEVICE"])
    assert is_degraded("triton:cuda", environment["SILHOUETTE_DEVICE"])
    assert "SILHOUETTE_ALLOW_DEGRADED" not in environment


# Monitoring


def test_every_panel_has_its_own_place_and_reads_the_provisioned_source():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/silhouette.json").read_text())
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    uids = {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"}
    assert uids == {each["uid"] for each in source["datasources"]}
    squares = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(squares) == len(set(squares))


def test_collector_looks_where_compose_puts_them():
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    names = {job["dns_sd_configs"][0]["names"][0] for job in config["scrape_configs"]}
    assert names == {"gateway", "triton"}
    assert names <= SERVICES.keys()


# Kubernetes


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_manifest_is_what_the_api_takes(manifest):
    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_kustomization_lists_every_manifest():
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert files - {"kustomization.yaml", "prometheus-adapter.yaml"} == {
        *KUSTOMIZATION["resources"]
    }


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to put them together")
def test_kustomize_puts_every_manifest_together():
    folder = DEPLOY / "kubernetes"
    made = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, check=True)
    rendered = list(yaml.safe_load_all(made.stdout))
    assert sorted(named(each) for each in rendered) == sorted(named(each) for each in MANIFESTS)
    for each in rendered:
        kubernetes_validate.validate(each, "1.33", strict=True)
    tagged = {f"{image['name']}:{image['newTag']}" for image in KUSTOMIZATION["images"]}
    assert set(re.findall(rb"image: (\S+)", made.stdout)) == {each.encode() for each in tagged}


def test_kustomization_tags_every_image():
    images = {
        container["image"]
        for name in ("gateway", "triton")
        for container in chain(pod(name)["containers"], pod(name).get("initContainers", ()))
    }
    assert images == {image["name"] for image in KUSTOMIZATION["images"]}


@pytest.mark.parametrize("name", ["gateway", "triton"])
def test_pods_are_hardened(name):
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["automountServiceAccountToken"] is False
    for container in chain(pod(name)["containers"], pod(name).get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("name", "work_s"), [("gateway", DRAIN_S), ("triton", TRITON_EXIT_S)])
def test_pods_have_time_to_finish(name, work_s):
    [container] = pod(name)["containers"]
    asleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(name)["terminationGracePeriodSeconds"] > asleep_s + work_s


def test_gateway_pod_has_memory_for_the_largest_photo():
    """Figures of docs/settings.md: a WebP in colours, and as many bodies as may be held."""
    [container] = pod("gateway")["containers"]
    limit = container["resources"]["limits"]["memory"]
    settings = Settings.model_fields
    ready, bytes_a_pixel = 250 * 10**6, 38
    photo = bytes_a_pixel * settings["max_pixels"].default
    bodies = MAX_BODIES_IN_MEMORY * settings["max_body_bytes"].default
    assert limit.endswith("Gi")
    assert ready + photo + bodies < int(limit.removesuffix("Gi")) * 2**30


def test_memory_alert_is_below_the_limit_of_the_pod():
    [container] = pod("gateway")["containers"]
    gibibytes = container["resources"]["limits"]["memory"].removesuffix("Gi")
    assert f"> 0.9 * {gibibytes} * 2 ^ 30" in (DEPLOY / "prometheus/alerts.yml").read_text()


@pytest.mark.parametrize("name", ["gateway", "triton"])
def test_whatever_selects_pods_selects_some(name):
    labels = manifest("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    spec = {
        kind: manifest(kind, name)["spec"]
        for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
    }
    assert labels == spec["Deployment"]["selector"]["matchLabels"]
    assert labels == spec["Service"]["selector"]
    assert labels == spec["PodDisruptionBudget"]["selector"]["matchLabels"]
    assert labels == spec["NetworkPolicy"]["podSelector"]["matchLabels"]
    target = manifest("HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", name)


def test_replicas_of_triton_are_seen_one_by_one():
    assert manifest("Service", "triton")["spec"]["clusterIP"] == "None"
    given = variables("gateway")
    assert given["SILHOUETTE_TRITON_URL"] == "triton:8001"
    assert given.keys() <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_pods_keep_engines_where_configurations_say():
    [copy] = pod("triton")["initContainers"]
    assert copy["command"][-1].endswith(f"mkdir -p {CACHE_VOLUME}")
    for container in (copy, *pod("triton")["containers"]):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert Path(CACHE_VOLUME).is_relative_to(mounts["engines"])


def test_triton_scales_by_the_queue_metric_that_the_adapter_makes():
    rules = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]
    made = {rule["name"]["as"] for rule in rules["custom"]}
    [metric] = manifest("HorizontalPodAutoscaler", "triton")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in made


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell to read the script")
def test_script_is_read_by_the_shell():
    subprocess.run(["sh", "-n", DEPLOY / "build-engines.sh"], check=True)
