"""Training and serving compute the same function with frozen statistics."""

import pytest
import torch
from torch import nn

from tests.support.made_tasks import (
    SIZE,
    batch_of,
    equal_tensors,
    make_recipe,
    prepared_model,
    statistics,
    total_loss,
)
from training.models.blocks import conv_bn
from training.tasks import build_task


@pytest.fixture(params=["connectnet", "rcrnet", "trisenet", "md_trisenet"])
def name(request):
    return request.param


@pytest.fixture
def model(data, name):
    model = prepared_model(build_task(make_recipe(name, freeze_statistics=True), data), name)
    generator = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


def test_frozen_statistics_train_the_function_of_evaluation(model, name):
    model.double()  # a network that nothing normalises yet makes large numbers
    generator = torch.Generator().manual_seed(5)
    images = torch.rand((2, 3, *SIZE), generator=generator, dtype=torch.float64) * 255
    given = (images, torch.tensor([1, 4])) if name == "md_trisenet" else (images,)
    trained = model(*given)
    torch.testing.assert_close(trained, model.eval()(*given), rtol=1e-8, atol=1e-8)


def test_frozen_statistics_leave_all_parameters_trainable(data, model, name):
    task = build_task(make_recipe(name, freeze_statistics=True), data)
    batch, before = batch_of(task, [0, 1, 2]), statistics(model)
    total_loss(task.losses(model, batch)).backward()
    assert equal_tensors(before, statistics(model))
    others = "branches." if name == "md_trisenet" else "none"
    own = f"branches.{int(batch.domain[0])}."
    still = [n for n, p in model.named_parameters() if p.grad is None]
    assert [n for n in still if not n.startswith(others) or n.startswith(own)] == []


def test_strided_depthwise_convolution_in_bfloat16_computes_in_float32():
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
