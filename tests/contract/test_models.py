"""Contract of every architecture, and ConnectNet's counts against the published network."""

import io

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from silhouette_seg.vision.geometry import Size
from tests.support.networks import (
    all_outputs,
    count_parameters,
    image_batch,
    input_size,
    inputs,
    modules_of_type,
    multiply_adds,
    output_shapes,
    with_batch_norm_statistics,
)
from training.evaluation.onnx_model import open_onnx
from training.export.__main__ import export_onnx
from training.export.parity import ParityError, check_parity
from training.export.parity import parity_inputs as made_inputs
from training.models import BUILDERS, build_model, deploy_form
from training.models.blocks import upsample_to
from training.models.connectnet import ConnectNet, ConnectNetConfig, DownBlock, ShuffleBlock
from training.models.deployed import DeployedSegmenter

pytestmark = pytest.mark.filterwarnings(
    # two inputs share the batch axis, which is what they should
    "ignore:# The axis name. batch will not be used:UserWarning"
)

ARCHITECTURES = sorted(BUILDERS.keys() - {"face_detector"})
"""Architectures that map an image to a mask."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, network_of):
    return network_of(name)


@pytest.fixture(scope="module")
def exported(name, file_of):
    return file_of(name)


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    """Asserts equality within the rounding of single precision, as a share of the range."""
    spread = (other.max() - other.min()).item()
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * spread)


class TestEveryArchitecture:
    def test_gradients_reach_every_trainable_parameter(self, name):
        torch.manual_seed(0)
        model = build_model(name, {}).train()
        given = inputs(model, 4)
        answers = all_outputs(model, *given)
        torch.stack(
            [(output * torch.randn_like(output)).sum() for output in answers]
        ).sum().backward()
        without = [
            name
            for name, p in model.named_parameters()
            if p.requires_grad and (p.grad is None or not p.grad.any())
        ]
        assert without == []

    def test_model_logits_have_the_size_of_the_image(self, model):
        assert model(*inputs(model, 3)).shape == (3, 2, *input_size(model))

    def test_saved_and_loaded_model_has_the_same_output(self, name, model):
        saved, given = io.BytesIO(), inputs(model, 1)
        torch.save(model.state_dict(), saved)
        saved.seek(0)
        other = build_model(name, {}).eval()
        assert not torch.equal(other(*given), model(*given))
        other.load_state_dict(torch.load(saved, weights_only=True))
        assert torch.equal(other(*given), model(*given))

    def test_evaluation_is_deterministic_and_changes_no_state(self, model):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        given = inputs(model, 2)
        assert torch.equal(model(*given), model(*given))
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_batch_output_equals_that_of_its_rows(self, model):
        given = inputs(model, 8)
        alone = torch.cat([model(*(part[[row]] for part in given)) for row in range(8)])
        assert_close(model(*given), alone)

    def test_different_images_have_different_outputs(self, model):
        one, other = model(*inputs(model, 2))
        assert (one - other).abs().max() > 0.1

    def test_deploy_form_is_the_same_function(self, model):
        given = inputs(model, 8)
        assert_close(deploy_form(model)(*given), model(*given))

    def test_deploy_form_leaves_the_original_unchanged(self, model):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        deploy_form(model)
        assert model.state_dict().keys() == before.keys()
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_exported_model_agrees_with_torch(self, model, exported, batch):
        given = made_inputs(model, input_size(model), count=batch)
        alpha = open_onnx(exported)(given)
        expected = DeployedSegmenter(model)(
            *(torch.from_numpy(value) for value in given.values())
        ).numpy()
        assert alpha.shape == (batch, *input_size(model))
        assert alpha.dtype == expected.dtype == np.uint8
        assert np.ptp(alpha) > 50, "a flat answer would agree with anything"
        np.testing.assert_allclose(alpha, expected, rtol=0, atol=1)

    def test_verify_accepts_the_file_and_rejects_another(self, name, model, exported):
        assert check_parity(model, exported, input_size(model)) <= 1
        with pytest.raises(ParityError, match="differs from torch"):
            check_parity(
                with_batch_norm_statistics(build_model(name, {}), seed=1),
                exported,
                input_size(model),
            )

    def test_exported_file_contains_no_path_and_no_external_data(self, exported):
        assert b".py" not in exported.read_bytes()
        assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("larger", [(24, 40), (21, 35), (12, 35), (13, 19), (6, 10), (1, 1)])
def test_upsampling_has_the_size_of_the_target(larger):
    x = image_batch(2, (12, 20)) if larger[0] % 12 == 0 else image_batch(2, (7, 5))
    expected = F.interpolate(x, size=larger, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample_to(x, torch.zeros(1, 1, *larger)), expected)


def test_exported_files_upsample_by_constant_factors(network_of, file_of, tmp_path):
    """Sizes make ONNX Runtime leave its blocked layout: a fifth of ConnectNet's time."""
    even = tmp_path / "model.onnx"
    export_onnx(deploy_form(network_of("connectnet")), (64, 96), even)
    for file in (even, file_of("trisenet")):
        graph = onnx.load(file).graph
        constants = {tensor.name for tensor in graph.initializer}
        resizes = [node for node in graph.node if node.op_type == "Resize"]
        assert resizes
        assert all(len(node.input) == 3 and node.input[2] in constants for node in resizes)


class Whispering(nn.Module):
    """Network with rows that depend on their neighbours."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        louder = (image - image.mean(dim=0, keepdim=True)) / 50
        return torch.cat([-louder[:, :1], louder[:, :1]], dim=1)


@pytest.mark.export
def test_verify_rejects_a_batch_that_differs_from_its_rows(tmp_path):
    file = tmp_path / "model.onnx"
    export_onnx(Whispering(), (16, 16), file)
    with pytest.raises(ParityError, match="other values for a batch than for its rows"):
        check_parity(Whispering(), file, (16, 16))


def test_unknown_architecture_and_option_are_rejected():
    with pytest.raises(KeyError):
        build_model("abacus", {})
    with pytest.raises(TypeError, match="beads"):
        build_model("connectnet", {"beads": 10})


def stages(model: ConnectNet) -> dict[str, nn.Module]:
    """Returns the rows of the published table."""
    return {
        "stem": model.stem,
        "skip": model.skip,
        "pool": model.pool,
        "block1": model.encoder[:4],
        "block2": model.encoder[4:],
        "d0": model.bottleneck,
        "d1": model.head[0],
        "d2": model.head[1],
    }


class TestConnectNet:
    @pytest.mark.parametrize("logits_relu", [True, False])
    def test_connectnet_parameter_counts_are_the_published_ones(self, logits_relu):
        model = ConnectNet(ConnectNetConfig(logits_relu=logits_relu))
        assert count_parameters(model) == 131_766
        assert {name: count_parameters(stage) for name, stage in stages(model).items()} == {
            "stem": 1_044,
            "skip": 684,
            "pool": 0,
            "block1": 14_292,
            "block2": 97_704,
            "d0": 10_928,
            "d1": 6_278,
            "d2": 836,
        }

    @pytest.mark.parametrize(
        ("size_hw", "expected"),
        [
            pytest.param((192, 192), [96, 96, 48, 24, 12, 12, 96, 96], id="192x192"),
            pytest.param((224, 398), [112, 112, 56, 28, 14, 14, 112, 112], id="224x398"),
            pytest.param((96, 160), [48, 48, 24, 12, 6, 6, 48, 48], id="96x160"),
        ],
    )
    def test_connectnet_heights_of_feature_maps_match(self, size_hw, expected):
        shapes = shapes_of_stages(size_hw)
        assert [height for _, height, _ in shapes.values()] == expected

    def test_connectnet_shapes_with_odd_sides_match(self):
        assert shapes_of_stages((224, 398)) == {
            "stem": (36, 112, 199),
            "skip": (18, 112, 199),
            "pool": (36, 56, 100),
            "block1": (72, 28, 50),
            "block2": (144, 14, 25),
            "d0": (64, 14, 25),
            "d1": (64, 112, 199),
            "d2": (2, 112, 199),
        }

    @pytest.mark.parametrize("size_hw", [(192, 192), (224, 398), (96, 160), (37, 51)])
    def test_connectnet_logits_have_the_size_of_the_image(self, size_hw):
        with torch.inference_mode():
            assert ConnectNet().eval()(torch.zeros(1, 3, *size_hw)).shape == (1, 2, *size_hw)

    @pytest.mark.parametrize(("size_hw", "millions"), [((192, 192), 103.76), ((224, 398), 251.26)])
    @pytest.mark.parametrize("logits_relu", [True, False])
    def test_connectnet_multiply_adds_are_the_published_ones(self, size_hw, millions, logits_relu):
        model = ConnectNet(ConnectNetConfig(logits_relu=logits_relu))
        image = torch.zeros(1, 3, *size_hw)
        (count,) = multiply_adds(model.eval(), lambda: model(image), [model])
        assert count / 1e6 == pytest.approx(millions, abs=0.005)

    def test_connectnet_last_relu_depends_on_the_option(self):
        model = with_batch_norm_statistics(build_model("connectnet", {}))
        free = ConnectNet(ConnectNetConfig(logits_relu=False)).eval()
        free.load_state_dict(model.state_dict())
        images = image_batch(1, (48, 66))
        raw = free.half_resolution_logits(images)
        assert raw.min() < 0
        torch.testing.assert_close(model.half_resolution_logits(images), raw.clamp(min=0))

    def test_connectnet_stem_receives_pixels_in_minus_one_to_one(self):
        model, seen = ConnectNet().eval(), []
        model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model(torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1).expand(-1, -1, 32, 32))
        assert [channel.unique().tolist() for channel in seen[0][0]] == [[-1], [0], [1]]

    def test_connectnet_initial_weights_are_the_published_ones(self):
        torch.manual_seed(0)
        model = ConnectNet()
        weights = torch.cat([m.weight.flatten() for m in modules_of_type(model, nn.Conv2d)])
        assert weights.std().item() == pytest.approx(0.001, rel=0.02)
        for norm in modules_of_type(model, nn.BatchNorm2d):
            assert (norm.weight == 1).all()
            assert (norm.bias == 0).all()
            assert norm.eps == 1e-5


def test_shuffle_block_interleaves_kept_and_computed_halves():
    block = ShuffleBlock(6)
    block.work = Plus(10)
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert block(channels).flatten().tolist() == [0, 13, 1, 14, 2, 15]


def test_shuffle_block_computes_only_the_last_half():
    block = ShuffleBlock(8).eval()
    image = torch.rand(1, 8, 5, 5)
    assert torch.equal(block(image)[:, ::2], image[:, :4])


def test_down_block_interleaves_from_the_shortcut_on():
    block = DownBlock(3, 6)
    block.shortcut, block.work = Plus(0), Plus(10)
    channels = torch.arange(3.0).view(1, 3, 1, 1)
    assert block(channels).flatten().tolist() == [0, 10, 1, 11, 2, 12]


class Plus(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.number


def shapes_of_stages(size_hw: Size) -> dict[str, tuple[int, ...]]:
    model = ConnectNet().eval()
    ends = {name: last(stage) for name, stage in stages(model).items()}
    return output_shapes(ends, lambda: model(torch.zeros(1, 3, *size_hw)))


def last(stage: nn.Module) -> nn.Module:
    """Returns the last member: a slice of a Sequential is a new module without calls."""
    return stage[-1] if isinstance(stage, nn.Sequential) else stage


def test_deploy_form_of_connectnet_has_whole_blocks():
    model = ConnectNet()
    wide = deploy_form(model)
    channels = wide.head[0][0][0].in_channels
    assert channels % 16 == 0
    assert channels > model.head[0][0][0].in_channels
