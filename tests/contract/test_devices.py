"""Devices of the ONNX Runtime engine: their providers, their limits, and errors without one."""

from pathlib import Path

import onnxruntime
import pytest

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.base import Engine
from silhouette_seg.engine.onnx import PROVIDERS, max_runs, session_options
from silhouette_seg.errors import EngineFailed
from silhouette_seg.spec import load_spec
from tests.support.tiny_model import write_tiny_model


@pytest.fixture
def repository(tmp_path) -> Path:
    write_tiny_model(tmp_path)
    return tmp_path


def open_on(device: str, repository: Path) -> Engine:
    return open_engine("onnx", load_spec(repository / "connectnet"), repository, device=device)


@pytest.mark.parametrize(
    ("device", "distribution"),
    [
        ("cuda", "onnxruntime-gpu"),
        ("tensorrt", "onnxruntime-gpu"),
        ("coreml", "onnxruntime for macOS"),
        ("directml", "onnxruntime-directml for Windows"),
        ("rocm", "onnxruntime-migraphx for Linux"),
    ],
)
def test_missing_device_raises_and_names_distribution(repository, device, distribution):
    if PROVIDERS[device][0] in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the provider")
    with pytest.raises(EngineFailed, match=f"without .*{PROVIDERS[device][0]}") as caught:
        open_on(device, repository)
    assert caught.value.detail.endswith(
        f"The device {device} needs the distribution {distribution}"
    )


def test_providers_are_names_of_onnx_runtime():
    named = {name for names in PROVIDERS.values() for name in names}
    assert named <= set(onnxruntime.get_all_providers())


def test_directml_runs_one_batch_without_memory_pattern():
    assert max_runs("directml", 4) == 1
    assert session_options("directml").enable_mem_pattern is False


def test_other_devices_run_as_many_batches_as_threads():
    for device in PROVIDERS.keys() - {"directml"}:
        assert max_runs(device, 4) == 4
        assert session_options(device).enable_mem_pattern is True


def test_unknown_device_raises_value_error(repository):
    with pytest.raises(ValueError, match="abacus"):
        open_on("abacus", repository)
