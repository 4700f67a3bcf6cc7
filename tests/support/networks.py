"""Untrained networks whose answers vary, what they take, and what they cost."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from silhouette_seg.vision.geometry import Size
from training.export.parity import test_images as scenes
from training.export.parity import test_inputs as made_inputs
from training.models.connectnet import ConnectNet
from training.models.rcrnet import RCRNet
from training.models.trisenet import TriSeNet


def seasoned(model: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with batch norm statistics of real activations: answers then vary."""
    torch.manual_seed(seed)
    for module in of_kind(model, nn.BatchNorm2d):
        module.momentum = None
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        for _ in range(3):
            everything(model.train(), *inputs(model, 4))
    return model.eval()


def everything(model: nn.Module, image: Tensor, extra: Tensor | None = None) -> list[Tensor]:
    """All that training asks of a network: every branch, and the edge head."""
    match model:
        case RCRNet():
            return [*model.with_edges(image, extra)]
        case TriSeNet():
            features = model.features(image)
            edges = [] if model.edge is None else [model.edge_logits(features, image)]
            return [branch(features) for branch in model.branches] + edges
    return [model(image)]


def size_of(model: nn.Module) -> Size:
    """A small input: a side that is odd after two halvings for the one that takes any."""
    return (48, 66) if isinstance(model, ConnectNet) else (64, 96)


def inputs(model: nn.Module, count: int) -> list[Tensor]:
    """What the network is called with: images, and its prior or its domains."""
    made = made_inputs(model, size_of(model), count=count)
    extra = [torch.from_numpy(made[name]) for name in made if name != "image"]
    return [
        pictures(count, size_of(model)),
        *(value.float() if value.dtype == torch.uint8 else value for value in extra),
    ]


def pictures(count: int, size_hw: Size) -> Tensor:
    """float32 [count,3,H,W], 0..255."""
    return torch.from_numpy(scenes(size_hw, count=count)).permute(0, 3, 1, 2).float()


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def of_kind(model: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def multiply_adds(
    model: nn.Module, run: Callable[[], object], parts: Iterable[nn.Module]
) -> list[int]:
    """Of the convolutions in each part while `run` calls the model, as the papers count."""
    counts: dict[nn.Module, int] = {}

    def count(conv: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        # a transposed one works on the positions of its input
        positions = given[0] if isinstance(conv, nn.ConvTranspose2d) else output
        counts[conv] = positions[0].numel() * conv.weight[0].numel()

    convolutions = of_kind(model, nn.Conv2d, nn.ConvTranspose2d)
    hooks = [conv.register_forward_hook(count) for conv in convolutions]
    with torch.inference_mode():
        run()
    for hook in hooks:
        hook.remove()
    return [sum(counts.get(module, 0) for module in part.modules()) for part in parts]


def shapes(parts: dict[str, nn.Module], run: Callable[[], object]) -> dict[str, tuple[int, ...]]:
    """What each part gave of one image while `run` called them."""
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _given, output: seen.update({name: tuple(output.shape[1:])})

    hooks = [part.register_forward_hook(note(name)) for name, part in parts.items()]
    with torch.inference_mode():
        run()
    for hook in hooks:
        hook.remove()
    return {name: seen[name] for name in parts}
