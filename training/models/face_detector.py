"""Face detector: one anchor-free grid of eight-pixel cells, for faces of 5 to 300 pixels.

Each cell predicts the probability of a face centre, its exact position, and the size of the face.
The encoder consists of ConnectNet's shuffle blocks. A top-down path carries features at 1/32, for
faces that fill the picture, to the cells.

Source: Zhou et al., "Objects as Points" (2019).
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.models.blocks import conv_bn, fuse_batch_norm, separable, upsample_to
from training.models.connectnet import DownBlock, ShuffleBlock

CELL_SIDE_PX = 8
"""Width and height of a cell in pixels."""

SIDE_LOG_RANGE = (-2.0, 4.5)
"""Range of the logarithm of a side in cells: 1 to 720 pixels, always finite."""


@dataclass(frozen=True, slots=True)
class FaceDetectorConfig:
    """Widths and depths; the defaults have 174,101 parameters."""

    stem: int = 16
    quarter: int = 32
    stages: tuple[tuple[int, int], ...] = ((64, 3), (128, 4), (192, 3))
    """(channels, blocks) at 1/8, 1/16 and 1/32; the first block halves the resolution."""
    neck: int = 64
    """Channels of the top-down path and of the head."""


class FaceDetector(nn.Module):
    """Maps images [N,3,H,W] (RGB, 0..255, any float type) to [N,5,H/8,W/8].

    H and W are multiples of 8. The channels are the logit of a face's centre, its row and column
    from the middle of the cell in cells, and the logarithms of its height and width in cells.
    """

    def __init__(self, config: FaceDetectorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceDetectorConfig()
        self.stem = nn.Sequential(
            conv_bn(3, config.stem, kernel=3, stride=2),
            separable(config.stem, config.quarter, stride=2),
            ShuffleBlock(config.quarter),
        )
        self.stages = nn.ModuleList()
        self.laterals = nn.ModuleList()
        channels = config.quarter
        for width, depth in config.stages:
            blocks = [DownBlock(channels, width), *(ShuffleBlock(width) for _ in range(depth - 1))]
            self.stages.append(nn.Sequential(*blocks))
            self.laterals.append(conv_bn(width, config.neck, kernel=1, relu=False))
            channels = width
        self.merges = nn.ModuleList(separable(config.neck, config.neck) for _ in config.stages[:-1])
        self.head = nn.Sequential(*(separable(config.neck, config.neck) for _ in range(2)))
        self.score = nn.Conv2d(config.neck, 1, 1)
        self.centre = nn.Conv2d(config.neck, 2, 1)
        self.sides = nn.Conv2d(config.neck, 2, 1)
        for layer in (self.score, self.centre, self.sides):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # Few cells are the centre of a face: the initial score is 0.01.
        nn.init.constant_(self.score.bias, -4.6)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image / 127.5 - 1.0)
        levels = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        merged = levels.pop()
        for merge in self.merges:
            finer = levels.pop()
            merged = merge(finer + upsample_to(merged, finer))
        features = self.head(merged)
        outputs = [self.score(features), self.centre(features), self.sides(features)]
        return torch.cat(outputs, dim=1)


def decode_boxes(raw: Tensor) -> Tensor:
    """Decodes the output [N,5,h,w] of the network to float32 [N,h*w,4].

    Boxes are top, left, height and width as shares of the image. Cells are in row-major order.
    """
    height, width = raw.shape[-2:]
    raw = raw.float()
    grid = torch.tensor([height, width], dtype=raw.dtype, device=raw.device).view(1, 2, 1, 1)
    rows = torch.arange(height, dtype=raw.dtype, device=raw.device).view(1, 1, height, 1)
    columns = torch.arange(width, dtype=raw.dtype, device=raw.device).view(1, 1, 1, width)
    middle = torch.cat([rows.expand(1, 1, height, width), columns.expand(1, 1, height, width)], 1)
    sides = raw[:, 3:5].clamp(*SIDE_LOG_RANGE).exp()
    corner = middle + 0.5 + raw[:, 1:3] - sides / 2
    boxes = torch.cat([corner / grid, sides / grid], dim=1)
    return boxes.flatten(2).transpose(1, 2)


class DeployedFaceDetector(nn.Module):
    """Maps uint8 [N,H,W,3] RGB to float32 [N,cells,5].

    The columns are the score 0..1, then top, left, height and width as shares of the image.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        raw = self.model(image.permute(0, 3, 1, 2).float())
        score = torch.sigmoid(raw[:, :1].float()).flatten(2).transpose(1, 2)
        return torch.cat([score, decode_boxes(raw)], dim=2)


def deploy_form(model: FaceDetector) -> FaceDetector:
    """Returns an equal network with batch norm folded into the convolutions."""
    deployed = copy.deepcopy(model).eval()
    fuse_batch_norm(deployed)
    return deployed
