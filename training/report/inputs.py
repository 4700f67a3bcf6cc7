"""Inputs of a report run: models, photos and the amount of data."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import typer

from silhouette_seg.pipeline.model_folders import FACE_DETECTOR
from silhouette_seg.spec import ModelSpec, ModelTask
from training.data.dataset import Portrait, read_backgrounds, read_portraits
from training.evaluation.faces import DetectFaces, detector_from_model
from training.evaluation.onnx_model import open_onnx
from training.evaluation.specs import find_specs
from training.report.scores import Group, PredictMask, group_portraits, open_predictor


@dataclass(frozen=True, slots=True)
class RunSize:
    """Amount of data and repetitions of a report run."""

    photo_stride: int
    """Every `photo_stride`-th photo is measured."""
    rounds: int
    images: int
    """Approximate number of images in each round of the timing."""
    failures: int
    """Number of worst photos that are shown of each model."""
    frames: int
    """Maximum number of frames of a clip."""


FULL_RUN = RunSize(photo_stride=1, rounds=5, images=16, failures=8, frames=100)
QUICK_RUN = RunSize(photo_stride=12, rounds=2, images=4, failures=2, frames=6)


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table of models."""

    spec: ModelSpec
    megabytes: float
    weights: int
    """Number of floating-point values stored in the file."""
    digest_holds: bool
    folder: str
    """Folder of the model, relative to RESULTS.md."""
    curve: bool
    """True if `curve.png` is beside the model."""


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Models, photos and run size of a report."""

    quick: bool
    size: RunSize
    data: Path
    repository: Path
    models: Sequence[Model]
    """Segmentation models."""
    predictors: Mapping[str, PredictMask]
    """Segmentation models by name."""
    detect_faces: DetectFaces | None
    """The repository's face detector; None if there is none."""
    portraits: Sequence[Portrait]
    backgrounds: Sequence[Path]
    """Photos without a person."""
    groups: Sequence[Group]

    @property
    def specs(self) -> list[ModelSpec]:
        """Specs of the segmentation models."""
        return [model.spec for model in self.models]


def open_inputs(data: Path, repository: Path, *, folder: Path, quick: bool) -> ReportInputs:
    """Opens models and photos; `folder` is that of RESULTS.md.

    Raises typer.BadParameter without a segmentation model.
    """
    size = QUICK_RUN if quick else FULL_RUN
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    if not specs:
        raise typer.BadParameter(f"no segmentation model in {repository}")
    portraits = read_portraits(data, "val")[:: size.photo_stride]
    return ReportInputs(
        quick=quick,
        size=size,
        data=data,
        repository=repository,
        models=[describe_model(spec, repository, folder) for spec in specs],
        predictors={spec.name: open_predictor(spec, repository) for spec in specs},
        detect_faces=open_detector(repository),
        portraits=portraits,
        backgrounds=read_backgrounds(data, "val")[:: size.photo_stride],
        groups=group_portraits(portraits),
    )


def open_detector(repository: Path) -> DetectFaces | None:
    """Opens the repository's face detector; returns None if there is none."""
    specs = {spec.name: spec for spec in find_specs(repository, ModelTask.FACES)}
    if FACE_DETECTOR not in specs:
        return None
    spec = specs[FACE_DETECTOR]
    predict = open_onnx(spec.model_file(repository))
    return detector_from_model(predict, size_hw=spec.size_hw, resize=spec.resize)


def describe_model(spec: ModelSpec, repository: Path, folder: Path) -> Model:
    """Describes a model by its file and by the files beside it."""
    file, model_folder = spec.model_file(repository), repository / spec.name
    weights = onnx.load(str(file)).graph.initializer
    float_types = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return Model(
        spec=spec,
        megabytes=file.stat().st_size / 1e6,
        weights=sum(
            int(np.prod(tensor.dims)) for tensor in weights if tensor.data_type in float_types
        ),
        digest_holds=hashlib.sha256(file.read_bytes()).hexdigest() == spec.sha256,
        folder=os.path.relpath(model_folder, folder),
        curve=(model_folder / "curve.png").exists(),
    )
