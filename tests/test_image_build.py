"""Checks the scripts that the image build runs on the installed packages."""

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.deployment import ROOT, load_script

slim_packages = load_script("slim_packages")
check_packages = load_script("check_packages")
sbom = load_script("sbom")

OPENCV = "opencv_python_headless.libs"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# Removed files


def test_unused_files_are_removed_and_others_stay(tmp_path):
    kept = {
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
        "numpy/_core/_multiarray_umath.so",
        "pygments/lexers/__init__.py",
        "pygments/lexers/python.py",
        "av/frame.so",
        "attest/tested.py",
    }
    removed = {
        "silhouette_seg/model_repository/unet/1/model.onnx",
        "onnxruntime/tools/convert.py",
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "numpy/linalg/tests/test_linalg.py",
        "numpy/_core/_simd.cpython-311.so",
        "pygments/lexers/lisp.py",
        "pygments/lexers/__pycache__/lisp.cpython-311.pyc",
        "av/frame.pyi",
        "av/frame.pyx",
    }
    write(tmp_path, *kept, *removed)
    slim_packages.remove_unused(tmp_path)
    assert files_of(tmp_path) == kept


def test_libraries_of_wheels_are_no_extension_modules(tmp_path):
    write(tmp_path, "cv2/cv2.abi3.so", f"{OPENCV}/libopenblas.so", "rapidjson.cpython-311.so")
    names = [path.name for path in slim_packages.extension_modules(tmp_path)]
    assert names == ["cv2.abi3.so", "rapidjson.cpython-311.so"]


# Shared libraries


@pytest.fixture
def packages(tmp_path):
    """A folder of packages with the libraries of the wheels of OpenCV, PyAV and Pillow."""
    for folder, names in slim_packages.SHARED.items():
        for name in names:
            write(tmp_path, f"{OPENCV}/lib{name}-aa.so.62.28.101")
            write(tmp_path, f"{folder}/lib{name}-bb.so.62.28.102")
    write(tmp_path, f"{OPENCV}/libvpx-aa.so.11.0.1", "av.libs/libvpx-bb.so.12.0.0")
    write(tmp_path, f"{OPENCV}/libopenblasp-r0.so", f"{OPENCV}/libgfortran-aa.so.5.0.0")
    return tmp_path


def test_opencv_shares_the_libraries_of_pyav_and_pillow(packages):
    slim_packages.share_libraries(packages)
    own = packages / OPENCV
    shared = (packages / "av.libs/libavcodec-bb.so.62.28.102").resolve()
    assert (own / "libavcodec-aa.so.62.28.101").resolve() == shared
    assert (own / "libavcodec-bb.so.62.28.102").resolve() == shared
    assert (own / "libavif-aa.so.62.28.101").resolve().parent == packages / "pillow.libs"
    assert not (own / "libvpx-aa.so.11.0.1").exists()
    assert (own / "libvpx-bb.so.12.0.0").resolve() == packages / "av.libs/libvpx-bb.so.12.0.0"


def test_library_with_another_major_version_is_not_shared(packages):
    (packages / "av.libs/libavcodec-bb.so.62.28.102").rename(
        packages / "av.libs/libavcodec-bb.so.63.1.100"
    )
    with pytest.raises(ValueError, match="different major versions"):
        slim_packages.share_libraries(packages)


def test_lapack_of_debian_replaces_openblas(packages, tmp_path):
    system = tmp_path / "usr/lib"
    write(system, "x86_64-linux-gnu/lapack/liblapack.so.3", "x86_64-linux-gnu/blas/libblas.so.3")
    slim_packages.replace_openblas(packages, system)
    own = packages / OPENCV
    assert (own / "libopenblasp-r0.so").read_text() == "x86_64-linux-gnu/lapack/liblapack.so.3"
    assert (own / "libblas.so.3").read_text() == "x86_64-linux-gnu/blas/libblas.so.3"
    assert (own / "libgfortran.so.5").resolve() == own / "libgfortran-aa.so.5.0.0"


def test_missing_lapack_ends_the_build(packages, tmp_path):
    with pytest.raises(ValueError, match="unpack"):
        slim_packages.replace_openblas(packages, tmp_path / "empty")


def test_build_imports_modules_after_removing_files():
    steps = [
        DOCKERFILE.index(name) for name in ("RUN python slim_packages", "check_packages.py \\")
    ]
    assert steps == sorted(steps)


def test_module_names_skip_libraries_of_wheels(tmp_path):
    write(
        tmp_path,
        "grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so",
        "rapidjson.cpython-311-x86_64-linux-gnu.so",
        "cv2/cv2.abi3.so",
        f"{OPENCV}/libopenblas.so",
    )
    names = list(check_packages.module_names(tmp_path))
    assert names == ["grpc._cython.cygrpc", "rapidjson"]


# The bill of materials


def bill_of(*components: dict) -> str:
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    return json.dumps(bill)


@pytest.fixture
def debian(monkeypatch):
    monkeypatch.setattr(sbom, "debian_version", lambda package: "3.11.0-2")


def test_bill_of_materials_lists_models_with_digest_and_licence(tmp_path, debian):
    package = {"type": "library", "name": "protobuf", "version": "6.33.6", "bom-ref": "protobuf"}
    (tmp_path / "packages.json").write_text(bill_of(package))
    output = tmp_path / "sbom.json"
    sbom.main(tmp_path / "packages.json", ROOT / "model_repository", output)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(output.read_text()) is None
    components = {each["name"]: each for each in json.loads(output.read_text())["components"]}
    specs = [json.loads(file.read_text()) for file in ROOT.glob("model_repository/*/spec.json")]
    for spec in specs:
        component = components.pop(spec["name"])
        assert component["hashes"] == [{"alg": "SHA-256", "content": spec["sha256"]}]
        [licence] = component["licenses"]
        assert licence["license"]["text"]["content"] == spec["licence"]
    assert components.keys() == {"protobuf", "liblapack3", "libblas3"}
    assert components["protobuf"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]


def test_package_without_licence_ends_the_build():
    with pytest.raises(ValueError, match="nameless states no licence"):
        sbom.state_licence({"type": "library", "name": "nameless"})


def test_stated_licence_is_kept():
    component = {"name": "protobuf", "licenses": [{"license": {"id": "MIT"}}]}
    assert sbom.state_licence(component) is component


def test_image_contains_the_bill_of_materials():
    [path] = [word for word in DOCKERFILE.split() if word.endswith("/sbom.cdx.json")]
    assert path.startswith("/opt/silhouette/")
    assert "COPY --from=build /opt/silhouette /opt/silhouette" in DOCKERFILE
    assert path in (ROOT / "docs/deploy.md").read_text()
