"""Tests of the task of RCRNet: two views, priors, and the loss terms of the paper."""

import pytest
import torch

from tests.support.made_tasks import make_batch, make_recipe, total_loss, training_model
from training.losses.consistency import consistency
from training.losses.cross_entropy import cross_entropy
from training.losses.edges import contour_bands, focal_edge_loss
from training.tasks import build_task


@pytest.fixture(scope="module")
def task(data):
    return build_task(make_recipe("rcrnet", {"consistency": 0.7, "edge": 0.3}), data)


@pytest.fixture(scope="module")
def batch(task):
    return make_batch(task, [0, 1, 2, 3, 4, 5])


def test_rcrnet_samples_have_two_views_and_possible_priors(batch):
    assert not torch.equal(batch.image, batch.plain)
    has_prior = batch.prior.flatten(1).any(1)
    assert has_prior.any()
    assert not has_prior.all()


def test_rcrnet_loss_terms_are_those_of_the_paper(task, batch):
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


def test_rcrnet_default_weights_are_those_of_the_paper():
    weights = make_recipe("rcrnet").loss
    assert (weights.cross_entropy, weights.consistency, weights.edge) == (1, 1, 0.3)


def test_rcrnet_without_consistency_computes_one_view(data, batch):
    task = build_task(make_recipe("rcrnet", {"consistency": 0.0}), data)
    batch_sizes = []
    model = training_model(task, "rcrnet")
    model.stem.register_forward_pre_hook(lambda _module, inputs: batch_sizes.append(len(inputs[0])))
    terms = task.losses(model, batch)
    assert terms.keys() == {"cross_entropy", "edge"}
    assert batch_sizes == [6]


@pytest.mark.parametrize("options", [{}, {"bypass": False, "neck": False}, {"prior": False}])
def test_rcrnet_gradients_reach_every_parameter(task, batch, options):
    model = training_model(task, "rcrnet", options)
    total_loss(task.losses(model, batch)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
