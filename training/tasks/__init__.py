"""What is trained, one file a kind: samples, losses and validation behind one protocol."""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.recipe import Recipe
from training.tasks.base import Task
from training.tasks.face import FaceTask
from training.tasks.rcrnet import RCRNetTask
from training.tasks.segmentation import SegmentationTask
from training.tasks.trisenet import TriSeNetTask

TASKS: Mapping[str, Callable[[Recipe, Path], Task]] = {
    "connectnet": SegmentationTask,
    "unet": SegmentationTask,
    "rcrnet": RCRNetTask,
    "trisenet": TriSeNetTask,
    "md_trisenet": TriSeNetTask,
    "face_detector": FaceTask,
}
"""By the name of the architecture."""


__all__ = ["TASKS", "Task", "build_task"]


def build_task(recipe: Recipe, data: Path) -> Task:
    """Reads the labelled photos; raises KeyError for an unknown architecture, or OSError."""
    return TASKS[recipe.model](recipe, data)
