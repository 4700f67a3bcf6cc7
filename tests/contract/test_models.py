"""What every architecture promises, and ConnectNet's counts against the published network."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from service.vision.geometry import Size
from training.export import export_onnx
from training.models import BUILDERS, build_model, deploy_form
from training.models.connectnet import ConnectNet, ConnectNetConfig, DownBlock, ShuffleBlock
from training.models.deployed import Deployed
from training.onnx_model import open_onnx
from training.verify import Mismatch, verify
from training.verify import test_images as scenes

SIZE: Size = (48, 66)
"""A side that is odd after two halvings."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seasoned(name: str, seed: int = 0) -> nn.Module:
    """In evaluation mode, with batch norm statistics of real activations: answers then vary."""
    torch.manual_seed(seed)
    model = build_model(name, {})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        for _ in range(3):
            model.train()(pictures(4))
    return model.eval()


def pictures(count: int, size_hw: Size = SIZE) -> torch.Tensor:
    """float32 [count,3,H,W], 0..255."""
    return torch.from_numpy(scenes(size_hw, count=count)).permute(0, 3, 1, 2).float()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module", params=sorted(BUILDERS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return seasoned(name)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(model, SIZE, file)
    return file


class TestEveryArchitecture:
    def test_gradients_reach_every_parameter(self, name):
        model = build_model(name, {}).train()
        logits = model(pictures(2))
        assert logits.shape == (2, 2, *SIZE)
        (logits * torch.randn_like(logits)).sum().backward()
        without = [
            name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
        ]
        assert without == []

    def test_saved_and_loaded_it_answers_the_same(self, name, model):
        saved = io.BytesIO()
        torch.save(model.state_dict(), saved)
        saved.seek(0)
        other = build_model(name, {}).eval()
        assert not torch.equal(other(pictures(1)), model(pictures(1)))
        other.load_state_dict(torch.load(saved, weights_only=True))
        assert torch.equal(other(pictures(1)), model(pictures(1)))

    def test_evaluation_repeats_itself_and_changes_no_state(self, model):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert torch.equal(model(pictures(2)), model(pictures(2)))
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_a_batch_is_its_rows(self, model):
        images = pictures(5)
        alone = torch.cat([model(image[None]) for image in images])
        torch.testing.assert_close(model(images), alone, rtol=0, atol=1e-4)

    def test_different_pictures_get_different_answers(self, model):
        one, other = model(pictures(2))
        assert (one - other).abs().max() > 0.1

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_exported_it_agrees_with_torch(self, model, exported, batch):
        images = scenes(SIZE, count=batch)
        alpha = open_onnx(exported)(images)
        expected = Deployed(model)(torch.from_numpy(images)).numpy()
        assert alpha.shape == (batch, *SIZE)
        assert alpha.dtype == expected.dtype == np.uint8
        assert np.ptp(alpha) > 50, "a flat answer would agree with anything"
        np.testing.assert_allclose(alpha, expected, rtol=0, atol=1)

    def test_verify_passes_the_file_and_no_other(self, name, model, exported):
        assert verify(model, exported, SIZE) <= 1
        with pytest.raises(Mismatch, match="differs from torch"):
            verify(seasoned(name, seed=1), exported, SIZE)

    def test_an_exported_file_names_no_path_and_stands_alone(self, exported):
        assert b".py" not in exported.read_bytes()
        assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]


class Whispering(nn.Module):
    """Every row depends on its neighbours."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        louder = (image - image.mean(dim=0, keepdim=True)) / 50
        return torch.cat([-louder[:, :1], louder[:, :1]], dim=1)


def test_verify_refuses_a_batch_that_is_not_its_rows(tmp_path):
    file = tmp_path / "model.onnx"
    export_onnx(Whispering(), (16, 16), file)
    with pytest.raises(Mismatch, match="batch otherwise than its rows"):
        verify(Whispering(), file, (16, 16))


def test_unknown_architecture_and_option_are_refused():
    with pytest.raises(KeyError):
        build_model("abacus", {})
    with pytest.raises(TypeError, match="beads"):
        build_model("connectnet", {"beads": 10})


def stages(model: ConnectNet) -> dict[str, nn.Module]:
    """The rows of the published table."""
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
    def test_parameters_are_the_published_ones(self, logits_relu):
        model = ConnectNet(ConnectNetConfig(logits_relu=logits_relu))
        assert parameters(model) == 131_766
        assert {name: parameters(stage) for name, stage in stages(model).items()} == {
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
    def test_heights_along_the_way(self, size_hw, expected):
        shapes = shapes_of_stages(size_hw)
        assert [height for _, height, _ in shapes.values()] == expected

    def test_shapes_with_odd_sides(self):
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
    def test_logits_have_the_size_of_the_image(self, size_hw):
        with torch.inference_mode():
            assert ConnectNet().eval()(torch.zeros(1, 3, *size_hw)).shape == (1, 2, *size_hw)

    @pytest.mark.parametrize(("size_hw", "millions"), [((192, 192), 103.76), ((224, 398), 251.26)])
    @pytest.mark.parametrize("logits_relu", [True, False])
    def test_multiply_adds_are_the_published_ones(self, size_hw, millions, logits_relu):
        model = ConnectNet(ConnectNetConfig(logits_relu=logits_relu))
        assert multiply_adds(model, size_hw) / 1e6 == pytest.approx(millions, abs=0.005)

    def test_the_last_relu_is_a_matter_of_the_flag(self):
        model = seasoned("connectnet")
        free = ConnectNet(ConnectNetConfig(logits_relu=False)).eval()
        free.load_state_dict(model.state_dict())
        raw = free.half_resolution_logits(pictures(1))
        assert raw.min() < 0
        torch.testing.assert_close(model.half_resolution_logits(pictures(1)), raw.clamp(min=0))

    def test_pixels_reach_the_stem_as_minus_one_to_one(self):
        model, seen = ConnectNet().eval(), []
        model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model(torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1).expand(-1, -1, 32, 32))
        assert [channel.unique().tolist() for channel in seen[0][0]] == [[-1], [0], [1]]

    def test_initial_weights_are_the_published_ones(self):
        torch.manual_seed(0)
        model = ConnectNet()
        weights = torch.cat([m.weight.flatten() for m in of_kind(model, nn.Conv2d)])
        assert weights.std().item() == pytest.approx(0.001, rel=0.02)
        for norm in of_kind(model, nn.BatchNorm2d):
            assert (norm.weight == 1).all()
            assert (norm.bias == 0).all()
            assert norm.eps == 1e-5


def test_shuffle_block_takes_turns_between_the_kept_and_the_worked_half():
    block = ShuffleBlock(6)
    block.work = Plus(10)
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert block(channels).flatten().tolist() == [0, 13, 1, 14, 2, 15]


def test_shuffle_block_works_on_the_last_half_alone():
    block = ShuffleBlock(8).eval()
    image = torch.rand(1, 8, 5, 5)
    assert torch.equal(block(image)[:, ::2], image[:, :4])


def test_down_block_takes_turns_beginning_with_the_shortcut():
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


def of_kind(model: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kind)]


def shapes_of_stages(size_hw: Size) -> dict[str, tuple[int, ...]]:
    model = ConnectNet().eval()
    ends = {id(last(stage)): name for name, stage in stages(model).items()}
    shapes: dict[str, tuple[int, ...]] = {}

    def note(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        shapes[ends[id(module)]] = tuple(output.shape[1:])

    for stage in stages(model).values():
        last(stage).register_forward_hook(note)
    with torch.inference_mode():
        model(torch.zeros(1, 3, *size_hw))
    return shapes


def last(stage: nn.Module) -> nn.Module:
    """A slice of a Sequential is a new module that nobody calls; its last member is called."""
    return stage[-1] if isinstance(stage, nn.Sequential) else stage


def multiply_adds(model: nn.Module, size_hw: Size) -> int:
    """Of convolutions alone, as the published counts."""
    counts: list[int] = []

    def count(conv: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        counts.append(output[0].numel() * conv.weight[0].numel())

    for conv in of_kind(model, nn.Conv2d):
        conv.register_forward_hook(count)
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, *size_hw))
    return sum(counts)


def test_deploy_form_of_connectnet_is_the_same_function_in_whole_blocks():
    model = seasoned("connectnet").eval()
    wide = deploy_form(model)
    channels = wide.head[0][0][0].in_channels
    assert channels % 16 == 0
    assert channels > model.head[0][0][0].in_channels
    images = torch.rand(2, 3, 64, 96) * 255
    with torch.inference_mode():
        torch.testing.assert_close(wide(images), model(images), atol=1e-5, rtol=1e-5)
