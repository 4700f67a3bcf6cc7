"""Task of the face detector: heat map of centres, boxes, and accuracy of routing."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from silhouette_seg.vision.geometry import Size
from training.data.dataset import read_backgrounds, read_frame, read_portraits
from training.data.faces import FaceCount, FaceDataset, FaceSample, read_multi_face_ids
from training.data.samplers import DomainBalancedSampler, EpochPlan, SampleSpec
from training.evaluation.faces import detector_from_network, measure_faces
from training.losses.faces import SURROUNDINGS_HEAT, box_loss, heat_loss, heat_map
from training.models.face_detector import decode_boxes
from training.recipe import Recipe
from training.tasks.segmentation import as_images


class FaceTask:
    """Trains with the focal loss of the heat map + GIoU of the boxes near a centre."""

    def __init__(self, recipe: Recipe, data: Path) -> None:
        self.recipe = recipe
        self.portraits = read_portraits(data, "train")
        self.multi_face_ids = read_multi_face_ids(data)
        self.backgrounds = [read_frame(path).rgb for path in read_backgrounds(data, "train")]
        self.validation = read_portraits(data, "val")
        self.empty = read_backgrounds(data, "val")

    def samples(self, size_hw: Size) -> FaceDataset:
        return FaceDataset(
            self.portraits,
            self.multi_face_ids,
            self.backgrounds,
            size_hw=size_hw,
            augmentation=self.recipe.augmentation,
        )

    def batch_sampler(self, plan: EpochPlan) -> Sampler[list[SampleSpec]]:
        return DomainBalancedSampler(self.portraits, plan, balance=self.recipe.domain_balance)

    def prepare(self, model: nn.Module) -> None:
        model.train()

    def losses(self, model: nn.Module, batch: FaceSample) -> dict[str, Tensor]:
        raw = model(as_images(batch.image)).float()
        faces = torch.as_tensor(batch.faces)
        heat = heat_map(batch.box, faces != FaceCount.NONE, raw.shape[-2:])
        # The positions of the other faces of a group are not known. Only the surroundings of the
        # dominant face count in such photos, so that no other face is labelled as background.
        is_single = (faces != FaceCount.SEVERAL)[:, None, None]
        cell_weight = torch.where(is_single, 1.0, (heat > SURROUNDINGS_HEAT).float())
        return {
            "heat": heat_loss(raw[:, 0], heat, cell_weight),
            "box": self.recipe.loss.box * box_loss(decode_boxes(raw), batch.box, heat),
        }

    def validate(self, model: nn.Module, size_hw: Size) -> dict[str, float]:
        """Returns the shares of photos with the dominant face found and with the correct domain."""
        detect_faces = detector_from_network(model, size_hw=size_hw, resize=self.recipe.resize)
        return measure_faces(detect_faces, self.validation, self.empty).history_metrics()
