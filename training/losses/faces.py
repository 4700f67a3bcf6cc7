"""Losses of the face detector: a heat map of centres, and boxes near the centres.

Sources: the focal loss of the heat map is from CornerNet (Law and Deng, ECCV 2018), in CenterNet's
form. GIoU is from Rezatofighi et al., CVPR 2019.
"""

import torch
from torch import Tensor

HEAT_STD_SHARE = 1 / 7
"""Standard deviation of the heat around a centre, as a share of the face's side."""
MIN_HEAT_STD_CELLS = 0.4
"""Smallest standard deviation in cells, for faces smaller than a few cells."""
BOX_HEAT_THRESHOLD = 0.4
"""Heat above which a cell learns the box."""
SURROUNDINGS_HEAT = 1e-4
"""Heat at 4.3 standard deviations: a little more than half a side from the centre."""


def heat_map(boxes: Tensor, has_face: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Returns [N,h,w] in 0..1: a bump on each face's centre, exactly 1 in the centre's cell.

    Boxes are [N,4]: top, left, height, width as shares of the image; `has_face` is bool [N].
    """
    grid_height, grid_width = grid_hw
    top, left, height, width = boxes.unbind(1)
    rows = _gaussian(grid_height, (top + height / 2) * grid_height, height * grid_height)
    columns = _gaussian(grid_width, (left + width / 2) * grid_width, width * grid_width)
    return rows[:, :, None] * columns[:, None, :] * has_face[:, None, None]


def _gaussian(cells: int, centre: Tensor, side: Tensor) -> Tensor:
    """Returns [N,cells]; distances are from the middle of the centre's cell."""
    positions = torch.arange(cells, device=centre.device)
    centre_cell = centre.floor().clamp(0, cells - 1)
    std = (side * HEAT_STD_SHARE).clamp(min=MIN_HEAT_STD_CELLS)
    return torch.exp(-(((positions - centre_cell[:, None]) / std[:, None]) ** 2) / 2)


def heat_loss(logits: Tensor, heat: Tensor, cell_weight: Tensor) -> Tensor:
    """Returns the focal loss over cells, divided by the number of faces.

    Logits and heat are [N,h,w]; `cell_weight` [N,h,w] in 0..1 weights the cells without a centre.
    """
    score = logits.sigmoid()
    centre = heat == 1
    centre_loss = -((1 - score) ** 2) * torch.nn.functional.logsigmoid(logits)
    other_loss = (
        -((1 - heat) ** 4) * score**2 * torch.nn.functional.logsigmoid(-logits) * cell_weight
    )
    return torch.where(centre, centre_loss, other_loss).sum() / centre.sum().clamp(min=1)


def box_loss(boxes: Tensor, truth: Tensor, heat: Tensor) -> Tensor:
    """Returns 1 - GIoU, mean over the cells near a centre, weighted by their heat.

    Boxes are [N,h*w,4], truth [N,4], heat [N,h,w]. The weights of a photo's cells sum to one, so
    that a face of a hundred cells counts as much as a small face.
    """
    weight = torch.where(heat > BOX_HEAT_THRESHOLD, heat, 0).flatten(1)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
    loss = 1 - generalised_iou(boxes, truth[:, None])
    return (weight * loss).sum() / weight.sum().clamp(min=1)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """Returns IoU minus the share of the hull that neither box covers, -1..1.

    Boxes are [...,4] with top, left, height and width.
    """
    corner, side = one[..., :2], one[..., 2:]
    other_corner, other_side = other[..., :2], other[..., 2:]
    far, other_far = corner + side, other_corner + other_side
    shared = (torch.minimum(far, other_far) - torch.maximum(corner, other_corner)).clamp(min=0)
    intersection = shared.prod(-1)
    union = side.prod(-1) + other_side.prod(-1) - intersection
    hull = (torch.maximum(far, other_far) - torch.minimum(corner, other_corner)).prod(-1)
    tiny = torch.finfo(one.dtype).tiny
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)
