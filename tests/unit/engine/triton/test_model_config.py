"""Verification of the server's model against the spec and the required device."""

import pytest
from grpc import StatusCode

from silhouette_seg.engine.base import is_degraded
from silhouette_seg.engine.triton.model_config import config_differences, provider_of
from silhouette_seg.errors import (
    EngineDown,
    EngineFailed,
)
from tests.support.fake_triton import FakeTriton, model_config_of, serve_triton
from tests.support.tiny_model import tiny_spec
from tests.unit.engine.inputs import SPEC, SPECS, photo


class TestVerification:
    """Comparison of the server's model with the spec."""

    @pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
    def test_generated_configuration_has_no_differences(self, spec):
        assert config_differences(spec, model_config_of(spec)) == []

    @pytest.mark.parametrize(
        ("change", "difference"),
        [
            (
                lambda c: c.input[0].dims.__setitem__(0, 99),
                "input image is UINT8 [-1, 99, 32, 3] and should be UINT8 [-1, 24, 32, 3]",
            ),
            (
                lambda c: setattr(c.input[0], "data_type", 11),
                "input image is FP32 [-1, 24, 32, 3] and should be UINT8 [-1, 24, 32, 3]",
            ),
            (
                lambda c: setattr(c.output[0], "name", "matte"),
                "output alpha is missing and should be UINT8 [-1, 24, 32]",
            ),
            (
                lambda c: setattr(c.output[0], "name", "matte"),
                "output matte is UINT8 [-1, 24, 32] and should be absent",
            ),
            (
                lambda c: c.input[1].dims.append(2),
                "input domain is INT64 [-1, 1, 2] and should be INT64 [-1, 1]",
            ),
            (
                lambda c: c.input.pop(),
                "input domain is missing and should be INT64 [-1, 1]",
            ),
            (
                lambda c: setattr(c, "max_batch_size", 4),
                "max_batch_size is 4 and should be 8",
            ),
        ],
    )
    async def test_mismatch_raises_and_names_the_difference(
        self, triton, connect, port, change, difference
    ):
        change(triton.configs["md_trisenet"])
        engine = connect(port, tiny_spec("md_trisenet"))
        with pytest.raises(EngineFailed) as caught:
            await engine.check_ready()
        assert difference in caught.value.detail
        assert "spec.json" in caught.value.detail
        with pytest.raises(EngineFailed):
            await engine.infer(photo(spec=engine.spec))
        assert triton.calls == []

    @pytest.mark.parametrize(("digest", "differs"), [(SPEC.sha256, False), ("1" * 64, True)])
    def test_digest_in_the_configuration_must_be_that_of_the_spec(self, digest, differs):
        config = model_config_of(SPEC)
        config.parameters["sha256"].string_value = digest
        assert ("sha256" in "".join(config_differences(SPEC, config))) is differs

    def test_server_may_have_a_larger_batch_size(self):
        config = model_config_of(SPEC)
        config.max_batch_size = 64
        assert config_differences(SPEC, config) == []

    async def test_missing_model_raises_engine_failed(self, connect, port):
        with pytest.raises(EngineFailed, match="does not have"):
            await connect(port, tiny_spec("stranger")).check_ready()

    async def test_unready_model_is_down_until_it_is_ready(self, triton, engine):
        triton.ready = False
        with pytest.raises(EngineDown, match="not ready"):
            await engine.check_ready()
        triton.ready = True
        await engine.check_ready()

    async def test_server_is_verified_again_after_it_was_lost(self, triton, engine):
        await engine.infer(photo())
        triton.configs["connectnet"].input[0].dims[0] = 99
        triton.failures = [(StatusCode.UNAVAILABLE, "Socket closed")]
        with pytest.raises(EngineFailed, match="99"):
            await engine.infer(photo())
        assert len(triton.calls) == 2


def use_tensorrt_plan(config):
    config.backend = "tensorrt"
    del config.optimization.execution_accelerators.gpu_execution_accelerator[:]


def add_cpu_instance(config):
    config.instance_group.add(kind=2, count=1)


class TestDevice:
    @pytest.mark.parametrize(
        ("gpu", "change", "provider"),
        [
            (False, lambda c: None, "triton:cpu"),
            (True, lambda c: None, "triton:tensorrt"),
            (True, use_tensorrt_plan, "triton:tensorrt"),
            (True, lambda c: c.ClearField("optimization"), "triton:cuda"),
            (True, add_cpu_instance, "triton:cpu"),
            (True, lambda c: c.ClearField("instance_group"), "triton:cpu"),
        ],
    )
    def test_provider_is_read_from_the_configuration(self, gpu, change, provider):
        config = model_config_of(SPEC, gpu=gpu)
        change(config)
        assert provider_of(config) == provider

    @pytest.mark.parametrize(
        ("provider", "device", "degraded"),
        [
            ("CPUExecutionProvider", "cpu", False),
            ("CPUExecutionProvider", "cuda", True),
            ("CUDAExecutionProvider", "cuda", False),
            ("CUDAExecutionProvider", "tensorrt", True),
            ("TensorrtExecutionProvider", "cuda", False),
            ("triton:tensorrt", "tensorrt", False),
            ("triton:cuda", "tensorrt", True),
            ("triton:cpu", "cuda", True),
            ("triton", "cuda", True),
            ("triton", "cpu", False),
            ("CoreMLExecutionProvider", "coreml", False),
            ("DmlExecutionProvider", "directml", False),
            ("MIGraphXExecutionProvider", "rocm", False),
            ("CPUExecutionProvider", "coreml", True),
            ("CPUExecutionProvider", "directml", True),
            ("CPUExecutionProvider", "rocm", True),
        ],
    )
    def test_provider_slower_than_device_is_degraded(self, provider, device, degraded):
        assert is_degraded(provider, device) is degraded

    @pytest.mark.parametrize("device", ["cuda", "tensorrt"])
    async def test_slower_device_than_required_raises(self, connect, port, device):
        engine = connect(port, device=device)
        with pytest.raises(EngineFailed, match=f"requires {device} and runs on triton:cpu"):
            await engine.check_ready()
        assert engine.provider == "triton"

    async def test_allowed_slower_device_is_the_provider(self, connect, port):
        engine = connect(port, device="tensorrt", allow_degraded=True)
        await engine.infer(photo())
        assert engine.provider == "triton:cpu"

    async def test_faster_device_than_required_is_accepted(self, connect):
        async with serve_triton(FakeTriton(SPECS, gpu=True)) as port:
            engine = connect(port)
            await engine.check_ready()
            assert engine.provider == "triton:tensorrt"
