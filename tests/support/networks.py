"""Untrained networks with varied outputs, their inputs, and their costs."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from silhouette_seg.vision.geometry import Size
from training.export.parity import parity_images as scenes
from training.export.parity import parity_inputs as made_inputs
from training.models.connectnet import ConnectNet
from training.models.rcrnet import RCRNet
from training.models.trisenet import TriSeNet


def with_batch_norm_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Gives batch norm the statistics of real activations, so that outputs vary.

    Returns the model in evaluation mode.
    """
    torch.manual_seed(seed)
    for module in modules_of_type(model, nn.BatchNorm2d):
        module.momentum = None
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        for _ in range(3):
            all_outputs(model.train(), *inputs(model, 4))
    return model.eval()


def all_outputs(model: nn.Module, image: Tensor, extra: Tensor | None = None) -> list[Tensor]:
    """Returns every output that training uses: those of all branches and of the edge head."""
    match model:
        case RCRNet():
            return [*model.with_edges(image, extra)]
        case TriSeNet():
            features = model.features(image)
            edges = [] if model.edge is None else [model.edge_logits(features, image)]
            return [branch(features) for branch in model.branches] + edges
    return [model(image)]


def input_size(model: nn.Module) -> Size:
    """Returns a small input size.

    ConnectNet takes any size, so one side of its size is odd after two halvings.
    """
    return (48, 66) if isinstance(model, ConnectNet) else (64, 96)


def inputs(model: nn.Module, count: int) -> list[Tensor]:
    """Returns the arguments of the network: images, and its prior or its domains."""
    made = made_inputs(model, input_size(model), count=count)
    extra = [torch.from_numpy(made[name]) for name in made if name != "image"]
    return [
        image_batch(count, input_size(model)),
        *(value.float() if value.dtype == torch.uint8 else value for value in extra),
    ]


def image_batch(count: int, size_hw: Size) -> Tensor:
    """Returns images float32 [count,3,H,W], 0..255."""
    return torch.from_numpy(scenes(size_hw, count=count)).permute(0, 3, 1, 2).float()


def count_parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def modules_of_type(model: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def multiply_adds(
    model: nn.Module, run: Callable[[], object], parts: Iterable[nn.Module]
) -> list[int]:
    """Counts the multiply-adds of the convolutions in each part, as the papers do.

    `run` calls the model once.
    """
    counts: dict[nn.Module, int] = {}

    def count(conv: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        # a transposed convolution works on the positions of its input
        positions = inputs[0] if isinstance(conv, nn.ConvTranspose2d) else output
        counts[conv] = positions[0].numel() * conv.weight[0].numel()

    convolutions = modules_of_type(model, nn.Conv2d, nn.ConvTranspose2d)
    hooks = [conv.register_forward_hook(count) for conv in convolutions]
    with torch.inference_mode():
        run()
    for hook in hooks:
        hook.remove()
    return [sum(counts.get(module, 0) for module in part.modules()) for part in parts]


def output_shapes(
    parts: dict[str, nn.Module], run: Callable[[], object]
) -> dict[str, tuple[int, ...]]:
    """Returns the output shape of each part for one image while `run` calls the model."""
    recorded: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: recorded.update({name: tuple(output.shape[1:])})

    hooks = [part.register_forward_hook(record(name)) for name, part in parts.items()]
    with torch.inference_mode():
        run()
    for hook in hooks:
        hook.remove()
    return {name: recorded[name] for name in parts}
