"""Tests of the tasks: weighted loss terms of the papers, and the weights that they change."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import default_collate

from tests.support.made_data import write_data_pack
from training.data.samplers import EpochPlan, EpochSampler, SampleSpec, SingleDomainSampler
from training.data.samples import Sample
from training.losses.consistency import consistency
from training.losses.cross_entropy import cross_entropy
from training.losses.edges import (
    balanced_edge_loss,
    contour_bands,
    focal_edge_loss,
    gradient_edges,
)
from training.losses.self_supervised import self_supervised_loss
from training.models import BUILDERS, build_model
from training.models.blocks import conv_bn
from training.recipe import Recipe
from training.tasks import TASKS, Task, build_task

SIZE = (64, 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_pack(tmp_path_factory.mktemp("data"))


def recipe(model: str, loss: dict[str, float] | None = None, **extra: Any) -> Recipe:
    values = {
        "name": "made",
        "model": model,
        "seed": 1,
        "phases": [{"size_hw": SIZE, "epochs": 1, "batch": 4}],
        "optimiser": {"kind": "sgd", "rate": 0.1, "weight_decay": 0.0},
        "loss": loss or {},
    }
    return Recipe.model_validate(values | extra)


def training_model(task: Task, model_name: str, options: dict[str, Any] | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(model_name, options or {})
    task.prepare(model)
    return model


PLAN = EpochPlan(batch=2, seed=0, epoch=0)


def make_batch(task: Task, photos: list[int]) -> Sample:
    samples = task.samples(SIZE)
    batch: Sample = default_collate([samples[SampleSpec(photo, photo)] for photo in photos])
    return batch


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.named_buffers()}


def all_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def test_architectures_each_have_a_task():
    assert TASKS.keys() == BUILDERS.keys()


def test_unknown_architecture_raises_key_error(data):
    with pytest.raises(KeyError, match="abacus"):
        build_task(recipe("abacus"), data)


TEACHER = {"model": "trisenet", "size_hw": (96, 96)}


class TestTeachers:
    @pytest.fixture(scope="class")
    @classmethod
    def weights(cls, tmp_path_factory):
        torch.manual_seed(3)
        folder = tmp_path_factory.mktemp("weights")
        for name in sorted(BUILDERS.keys() - {"face_detector"}):
            torch.save({"average": build_model(name, {}).state_dict()}, folder / f"{name}.pt")
        return folder

    @pytest.mark.parametrize("student", ["connectnet", "rcrnet", "trisenet"])
    def test_teacher_masks_of_the_plain_view_are_targets(self, data, weights, student):
        sizes = {
            "trisenet": (96, 96),
            "connectnet": (32, 64),
            "rcrnet": (64, 64),
            "md_trisenet": (64, 96),
        }
        choices = [
            {"model": name, "size_hw": size, "weights": weights / f"{name}.pt"}
            for name, size in sizes.items()
        ]
        losses = {"distillation": 0.5, "consistency": 0.0}
        task = build_task(recipe(student, losses, teachers=choices), data)
        alone = build_task(recipe(student, losses), data)
        batch = make_batch(task, [0, 1, 2, 3])
        terms = task.losses(training_model(task, student), batch)
        expected = alone.losses(training_model(alone, student), batch)
        masks = []
        for name, size in sizes.items():
            teacher = build_model(name, {}).eval()
            teacher.load_state_dict(torch.load(weights / f"{name}.pt")["average"])
            seen = F.interpolate(batch.plain.float(), size, mode="bilinear")
            extra = (batch.domain,) if name == "md_trisenet" else ()
            mask = teacher(seen, *extra).softmax(1)[:, 1:]
            masks.append(F.interpolate(mask, SIZE, mode="bilinear")[:, 0])
        logits = {
            "connectnet": lambda model: model(batch.image.float()),
            "rcrnet": lambda model: model.with_edges(batch.image.float(), batch.prior.float())[0],
            "trisenet": lambda model: model(batch.image.float()),
        }[student](training_model(task, student))
        expected["distillation"] = 0.5 * cross_entropy(logits, sum(masks) / 4)
        assert terms.keys() == expected.keys()
        for name, term in expected.items():
            torch.testing.assert_close(terms[name], term, rtol=1e-4, atol=1e-5, msg=name)

    def test_mirrored_teacher_returns_the_mean_of_both_views(self, data, weights):
        settings = {"model": "rcrnet", "size_hw": (64, 64), "weights": weights / "rcrnet.pt"}
        task = build_task(
            recipe("connectnet", teachers=[settings, settings | {"mirrored": True}]), data
        )
        plain_teacher, mirrored_teacher = task.teachers
        batch = make_batch(task, [0, 1])
        photos, domain = batch.plain, batch.domain
        plain_mask, mirrored_mask = (
            plain_teacher(photos, domain),
            plain_teacher(photos.flip(-1), domain).flip(-1),
        )
        assert (mirrored_mask - plain_mask).abs().max() > 0.01
        torch.testing.assert_close(
            mirrored_teacher(photos, domain), (plain_mask + mirrored_mask) / 2
        )

    def test_teacher_masks_are_empty_in_photos_without_people(self, data, weights):
        settings = {"model": "rcrnet", "size_hw": (64, 64), "weights": weights / "rcrnet.pt"}
        task = build_task(recipe("connectnet", teachers=[settings]), data)
        batch = make_batch(task, [0, 1])
        truth = batch.truth.clone()
        truth[1] = 0
        terms = task.losses(training_model(task, "connectnet"), batch._replace(truth=truth))
        (teacher,) = task.teachers
        mask = teacher(batch.plain, batch.domain)
        assert mask[1].max() > 0.01
        mask[1] = 0
        logits = training_model(task, "connectnet")(batch.image.float())
        torch.testing.assert_close(terms["distillation"], cross_entropy(logits, mask))

    def test_teacher_weights_are_not_trained(self, data, weights):
        choice = TEACHER | {"weights": weights / "trisenet.pt"}
        task = build_task(recipe("connectnet", teachers=[choice]), data)
        model = training_model(task, "connectnet")
        total(task.losses(model, make_batch(task, [0, 1]))).backward()
        assert all(p.grad is not None for p in model.parameters())
        (teacher,) = task.teachers
        assert not any(p.requires_grad for p in teacher.network.parameters())

    def test_teacher_without_weights_raises_os_error(self, data, tmp_path):
        choice = TEACHER | {"weights": tmp_path / "none.pt"}
        with pytest.raises(OSError, match=r"none\.pt"):
            build_task(recipe("connectnet", teachers=[choice]), data)


class TestRCRNet:
    @pytest.fixture(scope="class")
    @classmethod
    def task(cls, data):
        return build_task(recipe("rcrnet", {"consistency": 0.7, "edge": 0.3}), data)

    @pytest.fixture(scope="class")
    @classmethod
    def batch(cls, task):
        return make_batch(task, [0, 1, 2, 3, 4, 5])

    def test_rcrnet_samples_have_two_views_and_possible_priors(self, batch):
        assert not torch.equal(batch.image, batch.plain)
        has_prior = batch.prior.flatten(1).any(1)
        assert has_prior.any()
        assert not has_prior.all()

    def test_rcrnet_loss_terms_are_those_of_the_paper(self, task, batch):
        terms = task.losses(training_model(task, "rcrnet"), batch)
        views = torch.cat([batch.image, batch.plain]).float()
        priors = torch.cat([batch.prior, batch.prior]).float()
        logits, edges = training_model(task, "rcrnet").with_edges(views, priors)
        (augmented, plain), truth = logits.chunk(2), batch.truth / 255
        expected = {
            "cross_entropy": cross_entropy(augmented, truth) + cross_entropy(plain, truth),
            "consistency": 0.7 * consistency(augmented, plain),
            "edge": 0.3 * focal_edge_loss(edges[:6], contour_bands(batch.truth)),
        }
        assert terms.keys() == expected.keys()
        for name, term in expected.items():
            torch.testing.assert_close(terms[name], term, msg=name)
            assert term > 0

    def test_rcrnet_default_weights_are_those_of_the_paper(self):
        weights = recipe("rcrnet").loss
        assert (weights.cross_entropy, weights.consistency, weights.edge) == (1, 1, 0.3)

    def test_rcrnet_without_consistency_computes_one_view(self, data, batch):
        task = build_task(recipe("rcrnet", {"consistency": 0.0}), data)
        seen = []
        model = training_model(task, "rcrnet")
        model.stem.register_forward_pre_hook(
            lambda _module, has_prior: seen.append(len(has_prior[0]))
        )
        terms = task.losses(model, batch)
        assert terms.keys() == {"cross_entropy", "edge"}
        assert seen == [6]

    @pytest.mark.parametrize("options", [{}, {"bypass": False, "neck": False}, {"prior": False}])
    def test_rcrnet_gradients_reach_every_parameter(self, task, batch, options):
        model = training_model(task, "rcrnet", options)
        total(task.losses(model, batch)).backward()
        assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


class TestTriSeNet:
    def test_trisenet_loss_terms_are_those_of_the_paper(self, data):
        task = build_task(recipe("trisenet", {"edge": 0.5}), data)
        batch = make_batch(task, [0, 1, 2, 3])
        terms = task.losses(training_model(task, "trisenet"), batch)
        model, image = training_model(task, "trisenet"), batch.image.float()
        edges = model.edge_logits(model.features(image), image)
        expected = {
            "cross_entropy": cross_entropy(
                training_model(task, "trisenet")(image), batch.truth / 255
            ),
            "edge": 0.5 * balanced_edge_loss(edges, gradient_edges(batch.truth)),
        }
        assert terms.keys() == expected.keys()
        for name, term in expected.items():
            torch.testing.assert_close(terms[name], term, msg=name)

    def test_trisenet_batches_mix_domains(self, data):
        task = build_task(recipe("trisenet"), data)
        batches = task.batch_sampler(PLAN)
        assert isinstance(batches, EpochSampler)

    def test_trisenet_without_edge_path_has_no_edge_loss(self, data):
        task = build_task(recipe("trisenet", options={"edges": False}), data)
        model = training_model(task, "trisenet", {"edges": False})
        assert task.losses(model, make_batch(task, [0, 1])).keys() == {"cross_entropy"}


BATCH_DOMAIN = 3
"""Domain of the synthetic photos 0, 4 and 8: close shots."""

PHOTOS = [0, 4, 8]


class TestMultiDomain:
    @pytest.fixture(scope="class")
    @classmethod
    def task(cls, data):
        return build_task(recipe("md_trisenet", {"edge": 1.0}), data)

    @pytest.fixture(scope="class")
    @classmethod
    def batch(cls, task):
        batch = make_batch(task, PHOTOS)
        assert batch.domain.tolist() == [BATCH_DOMAIN] * 3
        return batch

    @pytest.fixture(scope="class")
    @classmethod
    def trained_step(cls, task, batch):
        """Returns the network with gradients, its statistics before, and the loss terms."""
        model = training_model(task, "md_trisenet")
        before = [statistics(branch) for branch in model.branches]
        terms = task.losses(model, batch)
        total(terms).backward()
        return model, before, terms

    def test_md_trisenet_batches_have_one_domain(self, task):
        batches = task.batch_sampler(PLAN)
        assert isinstance(batches, SingleDomainSampler)
        for batch in batches:
            assert len({task.portraits[spec.photo].domain for spec in batch}) == 1

    def test_md_trisenet_loss_terms_are_those_of_the_paper(self, task, batch, trained_step):
        _, _, terms = trained_step
        model, image = training_model(task, "md_trisenet"), batch.image.float()
        features = model.features(image)
        logits = []
        for domain, branch in enumerate(model.branches):
            branch.train(domain == BATCH_DOMAIN)
            logits.append(F.interpolate(branch(features), size=SIZE, mode="bilinear"))
        own = logits.pop(BATCH_DOMAIN)
        edges = model.edge_logits(features, image)
        expected = {
            "cross_entropy": cross_entropy(own, batch.truth / 255),
            "edge": balanced_edge_loss(edges, gradient_edges(batch.truth)),
            "self_supervised": 0.25 * self_supervised_loss(own, logits),
        }
        assert terms.keys() == expected.keys()
        for name, term in expected.items():
            torch.testing.assert_close(terms[name], term, msg=name)

    def test_md_trisenet_gradients_reach_no_other_branch(self, trained_step):
        model, _, _ = trained_step
        for domain, branch in enumerate(model.branches):
            gradients = [p.grad for p in branch.parameters()]
            if domain == BATCH_DOMAIN:
                assert all(gradient is not None and gradient.any() for gradient in gradients)
            else:
                assert all(gradient is None for gradient in gradients), domain

    def test_md_trisenet_gradients_reach_all_shared_weights(self, trained_step):
        model, _, _ = trained_step
        shared = {n: p for n, p in model.named_parameters() if not n.startswith("branches.")}
        assert [n for n, p in shared.items() if p.grad is None or not p.grad.any()] == []

    def test_md_trisenet_statistics_of_other_branches_are_unchanged(self, trained_step):
        model, before, _ = trained_step
        for domain, branch in enumerate(model.branches):
            assert all_equal(before[domain], statistics(branch)) == (domain != BATCH_DOMAIN), domain
            assert all(module.training for module in branch.modules())

    def test_md_trisenet_without_weight_computes_no_other_branch(self, data, batch):
        task = build_task(recipe("md_trisenet", {"self_supervised": 0.0}), data)
        model, calls = training_model(task, "md_trisenet"), []
        for domain, branch in enumerate(model.branches):
            branch.register_forward_hook(lambda *_, domain=domain: calls.append(domain))
        assert task.losses(model, batch).keys() == {"cross_entropy", "edge"}
        assert calls == [BATCH_DOMAIN]

    def test_frozen_statistics_are_fixed_while_weights_train(self, data, batch):
        task = build_task(recipe("md_trisenet", freeze_statistics=True), data)
        model = training_model(task, "md_trisenet")
        before = statistics(model)
        total(task.losses(model, batch)).backward()
        task.losses(model, make_batch(task, [1, 5, 9]))
        assert all_equal(before, statistics(model)), (
            "nor those of a branch that had no photo in this batch"
        )
        trained_weights = (*model.backbone.parameters(), *model.branches[BATCH_DOMAIN].parameters())
        assert all(p.grad is not None for p in trained_weights)

    def test_statistics_without_the_option_are_not_frozen(self, task, batch):
        model = training_model(task, "md_trisenet")
        before = statistics(model.backbone)
        task.losses(model, batch)
        assert not all_equal(before, statistics(model.backbone))


class TestFrozenStatistics:
    """Training and serving compute the same function with frozen statistics."""

    @pytest.fixture(params=["connectnet", "rcrnet", "trisenet", "md_trisenet"])
    def name(self, request):
        return request.param

    @pytest.fixture
    def model(self, data, name):
        model = training_model(build_task(recipe(name, freeze_statistics=True), data), name)
        generator = torch.Generator().manual_seed(4)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
        return model

    def test_frozen_statistics_train_the_function_of_evaluation(self, model, name):
        model.double()  # a network that nothing normalises yet makes large numbers
        generator = torch.Generator().manual_seed(5)
        images = torch.rand((2, 3, *SIZE), generator=generator, dtype=torch.float64) * 255
        has_prior = (images, torch.tensor([1, 4])) if name == "md_trisenet" else (images,)
        trained = model(*has_prior)
        torch.testing.assert_close(trained, model.eval()(*has_prior), rtol=1e-8, atol=1e-8)

    def test_frozen_statistics_leave_all_parameters_trainable(self, data, model, name):
        task = build_task(recipe(name, freeze_statistics=True), data)
        batch, before = make_batch(task, [0, 1, 2]), statistics(model)
        total(task.losses(model, batch)).backward()
        assert all_equal(before, statistics(model))
        others = "branches." if name == "md_trisenet" else "none"
        own = f"branches.{int(batch.domain[0])}."
        still = [n for n, p in model.named_parameters() if p.grad is None]
        assert [n for n in still if not n.startswith(others) or n.startswith(own)] == []

    def test_strided_depthwise_convolution_in_bfloat16_computes_in_float32(self):
        """It computes in float32 and returns bfloat16."""
        torch.manual_seed(6)
        block = conv_bn(8, 8, kernel=3, stride=2, groups=8)
        block[1].eval()
        x = torch.randn(2, 8, 16, 16)
        exact = block(x)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = block(x.bfloat16())
        assert mixed.dtype == torch.bfloat16
        torch.testing.assert_close(mixed.float(), exact, rtol=0.02, atol=0.02)


def test_validation_passes_the_domain_of_each_photo(data):
    task = build_task(recipe("md_trisenet"), data)
    model, calls = build_model("md_trisenet", {}), []
    for domain, branch in enumerate(model.branches):
        branch.register_forward_pre_hook(
            lambda _module, has_prior, domain=domain: calls.extend([domain] * len(has_prior[0]))
        )
    scores = task.validate(model, SIZE)
    assert sorted(calls) == sorted(int(portrait.domain) for portrait in task.validation)
    assert scores.keys() == {
        "val/all",
        "val/discs",
        "val/moons",
        "val/person",
        "val/connectivity",
        "person/all",
        "person/discs",
        "person/moons",
    }
