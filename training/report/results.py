"""Measurements that several sections of RESULTS.md share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silhouette_seg.pipeline.model_folders import FACE_DETECTOR
from silhouette_seg.spec import ModelTask
from training.benchmark.measure import Figures
from training.evaluation.faces import FaceReport, detector_from_cascade, measure_faces
from training.evaluation.specs import find_specs
from training.report.inputs import ReportInputs
from training.report.scores import ModelScores, domain_policies, score_policies
from training.report.timing import Timing, time_models

PICTURES_FOLDER = "results"
"""Folder of the plots, relative to RESULTS.md."""


@dataclass(frozen=True, slots=True)
class Results:
    """Inputs of one report run and the measurements that several sections share."""

    inputs: ReportInputs
    machine: Figures
    model_scores: Sequence[ModelScores]
    timings: Sequence[Timing]
    faces: Mapping[str, FaceReport]
    """Reports of the face detectors by name; empty if the repository has no detector."""


def measure_models(inputs: ReportInputs, machine: Figures) -> Results:
    """Scores and times every model."""
    timed_specs = [*inputs.specs, *find_specs(inputs.repository, ModelTask.FACES)]
    size = inputs.size
    return Results(
        inputs=inputs,
        machine=machine,
        model_scores=score_models(inputs),
        timings=time_models(timed_specs, inputs.repository, rounds=size.rounds, images=size.images),
        faces=measure_detectors(inputs),
    )


def score_models(inputs: ReportInputs) -> list[ModelScores]:
    """Scores every model under each of its domain policies."""
    return [
        scores
        for spec in inputs.specs
        for scores in score_policies(
            spec,
            inputs.predictors[spec.name],
            domain_policies(spec, inputs.detect_faces),
            inputs.portraits,
        )
    ]


def measure_detectors(inputs: ReportInputs) -> dict[str, FaceReport]:
    """Measures the face detector and, if this OpenCV has it, its cascade as the baseline."""
    if inputs.detect_faces is None:
        return {}
    photos = inputs.portraits, inputs.backgrounds
    reports = {FACE_DETECTOR: measure_faces(inputs.detect_faces, *photos)}
    if cascade := detector_from_cascade():
        reports["OpenCV cascade"] = measure_faces(cascade, *photos)
    return reports
