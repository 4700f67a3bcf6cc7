"""Training tasks, one file for each kind: samples, losses and validation."""

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
"""Task class of each architecture, by the architecture's name."""


__all__ = ["TASKS", "Task", "build_task"]


def build_task(recipe: Recipe, data: Path) -> Task:
    """Builds the task, which reads the labelled photos.

    Raises KeyError for an unknown architecture and OSError for a missing file.
    """
    return TASKS[recipe.model](recipe, data)
