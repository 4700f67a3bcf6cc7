"""Tests of the tasks of TriSeNet, with one branch and with one per domain."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.made_tasks import (
    PLAN,
    SIZE,
    batch_of,
    equal_tensors,
    make_recipe,
    prepared_model,
    statistics,
    total_loss,
)
from training.data.samplers import EpochSampler, SingleDomainSampler
from training.losses.cross_entropy import cross_entropy
from training.losses.edges import balanced_edge_loss, gradient_edges
from training.losses.self_supervised import self_supervised_loss
from training.tasks import build_task


class TestTriSeNet:
    def test_trisenet_loss_terms_are_those_of_the_paper(self, data):
        task = build_task(make_recipe("trisenet", {"edge": 0.5}), data)
        batch = batch_of(task, [0, 1, 2, 3])
        terms = task.losses(prepared_model(task, "trisenet"), batch)
        model, image = prepared_model(task, "trisenet"), batch.image.float()
        edges = model.edge_logits(model.features(image), image)
        expected = {
            "cross_entropy": cross_entropy(
                prepared_model(task, "trisenet")(image), batch.truth / 255
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
        model = prepared_model(task, "trisenet", {"edges": False})
        assert task.losses(model, batch_of(task, [0, 1])).keys() == {"cross_entropy"}


OWN = 3
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
        batch = batch_of(task, PHOTOS)
        assert batch.domain.tolist() == [OWN] * 3
        return batch

    @pytest.fixture(scope="class")
    @classmethod
    def stepped(cls, task, batch):
        """Returns the network with gradients, its statistics before, and the loss terms."""
        model = prepared_model(task, "md_trisenet")
        before = [statistics(branch) for branch in model.branches]
        terms = task.losses(model, batch)
        total_loss(terms).backward()
        return model, before, terms

    def test_md_trisenet_batches_have_one_domain(self, task):
        batches = task.batch_sampler(PLAN)
        assert isinstance(batches, SingleDomainSampler)
        for batch in batches:
            assert len({task.portraits[spec.photo].domain for spec in batch}) == 1

    def test_md_trisenet_loss_terms_are_those_of_the_paper(self, task, batch, stepped):
        _, _, terms = stepped
        model, image = prepared_model(task, "md_trisenet"), batch.image.float()
        features = model.features(image)
        logits = []
        for domain, branch in enumerate(model.branches):
            branch.train(domain == OWN)
            logits.append(F.interpolate(branch(features), size=SIZE, mode="bilinear"))
        own = logits.pop(OWN)
        edges = model.edge_logits(features, image)
        expected = {
            "cross_entropy": cross_entropy(own, batch.truth / 255),
            "edge": balanced_edge_loss(edges, gradient_edges(batch.truth)),
            "self_supervised": 0.25 * self_supervised_loss(own, logits),
        }
        assert terms.keys() == expected.keys()
        for name, term in expected.items():
            torch.testing.assert_close(terms[name], term, msg=name)

    def test_md_trisenet_gradients_reach_no_other_branch(self, stepped):
        model, _, _ = stepped
        for domain, branch in enumerate(model.branches):
            gradients = [p.grad for p in branch.parameters()]
            if domain == OWN:
                assert all(gradient is not None and gradient.any() for gradient in gradients)
            else:
                assert all(gradient is None for gradient in gradients), domain

    def test_md_trisenet_gradients_reach_all_shared_weights(self, stepped):
        model, _, _ = stepped
        shared = {n: p for n, p in model.named_parameters() if not n.startswith("branches.")}
        assert [n for n, p in shared.items() if p.grad is None or not p.grad.any()] == []

    def test_md_trisenet_statistics_of_other_branches_are_unchanged(self, stepped):
        model, before, _ = stepped
        for domain, branch in enumerate(model.branches):
            assert equal_tensors(before[domain], statistics(branch)) == (domain != OWN), domain
            assert all(module.training for module in branch.modules())

    def test_md_trisenet_without_weight_computes_no_other_branch(self, data, batch):
        task = build_task(make_recipe("md_trisenet", {"self_supervised": 0.0}), data)
        model, calls = prepared_model(task, "md_trisenet"), []
        for domain, branch in enumerate(model.branches):
            branch.register_forward_hook(lambda *_, domain=domain: calls.append(domain))
        assert task.losses(model, batch).keys() == {"cross_entropy", "edge"}
        assert calls == [OWN]

    def test_frozen_statistics_are_fixed_while_weights_train(self, data, batch):
        task = build_task(make_recipe("md_trisenet", freeze_statistics=True), data)
        model = prepared_model(task, "md_trisenet")
        before = statistics(model)
        total_loss(task.losses(model, batch)).backward()
        task.losses(model, batch_of(task, [1, 5, 9]))
        assert equal_tensors(before, statistics(model)), (
            "not even those of a branch that was asked before"
        )
        learning = (*model.backbone.parameters(), *model.branches[OWN].parameters())
        assert all(p.grad is not None for p in learning)

    def test_statistics_without_the_option_are_not_frozen(self, task, batch):
        model = prepared_model(task, "md_trisenet")
        before = statistics(model.backbone)
        task.losses(model, batch)
        assert not equal_tensors(before, statistics(model.backbone))
