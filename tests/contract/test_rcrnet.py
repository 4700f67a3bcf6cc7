"""Contract of RCRNet: published counts, shapes, and an equal fused form."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests.support.networks import (
    count_parameters,
    modules_of_type,
    multiply_adds,
    output_shapes,
    with_batch_norm_statistics,
)
from training.models.rcrnet import (
    RCR,
    VARIANTS,
    Down,
    PortraitUp,
    RCRNet,
    RCRNetConfig,
    Residual,
    Up,
    deploy_form,
    reparameterise,
)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


WITHOUT_PRIOR = {
    name: RCRNetConfig(
        rcr_decoder=config.rcr_decoder, bypass=config.bypass, neck=config.neck, prior=False
    )
    for name, config in VARIANTS.items()
}


def on_paper(config: RCRNetConfig) -> RCRNet:
    """Builds the network on the meta device: shapes without values."""
    with torch.device("meta"):
        return RCRNet(config).eval()


def image(side: int = 224) -> torch.Tensor:
    return torch.zeros(1, 3, side, side, device="meta")


def stages(model: RCRNet) -> dict[str, nn.Module]:
    """Returns the rows of the table."""
    names = ["E1", "E2", "E3", "E4", "E5", "D5", "D4", "D3", "D2"]
    stages = dict(zip(names, [*model.encoder, *model.decoder], strict=True))
    return stages | {
        "stem": model.stem,
        "neck": model.neck,
        "bypass": model.bypass,
        "FFM": model.fuse,
        "D1": model.last,
        "pred": model.pred,
    }


@pytest.mark.parametrize(
    ("variant", "trained", "deployed"),
    [
        ("dagger", 610_992, 601_152),
        ("ddagger", 615_256, 600_464),
        ("diamond", 614_480, 604_304),
        ("star", 781_304, 763_376),
    ],
)
def test_rcrnet_parameter_counts_match_the_table(variant, trained, deployed):
    model = on_paper(VARIANTS[variant])
    assert count_parameters(model) - count_parameters(model.edge_head) == trained
    assert count_parameters(deploy_form(model)) == deployed
    without = on_paper(WITHOUT_PRIOR[variant])
    assert count_parameters(model) - count_parameters(without) == 144


@pytest.mark.parametrize(
    ("variant", "millions", "without_prior"),
    [
        ("dagger", 156.38, 154.57),
        ("ddagger", 174.65, 172.84),
        ("diamond", 192.51, 190.70),
        ("star", 218.55, 216.74),
    ],
)
def test_deployed_multiply_adds_match_the_paper(variant, millions, without_prior):
    for configs, expected in ((VARIANTS, millions), (WITHOUT_PRIOR, without_prior)):
        served = reparameterise(on_paper(configs[variant]))
        (count,) = multiply_adds(served, lambda net=served: net(image()), [served])
        assert count / 1e6 == pytest.approx(expected, abs=0.005)


def test_deployed_up_multiplies_before_it_doubles():
    served = deploy_form(on_paper(VARIANTS["star"]))
    (count,) = multiply_adds(served, lambda: served(image()), [served])
    late = [(400, 96, 14), (288, 32, 28), (96, 24, 56), (48, 16, 112), (16, 8, 224)]
    spared = sum(0.75 * hidden * out * side**2 for hidden, out, side in late)
    assert count / 1e6 == pytest.approx(218.55 - spared / 1e6, abs=0.005)


@pytest.mark.parametrize("variant", VARIANTS)
def test_edge_head_is_on_the_bypass_or_beside_the_prediction(variant):
    model = on_paper(VARIANTS[variant])
    assert count_parameters(model.edge_head) == (4_674 if model.config.bypass else 144)
    (count,) = multiply_adds(model, lambda: model.with_edges(image()), [model.edge_head])
    assert count / 1e6 == pytest.approx(58.2 if model.config.bypass else 7.23, abs=0.05)


class TestStar:
    def test_star_parameters_of_each_stage_match(self):
        counted = {
            name: count_parameters(part)
            for name, part in stages(on_paper(VARIANTS["star"])).items()
        }
        assert counted == {
            "stem": 608,
            "E1": 1_024,
            "E2": 4_208,
            "E3": 9_576,
            "E4": 34_912,
            "E5": 292_704,
            "neck": 162_560,
            "D5": 209_648,
            "D4": 48_288,
            "D3": 9_168,
            "D2": 3_888,
            "bypass": 2_560,
            "FFM": 928,
            "D1": 1_088,
            "pred": 144,
        }

    def test_star_multiply_adds_of_each_stage_match(self):
        served = reparameterise(on_paper(VARIANTS["star"]))
        parts = stages(served)
        counts = multiply_adds(served, lambda: served(image()), parts.values())
        millions = {n: count / 1e6 for n, count in zip(parts, counts, strict=True)}
        assert millions == pytest.approx(
            {
                "stem": 7.23,
                "E1": 10.04,
                "E2": 22.35,
                "E3": 14.02,
                "E4": 10.95,
                "E5": 22.83,
                "neck": 7.77,
                "D5": 15.83,
                "D4": 14.49,
                "D3": 12.27,
                "D2": 18.97,
                "bypass": 26.49,
                "FFM": 9.63,
                "D1": 18.46,
                "pred": 7.23,
            },
            abs=0.005,
        )

    def test_star_shapes_of_feature_maps_match(self):
        model = on_paper(VARIANTS["star"])
        assert output_shapes(stages(model), lambda: model(image())) == {
            "stem": (16, 112, 112),
            "E1": (16, 112, 112),
            "E2": (24, 56, 56),
            "E3": (32, 28, 28),
            "E4": (96, 14, 14),
            "E5": (320, 7, 7),
            "neck": (320, 7, 7),
            "D5": (96, 14, 14),
            "D4": (32, 28, 28),
            "D3": (24, 56, 56),
            "D2": (16, 112, 112),
            "bypass": (32, 112, 112),
            "FFM": (16, 112, 112),
            "D1": (8, 224, 224),
            "pred": (2, 224, 224),
        }


def random_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Returns the network in evaluation mode, with random statistics in every batch norm."""
    torch.manual_seed(seed)
    for norm in modules_of_type(model, nn.BatchNorm2d):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    return model.eval()


def assert_same_function(one: torch.Tensor, other: torch.Tensor, *, share: float) -> None:
    """Asserts equality within a share of the range of outputs."""
    atol = share * (one.max() - one.min()).item()
    torch.testing.assert_close(other, one, rtol=0, atol=atol)


PRECISIONS = [
    pytest.param(torch.float32, 1e-5, id="float32"),
    pytest.param(torch.float64, 1e-12, id="float64"),
]


@pytest.mark.parametrize(("dtype", "share"), PRECISIONS)
class TestFusion:
    def test_fused_module_is_the_same_function(self, dtype, share):
        module = random_statistics(RCR(12, 20)).to(dtype)
        x = torch.randn(2, 12, 9, 11, dtype=dtype)
        fused = module.fuse_branches()
        fused[0] = nn.Sequential(nn.utils.fuse_conv_bn_eval(*module.point[:2]), nn.ReLU())
        assert count_parameters(module) == 12 * 20 + 16 * 20
        assert count_parameters(fused) == 12 * 20 + 11 * 20
        assert_same_function(module(x), fused(x), share=share)

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_fused_network_is_the_same_function(self, variant, dtype, share):
        model = random_statistics(RCRNet(VARIANTS[variant])).to(dtype)
        x = torch.rand(2, 3, 64, 96, dtype=dtype) * 255
        prior = torch.rand(2, 64, 96, dtype=dtype) * 255
        expected = model(x, prior)
        assert expected.std() > 0.01
        for form in (reparameterise, deploy_form):
            served = form(model)
            assert not modules_of_type(served, nn.BatchNorm2d, RCR)
            assert_same_function(expected, served(x, prior), share=share)


class TestStructures:
    def test_rcr_module_is_equation_one(self):
        module = random_statistics(RCR(6, 10)).double()
        x = torch.randn(2, 6, 7, 9, dtype=torch.float64)
        point = (module.point[1](module.point[0](x))).clamp(min=0)
        sides = [conv[1](conv[0](point)) for conv in (module.wide, module.narrow)]
        expected = sides[0] + sides[1] + point
        torch.testing.assert_close(module(x), expected)
        assert expected.min() < 0, "no activation after the sum"
        kernels = [(c[0].kernel_size, c[0].groups, c[0].bias) for c in (module.wide, module.narrow)]
        assert kernels == [((3, 3), 10, None), ((1, 1), 10, None)]

    @pytest.mark.parametrize(
        "structure",
        [Residual(16, 24), Down(16, 24, 16), Up(16, 24, 16)],
        ids=lambda s: type(s).__name__,
    )
    def test_rcr_activation_follows_only_the_first_module(self, structure):
        structure = random_statistics(structure)
        seen = []
        (hook, *_) = modules_of_type(structure, RCR)[1:]
        hook.point.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
        assert structure(torch.randn(2, 16, 8, 8)).min() < 0
        if isinstance(structure, Residual):
            assert seen[0].min() >= 0

    def test_residual_shortcut_is_the_identity(self):
        structure = random_statistics(Residual(16, 24))
        last = structure.body[2]
        for norm in (last.point[1], last.wide[1], last.narrow[1]):
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)
        x = torch.randn(2, 16, 8, 8)
        torch.testing.assert_close(structure(x), x)

    @pytest.mark.parametrize("doubling", [Up, PortraitUp])
    def test_up_structure_doubles_odd_sides(self, doubling):
        assert doubling(16, 24, 8).eval()(torch.zeros(1, 16, 5, 7)).shape == (1, 8, 10, 14)

    def test_transposed_convolutions_start_as_bilinear(self):
        up = RCRNet(VARIANTS["dagger"]).decoder[3].up
        x = torch.randn(1, 16, 6, 6)
        expected = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
        torch.testing.assert_close(up(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


class TestInput:
    @pytest.fixture(scope="class")
    @classmethod
    def star(cls):
        return with_batch_norm_statistics(RCRNet())

    @pytest.fixture
    def views(self):
        return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255

    def test_absent_prior_equals_an_empty_prior(self, star, views):
        assert torch.equal(star(views), star(views, torch.zeros(2, 64, 64)))

    def test_prior_changes_only_the_output_of_its_row(self, star, views):
        prior = torch.zeros(2, 64, 64)
        prior[1, 16:48, 16:48] = 255
        change = (star(views, prior) - star(views)).abs().amax((1, 2, 3))
        assert change[0] < 1e-4
        assert change[1] > 0.01

    def test_network_input_scales_pixels_and_priors(self):
        model, seen = RCRNet().eval(), []
        model.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        pixels = torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1).expand(-1, -1, 32, 32)
        model(pixels, torch.full((1, 32, 32), 51.0))
        values = [channel.unique().tolist() for channel in seen[0][0]]
        assert values == [[-1], [0], [1], [pytest.approx(0.2)]]

    def test_network_without_prior_channel_ignores_the_prior(self, views):
        model = with_batch_norm_statistics(RCRNet(RCRNetConfig(prior=False)))
        assert torch.equal(model(views), model(views, torch.full((2, 64, 64), 255.0)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_edge_head_returns_the_same_mask_and_an_edge(variant):
    model = random_statistics(RCRNet(VARIANTS[variant]))
    x = torch.rand(1, 3, 64, 96) * 255
    logits, edges = model.with_edges(x)
    assert torch.equal(logits, model(x))
    assert edges.shape == (1, 2, 64, 96)
    assert not torch.equal(edges, logits)


def test_bypass_input_is_the_first_structure():
    model, seen = random_statistics(RCRNet()), {}
    model.encoder[0].register_forward_hook(lambda _m, _g, output: seen.update(made=output))
    model.bypass.register_forward_pre_hook(lambda _m, given: seen.update(taken=given[0]))
    model(torch.rand(1, 3, 32, 32) * 255)
    assert torch.equal(seen["made"], seen["taken"])
