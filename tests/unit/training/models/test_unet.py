"""Tests of the U-Net: fixed statistics of the encoder, and an equal form for deployment."""

import pytest
import torch
from torch import nn

from training.models import build_model, deploy_form
from training.models.unet import (
    LITE2,
    EfficientNetLite,
    FixedDepthwise,
    UNet,
    UNetConfig,
    remove_faint_people,
    rename_weights,
)


@pytest.fixture(scope="module")
def model() -> UNet:
    torch.manual_seed(0)
    built = build_model("unet", {})
    assert isinstance(built, UNet)
    return built


def test_unet_logits_have_the_size_of_the_image(model):
    logits = model.eval()(torch.rand(2, 3, 64, 96) * 255)
    assert logits.shape == (2, 2, 64, 96)


def test_encoder_has_the_published_number_of_parameters():
    # EfficientNet-Lite2 has 6.092 M; without its last convolution and classifier 4.358 M are left.
    count = sum(parameter.numel() for parameter in EfficientNetLite(LITE2).parameters())
    head = 352 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert count + head == pytest.approx(6.092e6, abs=1e3)


def test_encoder_statistics_are_fixed_in_training(model):
    model.train()
    norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model(torch.rand(2, 3, 64, 64) * 255)
    assert not any(norm.training for norm in norms)
    for norm, mean in zip(norms, before, strict=True):
        torch.testing.assert_close(norm.running_mean, mean, rtol=0, atol=0)
    decoder = [m for m in model.ups.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.training for norm in decoder)


@pytest.mark.parametrize("frozen_stages", [0, 2])
def test_unet_trains_all_parameters_except_depthwise_kernels_and_frozen_stages(frozen_stages):
    model = UNet(UNetConfig(frozen_stages=frozen_stages)).train()
    model(torch.rand(2, 3, 64, 64) * 255).square().mean().backward()
    fixed = [module for module in model.modules() if isinstance(module, FixedDepthwise)]
    kept = {id(p) for module in fixed for p in (module[0].weight, module[1].weight)}
    if frozen_stages:
        early = [model.encoder.stem, *model.encoder.stages[:frozen_stages]]
        kept |= {id(p) for module in early for p in module.parameters()}
    still = {id(parameter) for parameter in model.parameters() if parameter.grad is None}
    assert still == kept


def test_unet_computes_the_same_function_in_training_and_evaluation(model):
    block = model.train().encoder.stages[2][0]
    x = torch.rand(2, 24, 16, 16)
    trained = block(x)
    torch.testing.assert_close(trained, block.eval()(x), rtol=1e-3, atol=1e-4)


def test_unet_deploy_form_is_the_same_function(model):
    model.eval()
    image = torch.rand(2, 3, 64, 64) * 255
    torch.testing.assert_close(deploy_form(model)(image), model(image), rtol=1e-3, atol=1e-4)


def test_photo_without_a_certain_pixel_becomes_background():
    person = torch.full((2, 4, 4), -3.0)
    person[0, 1, 1], person[1, 1, 1] = 1.0, 4.0
    logits = torch.stack([-person / 2, person / 2], dim=1)
    found = remove_faint_people(logits, min_peak=0.9)
    probability = found.softmax(dim=1)[:, 1]
    assert probability[0].max() < 1e-6
    torch.testing.assert_close(probability[1], person[1].sigmoid())


def test_unet_keeps_faint_people_in_training():
    torch.manual_seed(0)
    plain, strict = UNet(), UNet(UNetConfig(min_peak=1 - 1e-6))
    strict.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 64, 64) * 255
    for module in (plain, strict):
        module.train()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
    torch.testing.assert_close(strict(image), plain(image))
    assert not (strict.eval()(image).argmax(dim=1)).any()


def test_package_weights_are_renamed_in_order():
    encoder = EfficientNetLite(LITE2)
    state = {k: v for k, v in encoder.state_dict().items() if not k.endswith("tracked")}
    package_weights = {f"_blocks.{n}": value for n, value in enumerate(state.values())}
    renamed = rename_weights(package_weights | {"_fc.weight": torch.zeros(1)})
    assert list(renamed) == list(state)
    for name, value in state.items():
        assert renamed[name] is package_weights[f"_blocks.{list(state).index(name)}"]
        assert renamed[name].shape == value.shape
