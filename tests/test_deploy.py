"""Checks the Dockerfile, the compose files and the monitoring, without running them."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from silhouette_seg.engine.base import is_degraded
from silhouette_seg.engine.triton.config_pbtxt import CACHE_VOLUME, TRITON_RELEASE
from silhouette_seg.engine.triton.model_config import provider_of
from silhouette_seg.settings import PREFIX, Settings
from tests.support.config_lint import parse
from tests.support.deployment import (
    DEPLOY,
    DRAIN_S,
    OVERLAYS,
    ROOT,
    TRITON_EXIT_S,
    gpu_environment,
    kustomization,
    load_script,
)

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
TRITON_CPU = yaml.safe_load((DEPLOY / "triton-cpu.yml").read_text())["services"]
SERVICES = {**COMPOSE["services"], "triton-cpu": TRITON_CPU["triton-cpu"]}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def parse_seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


# The image


def test_dockerfile_passes_hadolint():
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_image_runs_one_unprivileged_process_without_shell():
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert 'ENTRYPOINT ["silhouette"]' in final
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert not re.search(r"^RUN ", final, re.MULTILINE)


def test_image_disables_onnx_runtime_telemetry():
    assert re.search(r"^ +ORT_DISABLE_TELEMETRY=1 ", DOCKERFILE, re.MULTILINE)


def test_image_stages_share_one_pinned_base():
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}"] * 2
    assert re.search(r"^ARG BASE=python:\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)


def test_healthcheck_of_image_requests_readiness():
    [check] = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    *interpreter, code = json.loads(check)
    assert interpreter == ["python", "-I", "-S", "-c"]
    compile(code, "healthcheck", "exec")
    assert "/readyz" in code


def test_build_context_excludes_training_tests_and_deployment():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / path).exists() for path in allowed)
    assert allowed.isdisjoint({"training", "tests", "deploy", ".git"})


IMAGE_EXTRAS = ("cpu", "live", "video", "triton", "otel")
PINNED_FILES = ("requirements.txt", "requirements-build.txt")


def expand_extras(names):
    """Yields the requirements of extras, and of the extras that those name."""
    for name in names:
        for requirement in map(Requirement, PROJECT["optional-dependencies"][name]):
            if requirement.name == PROJECT["name"]:
                yield from expand_extras(sorted(requirement.extras))
            else:
                yield requirement


def read_pins(file):
    """Returns the pinned requirements of a file, and the SHA-256 digests of each."""
    text = (DEPLOY / file).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pins = {}
    for line in lines:
        pin, *digests = re.split(r"\s+--hash=sha256:", line.strip())
        pins[Requirement(pin)] = digests
    return pins


def pinned_versions(file):
    """Returns the version of each package of a file of requirements."""
    versions = {}
    for pin in read_pins(file):
        [specifier] = pin.specifier
        assert specifier.operator == "=="
        versions[canonicalize_name(pin.name)] = specifier.version
    return versions


def test_pinned_packages_satisfy_the_project():
    pinned = pinned_versions("requirements.txt")
    required = [*map(Requirement, PROJECT["dependencies"]), *expand_extras(IMAGE_EXTRAS)]
    assert {"onnxruntime", "aiortc", "av", "fastapi"} <= {each.name for each in required}
    for requirement in required:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
    for requirement in expand_extras(["training"]):
        assert canonicalize_name(requirement.name) not in pinned


def test_pinned_build_packages_satisfy_the_build_system():
    pinned = pinned_versions("requirements-build.txt")
    for requirement in map(Requirement, PYPROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_makefile_resolves_the_extras_of_the_image():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    [command] = re.findall(r"uv pip compile .* deploy/requirements\.txt", makefile)
    assert re.findall(r"--extra (\w+)", command) == list(IMAGE_EXTRAS)


@pytest.mark.parametrize("file", PINNED_FILES)
def test_every_pinned_package_has_a_hash(file):
    for pin, digests in read_pins(file).items():
        assert digests, pin
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests), pin


@pytest.mark.parametrize("file", PINNED_FILES)
def test_pinned_packages_name_no_index_or_path(file):
    text = (DEPLOY / file).read_text()
    assert re.findall(r"\S*(?:/|index|find-links)\S*", text) == []
    assert "#    make requirements\n" in text


def test_image_installs_only_packages_with_hashes():
    commands = re.findall(r"pip (?:--python \S+ )?install (.+)", DOCKERFILE.replace("\\\n", " "))
    packages, wheel = commands[0].split("&&")[0], commands[-1]
    assert len(re.findall(r"--require-hashes +--requirement requirements", " ".join(commands))) == 2
    assert "--require-hashes" in packages
    assert wheel.split() == ["--no-deps", "dist/*.whl"]


def test_image_version_matches_the_project():
    assert re.findall(r"^ARG VERSION=(.+)$", DOCKERFILE, re.MULTILINE) == [PROJECT["version"]]
    own = {tag for name in SERVICES for tag in [SERVICES[name]["image"]] if "silhouette:" in tag}
    assert own == {f"silhouette:{PROJECT['version']}"}
    for overlay in OVERLAYS:
        images = kustomization(f"overlays/{overlay}")["images"]
        tags = {image["name"]: image["newTag"] for image in images}
        assert tags["silhouette"] == PROJECT["version"]


def test_image_licence_matches_the_project():
    assert re.findall(r'image\.licenses="(.+)"', DOCKERFILE) == [PROJECT["license"]]


def test_image_copies_models_before_building_the_wheel():
    models = DOCKERFILE.index("COPY model_repository model_repository")
    assert models < DOCKERFILE.index("pip wheel")


def test_wheel_holds_types_and_published_models():
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "silhouette_seg/py.typed" in files
    assert {path.partition("/")[0] for path in files} == {"silhouette_seg"}
    specs = (ROOT / "model_repository").glob("*/spec.json")
    assert {path for path in files if "model_repository" in path} == {
        f"silhouette_seg/model_repository/{spec.parent.name}/{name}"
        for spec in specs
        for name in ("1/model.onnx", "CARD.md", "config.pbtxt", "configs/cpu.pbtxt", "spec.json")
    }


@pytest.fixture
def check_models():
    """Function `check` of deploy/check_models.py, which the image build runs."""
    return load_script("check_models").check


def test_repository_weights_match_their_specs(check_models):
    assert "connectnet" in check_models(ROOT / "model_repository")


def test_image_build_rejects_changed_weights(check_models, tmp_path):
    (tmp_path / "net/1").mkdir(parents=True)
    weights = tmp_path / "net/1/model.onnx"
    weights.write_bytes(b"weights")
    spec = {"name": "net", "version": 1, "sha256": sha256(b"weights").hexdigest()}
    (tmp_path / "net/spec.json").write_text(json.dumps(spec))
    assert check_models(tmp_path) == ["net"]
    weights.write_bytes(b"changed")
    with pytest.raises(ValueError, match="sha256"):
        check_models(tmp_path)


def test_image_build_rejects_repository_without_models(check_models, tmp_path):
    with pytest.raises(ValueError, match="no model"):
        check_models(tmp_path)


# The compose file


def test_compose_starts_only_the_gateway_by_default():
    profiles = {
        name: tuple(service.get("profiles", ())) for name, service in COMPOSE["services"].items()
    }
    assert [name for name, required in profiles.items() if not required] == ["gateway"]
    assert set(profiles.values()) == {(), ("gpu",), ("monitoring",)}


@pytest.mark.parametrize("name", SERVICES)
def test_container_is_read_only_without_capabilities(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_image_tag_is_a_release(name):
    image = re.sub(r"\$\{\w+:-(.+)\}", r"\1", SERVICES[name]["image"])
    assert re.fullmatch(r".+:v?\d+\.\d+[\w.-]*", image)


@pytest.mark.parametrize("name", SERVICES)
def test_published_ports_bind_to_loopback(name):
    ports = [re.sub(r"\$\{\w+:-(.+?)\}", r"\1", port) for port in SERVICES[name].get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", ["triton", "triton-cpu"])
def test_triton_network_is_internal_to_gateway(name):
    assert "ports" not in SERVICES[name]
    assert list(SERVICES[name]["networks"]) == ["inner"]
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert "inner" in SERVICES["gateway"]["networks"]


@pytest.mark.parametrize("name", ["triton", "triton-cpu"])
def test_triton_cannot_change_the_models(name):
    assert "./model_repository:/models:ro" in SERVICES[name]["volumes"]
    assert "--model-control-mode=none" in SERVICES[name]["command"]
    assert SERVICES[name]["user"] == "1000:1000"
    assert parse_seconds(SERVICES[name]["shm_size"].replace("m", "s")) >= 256


@pytest.mark.parametrize("name", ["gateway", "triton", "triton-cpu"])
def test_stop_grace_period_exceeds_the_drain(name):
    needed = DRAIN_S if name == "gateway" else TRITON_EXIT_S
    assert parse_seconds(SERVICES[name]["stop_grace_period"]) > needed
    if name != "gateway":
        assert f"--exit-timeout-secs={TRITON_EXIT_S}" in SERVICES[name]["command"]


def test_triton_has_gpu_and_slow_start_healthcheck():
    triton = SERVICES["triton"]
    [device] = triton["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert triton["healthcheck"]["test"][-1].endswith("/v2/health/ready")
    assert parse_seconds(triton["healthcheck"]["start_period"]) >= 600


@pytest.mark.parametrize(
    "file",
    [
        "docker-compose.yml",
        "deploy/triton-cpu.yml",
        "deploy/kubernetes/overlays/gpu/kustomization.yaml",
    ],
)
def test_triton_release_matches_generated_configurations(file):
    text = (ROOT / file).read_text()
    assert set(re.findall(r"(\d\d\.\d\d)-py3", text)) == {TRITON_RELEASE}


def test_compose_volume_holds_the_engine_cache():
    volume, _, mount = SERVICES["triton"]["volumes"][1].partition(":")
    init = SERVICES["engine-cache"]
    assert init["volumes"] == [f"{volume}:{mount}"]
    assert volume in COMPOSE["volumes"]
    assert init["entrypoint"][-1] == CACHE_VOLUME
    assert Path(CACHE_VOLUME).is_relative_to(mount)


def test_gateway_variables_of_compose_are_settings():
    variables = {*SERVICES["gateway"]["environment"], *TRITON_CPU["gateway"]["environment"]}
    assert variables <= {PREFIX + name.upper() for name in Settings.model_fields}


def read_gpu_env():
    """Returns the variables of deploy/gpu.env."""
    lines = (DEPLOY / "gpu.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_gpu_env_switches_gateway_to_tensorrt():
    variables = read_gpu_env()
    assert variables.pop("COMPOSE_PROFILES") == "gpu"
    assert variables == {**TRITON_CPU["gateway"]["environment"], "SILHOUETTE_DEVICE": "tensorrt"}
    assert variables.keys() <= SERVICES["gateway"]["environment"].keys()


@pytest.mark.parametrize(
    ("environment", "device", "file"),
    [
        (read_gpu_env(), "tensorrt", "config.pbtxt"),
        (gpu_environment(), "tensorrt", "config.pbtxt"),
        (TRITON_CPU["gateway"]["environment"], "cpu", "configs/cpu.pbtxt"),
    ],
    ids=["gpu.env", "kubernetes", "triton-cpu.yml"],
)
def test_gateway_device_matches_triton_configuration(environment, device, file):
    assert environment["SILHOUETTE_DEVICE"] == device
    config = (ROOT / "model_repository/connectnet" / file).read_text()
    assert provider_of(parse(config)) == f"triton:{device}"


@pytest.mark.parametrize(
    "environment", [read_gpu_env(), gpu_environment()], ids=["gpu.env", "kubernetes"]
)
def test_gpu_deployment_allows_no_degraded_engine(environment):
    assert is_degraded("triton:cpu", environment["SILHOUETTE_DEVICE"])
    assert is_degraded("triton:cuda", environment["SILHOUETTE_DEVICE"])
    assert "SILHOUETTE_ALLOW_DEGRADED" not in environment


# Monitoring


def test_dashboard_panels_use_provisioned_source_and_do_not_overlap():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/silhouette.json").read_text())
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    uids = {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"}
    assert uids == {datasource["uid"] for datasource in source["datasources"]}
    cells = [
        (x, y)
        for position in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))


def test_prometheus_scrapes_the_compose_services():
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    names = {job["dns_sd_configs"][0]["names"][0] for job in config["scrape_configs"]}
    assert names == {"gateway", "triton"}
    assert names <= SERVICES.keys()


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no POSIX shell")
def test_build_script_has_valid_syntax():
    subprocess.run(["sh", "-n", DEPLOY / "build-engines.sh"], check=True)
