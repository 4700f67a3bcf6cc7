"""Training and serving compute the same function with frozen statistics."""

import pytest
import torch
from torch import nn

from tests.support.made_tasks import (
    SIZE,
    equal_tensors,
    make_batch,
    make_recipe,
    statistics,
    total_loss,
    training_model,
)
from training.models.blocks import conv_bn
from training.tasks import build_task


@pytest.fixture(params=["connectnet", "rcrnet", "trisenet", "md_trisenet", "unet"])
def name(request):
    return request.param


@pytest.fixture
def model(data, name):
    model = training_model(build_task(make_recipe(name, freeze_statistics=True), data), name)
    generator = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


def test_frozen_statistics_train_the_function_of_evaluation(model, name):
    model.double()  # without normalisation the values are large
    generator = torch.Generator().manual_seed(5)
    images = torch.rand((2, 3, *SIZE), generator=generator, dtype=torch.float64) * 255
    inputs = (images, torch.tensor([1, 4])) if name == "md_trisenet" else (images,)
    output = model(*inputs)
    torch.testing.assert_close(output, model.eval()(*inputs), rtol=1e-8, atol=1e-8)


def test_frozen_statistics_leave_all_parameters_trainable(data, model, name):
    task = build_task(make_recipe(name, freeze_statistics=True), data)
    batch, before = make_batch(task, [0, 1, 2]), statistics(model)
    total_loss(task.losses(model, batch)).backward()
    assert equal_tensors(before, statistics(model))
    branches = "branches." if name == "md_trisenet" else "none"
    batch_branch = f"branches.{int(batch.domain[0])}."
    trainable = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    without_gradient = [n for n, p in trainable if p.grad is None]
    assert [
        n for n in without_gradient if not n.startswith(branches) or n.startswith(batch_branch)
    ] == []


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
