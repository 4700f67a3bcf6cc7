"""Tests of the tasks of TriSeNet, with one branch and with one per domain."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.made_tasks import (
    PLAN,
    SIZE,
    equal_tensors,
    make_batch,
    make_recipe,
    statistics,
    total_loss,
    training_model,
)
from training.data.samplers import EpochSampler, SingleDomainSampler
from training.losses.cross_entropy import cross_entropy
from training.losses.edges import balanced_edge_loss, gradient_edges
from training.losses.self_supervised import self_supervised_loss
from training.tasks import build_task


class TestTriSeNet:
    def test_trisenet_loss_terms_are_those_of_the_paper(self, data):
        task = build_task(make_recipe("trisenet", {"edge": 0.5}), data)
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
        task = build_task(make_recipe("trisenet"), data)
        batches = task.batch_sampler(PLAN)
        assert isinstance(batches, EpochSampler)

    def test_trisenet_without_edge_path_has_no_edge_loss(self, data):
        task = build_task(make_recipe("trisenet", options={"edges": False}), data)
        model = training_model(task, "trisenet", {"edges": False})
        assert task.losses(model, make_batch(task, [0, 1])).keys() == {"cross_entropy"}


BATCH_DOMAIN = 3
"""Domain of the synthetic photos 0, 4 and 8: close shots."""
PHOTOS = [0, 4, 8]


class TestMultiDomain:
    @pytest.fixture(scope="class")
    @classmethod
    def task(cls, data):
        return build_task(make_recipe("md_trisenet", {"edge": 1.0}), data)

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
        total_loss(terms).backward()
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
            assert equal_tensors(before[domain], statistics(branch)) == (domain != BATCH_DOMAIN), (
                domain
            )
            assert all(module.training for module in branch.modules())

    def test_md_trisenet_without_weight_computes_no_other_branch(self, data, batch):
        task = build_task(make_recipe("md_trisenet", {"self_supervised": 0.0}), data)
        model, calls = training_model(task, "md_trisenet"), []
        for domain, branch in enumerate(model.branches):
            branch.register_forward_hook(lambda *_, domain=domain: calls.append(domain))
        assert task.losses(model, batch).keys() == {"cross_entropy", "edge"}
        assert calls == [BATCH_DOMAIN]

    def test_frozen_statistics_are_fixed_while_weights_train(self, data, batch):
        task = build_task(make_recipe("md_trisenet", freeze_statistics=True), data)
        model = training_model(task, "md_trisenet")
        before = statistics(model)
        total_loss(task.losses(model, batch)).backward()
        task.losses(model, make_batch(task, [1, 5, 9]))
        assert equal_tensors(before, statistics(model)), (
            "nor those of a branch that had no photo in this batch"
        )
        trained_weights = (*model.backbone.parameters(), *model.branches[BATCH_DOMAIN].parameters())
        assert all(p.grad is not None for p in trained_weights)

    def test_statistics_without_the_option_are_not_frozen(self, task, batch):
        model = training_model(task, "md_trisenet")
        before = statistics(model.backbone)
        task.losses(model, batch)
        assert not equal_tensors(before, statistics(model.backbone))
