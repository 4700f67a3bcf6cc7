"""Contract of TriSeNet: published counts, paths, and a branch for the domain of each row."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.networks import (
    count_parameters,
    image_batch,
    inputs,
    modules_of_type,
    multiply_adds,
    output_shapes,
    with_batch_norm_statistics,
)
from training.evaluation.onnx_model import open_onnx
from training.export.parity import parity_images as scenes
from training.models import adapt_weights, build_model, deploy_form
from training.models.trisenet import MEAN, STD, Branch, MxUnit, TriSeNet, TriSeNetConfig

pytestmark = pytest.mark.filterwarnings(
    # two inputs share the batch axis, which is what they should
    "ignore:# The axis name. batch will not be used:UserWarning"
)

DOMAINS = 6
NO_FACE = 5
MIXED = [3, 0, 5, 2, 2, 1, 4, 0]
SIZE = (64, 96)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def on_paper(**options: object) -> TriSeNet:
    """Builds the network on the meta device: shapes without values."""
    with torch.device("meta"):
        return TriSeNet(TriSeNetConfig(**options)).eval()


def image(side: int = 512) -> torch.Tensor:
    return torch.zeros(1, 3, side, side, device="meta")


COUNTS = [
    pytest.param("xception39", {"edges": False}, 1_443_194, 1_443_194, 3.4658, id="BiSeNet-X39"),
    pytest.param("xception39", {}, 1_568_491, 1_494_570, 3.7330, id="TriSeNet-X39"),
    pytest.param("xception39", {"domains": 6}, 2_968_181, 2_894_260, 3.7330, id="MD-X39"),
    pytest.param("resnet18", {"edges": False}, 12_795_394, 12_795_394, 12.9611, id="BiSeNet-R18"),
    pytest.param("resnet18", {}, 12_924_275, 12_850_354, 13.2318, id="TriSeNet-R18"),
    pytest.param("resnet18", {"domains": 6}, 14_323_965, 14_250_044, 13.2318, id="MD-R18"),
]


@pytest.mark.parametrize(("backbone", "options", "trained", "served", "billions"), COUNTS)
def test_trisenet_parameters_and_multiply_adds_match(backbone, options, trained, served, billions):
    model = on_paper(backbone=backbone, **options)
    edge_head = [] if model.edge is None else [model.edge_head]
    assert count_parameters(model) == trained
    assert count_parameters(model) - count_parameters(*edge_head) == served
    (count,) = multiply_adds(model, lambda: model(image()), [model])
    assert count / 1e9 == pytest.approx(billions, abs=5e-5)


@pytest.mark.parametrize(("backbone", "billions"), [("xception39", 4.0352), ("resnet18", 13.5341)])
def test_multiply_adds_with_the_edge_head_match(backbone, billions):
    model = on_paper(backbone=backbone)

    def train() -> None:
        features = model.features(image())
        model.edge_logits(features, image())
        model.branches[0](features)

    (count,) = multiply_adds(model, train, [model])
    assert count / 1e9 == pytest.approx(billions, abs=5e-5)


def test_literal_stem_has_fewer_parameters():
    model = on_paper(stem_kernel=3)
    assert count_parameters(model) == 1_560_811


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("xception39", [299_448, 33_024, 311_808, 147_712, 164_352, 147_712, 3_632, 3_328]),
        ("resnet18", [11_176_512, 65_792, 606_720, 147_712, 311_808, 147_712, 7_216, 3_328]),
    ],
)
def test_parameters_of_the_paths_match(backbone, expected):
    model = on_paper(backbone=backbone)
    context, edge = model.context, model.edge
    parts = [
        model.backbone,
        context.everywhere,
        context.attend_32,
        context.merge_32,
        context.attend_16,
        context.merge_16,
        edge.taps,
        edge.mix,
    ]
    assert [count_parameters(part) for part in parts] == expected
    assert count_parameters(model.edge_head) == 73_921


@pytest.mark.parametrize(("edges", "expected"), [(True, 103_616), (False, 91_968)])
def test_parameters_of_the_spatial_path_match(edges, expected):
    assert count_parameters(on_paper(edges=edges).spatial) == expected


def test_parameters_of_a_branch_match():
    fusion, *head = Branch(384)
    assert (count_parameters(fusion), count_parameters(*head)) == (132_224, 147_714)
    assert count_parameters(Branch(384)) == 279_938


@pytest.mark.parametrize(
    ("backbone", "widths"), [("xception39", (64, 128, 256)), ("resnet18", (128, 256, 512))]
)
def test_trisenet_shapes_of_feature_maps_match(backbone, widths):
    model = on_paper(backbone=backbone)
    sides = (64, 32, 16)
    stages = {side: model.backbone.stages[n] for n, side in enumerate(sides)}
    parts = {f"1/{512 // side}": stage for side, stage in stages.items()} | {
        "spatial": model.spatial,
        "context": model.context,
        "edge": model.edge,
        "branch": model.branches[0],
        "all": model,
    }
    assert output_shapes(parts, lambda: model(image())) == {
        **{f"1/{512 // side}": (w, side, side) for w, side in zip(widths, sides, strict=True)},
        "spatial": (128, 64, 64),
        "context": (128, 64, 64),
        "edge": (128, 64, 64),
        "branch": (2, 64, 64),
        "all": (2, 512, 512),
    }


class TestParts:
    def test_mx_unit_gates_its_input(self):
        unit, x = MxUnit(64), torch.randn(2, 64, 6, 7)
        assert count_parameters(unit) == 5_824
        depth, point, _ = unit.gate
        assert (depth.kernel_size, depth.groups) == ((5, 5), 64)
        torch.testing.assert_close(unit(x), x * torch.sigmoid(point(depth(x))))
        assert unit(x).min() < 0, "unlike ReLU"

    def test_paths_receive_pixels_of_published_mean_and_deviation(self):
        model, seen = TriSeNet().eval(), []
        for path in (model.spatial, model.backbone):
            path.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
        mean = 255 * torch.tensor(MEAN).view(1, 3, 1, 1)
        one_off = mean + 255 * torch.tensor(STD).view(1, 3, 1, 1)
        model(torch.cat([mean, one_off]).expand(-1, -1, 64, 64))
        assert len(seen) == 2
        for image in seen:
            torch.testing.assert_close(image[0], torch.zeros(3, 64, 64), atol=1e-5, rtol=0)
            torch.testing.assert_close(image[1], torch.ones(3, 64, 64), atol=1e-5, rtol=0)

    def test_edge_logits_depend_only_on_the_edge_path(self):
        model = with_batch_norm_statistics(TriSeNet())
        x = image_batch(2, SIZE)
        features = model.features(x)
        logits = model.edge_logits(features, x)
        assert logits.shape == (2, *SIZE)
        others = features.clone()
        others[:, :256] = 0
        assert torch.equal(model.edge_logits(others, x), logits)
        others[:, 256:] = 0
        assert not torch.equal(model.edge_logits(others, x), logits)

    @pytest.mark.parametrize("backbone", ["xception39", "resnet18"])
    @pytest.mark.parametrize("edges", [True, False])
    def test_deploy_form_in_double_precision_is_the_same_function(self, backbone, edges):
        model = with_batch_norm_statistics(
            TriSeNet(TriSeNetConfig(backbone=backbone, edges=edges))
        ).double()
        served = deploy_form(model)
        assert not modules_of_type(served, nn.BatchNorm2d)
        x = image_batch(2, SIZE).double()
        expected = model(x)
        atol = 1e-12 * (expected.max() - expected.min()).item()
        torch.testing.assert_close(served(x), expected, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def network(network_of):
    return network_of("md_trisenet")


@pytest.fixture(scope="module")
def served(file_of):
    return open_onnx(file_of("md_trisenet"))


def by_hand(network: nn.Module, x: torch.Tensor, domain: int) -> torch.Tensor:
    logits = network.branches[domain](network.features(x))
    return nn.functional.interpolate(logits, size=x.shape[-2:], mode="bilinear")


class TestDomains:
    """Domains in double precision, so that outputs do not differ by rounding."""

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls, network):
        return deepcopy(network).double()

    @pytest.fixture
    def views(self):
        return image_batch(8, SIZE).double()

    def close(self, one, other):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)

    @pytest.mark.parametrize(
        "form", [lambda network: network, deploy_form], ids=["torch", "deploy"]
    )
    def test_mixed_batch_rows_have_the_output_of_their_branch(self, form, network, views):
        answers = form(network)(views, torch.tensor(MIXED))
        for row, domain in enumerate(MIXED):
            self.close(answers[[row]], by_hand(network, views[[row]], domain))

    @pytest.mark.parametrize("domain", range(DOMAINS))
    def test_batch_of_one_domain_has_the_output_of_its_branch(self, domain, network, views):
        answers = network(views[:3], torch.full((3,), domain))
        self.close(answers, by_hand(network, views[:3], domain))

    def test_different_branches_have_different_outputs(self, network, views):
        answers = [network(views[:1], torch.tensor([domain])) for domain in range(DOMAINS)]
        for one in range(DOMAINS):
            for other in range(one):
                assert (answers[one] - answers[other]).abs().max() > 0.1

    def test_unknown_domain_means_no_face(self, network, views):
        wrong = [6, 1, -1, 2, 99, -(2**62), 2**62, 5]
        right = [domain if 0 <= domain <= NO_FACE else NO_FACE for domain in wrong]
        assert torch.equal(network(views, torch.tensor(wrong)), network(views, torch.tensor(right)))

    def test_missing_domain_means_no_face(self, network, views):
        self.close(network(views), network(views, torch.full((8,), NO_FACE)))


class TestServedDomains:
    """Domains of the exported graph: each row has its own mask."""

    IMAGES = scenes(SIZE, count=8)

    def answers(self, served, domains):
        return served({"image": self.IMAGES, "domain": np.array(domains, np.int64)})

    def test_exported_mixed_batch_equals_its_rows_exactly(self, served):
        together = self.answers(served, MIXED)
        for row, domain in enumerate(MIXED):
            alone = served({"image": self.IMAGES[[row]], "domain": np.array([domain], np.int64)})
            np.testing.assert_array_equal(together[[row]], alone)

    @pytest.mark.parametrize("domain", range(DOMAINS))
    def test_exported_branches_agree_with_torch(self, served, network, domain):
        with torch.inference_mode():
            x = torch.from_numpy(self.IMAGES).permute(0, 3, 1, 2).float()
            expected = by_hand(network, x, domain).softmax(1)[:, 1] * 255
        off = np.abs(self.answers(served, [domain] * 8) - expected.numpy())
        assert off.max() < 1

    def test_exported_unknown_domain_means_no_face(self, served):
        wrong = self.answers(served, [6, 1, -1, 2, 99, -(2**62), 2**62, 5])
        right = self.answers(served, [5, 1, 5, 2, 5, 5, 5, 5])
        np.testing.assert_array_equal(wrong, right)

    def test_exported_branches_have_different_masks(self, served):
        masks = [self.answers(served, [domain] * 8).astype(int) for domain in range(DOMAINS)]
        for one in range(DOMAINS):
            for other in range(one):
                assert np.abs(masks[one] - masks[other]).max() > 25


class TestSpreadBranch:
    @pytest.fixture(scope="class")
    @classmethod
    def single(cls):
        return with_batch_norm_statistics(TriSeNet())

    @pytest.fixture(scope="class")
    @classmethod
    def spread(cls, single):
        network = build_model("md_trisenet", {}).eval()
        network.load_state_dict(adapt_weights(network, single.state_dict()))
        return network

    def test_copied_branches_are_equal(self, single, spread):
        for branch in spread.branches:
            for name, value in branch.state_dict().items():
                assert torch.equal(value, single.branches[0].state_dict()[name]), name

    def test_copied_branches_have_the_output_of_the_single_branch(self, single, spread):
        x, domains = inputs(spread, 6)[0], torch.arange(DOMAINS)
        torch.testing.assert_close(spread(x, domains), single(x), rtol=0, atol=1e-4)

    def test_copied_branches_share_no_memory(self, spread):
        places = {p.data_ptr() for p in spread.parameters()}
        assert len(places) == len(list(spread.parameters()))

    def test_matching_weights_are_unchanged(self, single, spread):
        for network in (single, spread, build_model("rcrnet", {})):
            weights = network.state_dict()
            adapted = adapt_weights(network, weights)
            assert adapted.keys() == weights.keys()
            assert all(torch.equal(adapted[name], weights[name]) for name in weights)
