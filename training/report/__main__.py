"""Measures every segmentation model of a repository on the same photos and writes the results.

    python -m training.report --data DATA
    python -m training.report --data DATA --quick

`--quick` measures a few photos, to try the command.

Writes training/RESULTS.md and training/results/*.png; a quick run writes them into `build`. Also
writes a gallery of failures and of a clip. The gallery holds photos of the data pack, so its folder
is ignored by git.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import typer

from silhouette_seg.spec import ModelSpec, ModelTask
from training.benchmark.measure import Figures, describe_machine
from training.data.clips import read_clips
from training.data.dataset import Portrait, read_backgrounds, read_portraits
from training.evaluation.faces import (
    DetectFaces,
    FaceReport,
    detector_from_cascade,
    detector_from_model,
    measure_faces,
)
from training.evaluation.metrics import estimate_metrics
from training.evaluation.onnx_model import open_onnx
from training.evaluation.specs import find_specs
from training.options import DEFAULT_REPOSITORY, DataPack, Repository
from training.report import plots
from training.report.calibration import RELIABILITY_PICTURE, draw_reliability, measure_calibration
from training.report.clips import (
    SMOOTHINGS,
    StreamFigures,
    flicker_window,
    measure_cuts,
    measure_smoothing_ms,
    measure_streams,
)
from training.report.edges import measure_edges
from training.report.outlines import measure_outlines
from training.report.results import Model, PhotoFigures, Results
from training.report.scores import (
    DETECTED_DOMAIN,
    METRIC_TITLES,
    Group,
    ModelScores,
    PredictMask,
    domain_policies,
    group_portraits,
    open_predictor,
    score_policies,
    worst_cases,
)
from training.report.text import results_text
from training.report.timing import CPU, Timing, time_models
from training.report.zoom import measure_zoom

FACE_DETECTOR = "face_detector"
PICTURES_FOLDER = "results"
STRIP_FRAMES = 8
"""Frames side by side in the picture of a clip."""
CUT_SIZE_HW = (224, 224)
"""Frame size at which scene cuts are detected and smoothing is timed."""
PLOTTED_METRIC = "miou_image_mean"


@dataclass(frozen=True, slots=True)
class RunSize:
    """Amount of data and repetitions of a report run."""

    photo_stride: int
    """Every `photo_stride`-th photo is measured."""
    rounds: int
    images: int
    """Approximate number of images in each round of the timing."""
    failures: int
    frames: int
    """Maximum number of frames of a clip."""


FULL_RUN = RunSize(photo_stride=1, rounds=5, images=16, failures=8, frames=100)
QUICK_RUN = RunSize(photo_stride=12, rounds=2, images=4, failures=2, frames=6)


def main(
    data: DataPack,
    repository: Repository = DEFAULT_REPOSITORY,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of RESULTS.md; training by default, build with --quick."),
    ] = None,
    gallery: Annotated[Path, typer.Option(help="Folder of the gallery, which git ignores.")] = Path(
        "build/gallery"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure a few photos, to try the command.")
    ] = False,
) -> None:
    """Writes RESULTS.md, its plots and the gallery."""
    cv2.setNumThreads(1)
    folder = folder or Path("build" if quick else "training")
    machine = describe_machine() | {"onnxruntime": ort.__version__}
    inputs = open_inputs(data, repository, QUICK_RUN if quick else FULL_RUN)
    models = [describe_model(spec, repository, folder) for spec in inputs.specs]
    results = measure(inputs, models, machine, quick=quick)
    draw_pictures(results, inputs, folder / PICTURES_FOLDER, gallery)
    (folder / "RESULTS.md").write_text(results_text(results))


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Models, photos and run size of a report."""

    data: Path
    repository: Path
    size: RunSize
    specs: Sequence[ModelSpec]
    predictors: dict[str, PredictMask]
    """Segmentation models by name."""
    find: DetectFaces | None
    """The repository's face detector; None if there is none."""
    portraits: Sequence[Portrait]
    backgrounds: Sequence[Path]
    """Photos without a person."""


def open_inputs(data: Path, repository: Path, size: RunSize) -> ReportInputs:
    """Opens models and photos; raises typer.BadParameter without a segmentation model."""
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    if not specs:
        raise typer.BadParameter(f"no segmentation model in {repository}")
    return ReportInputs(
        data=data,
        repository=repository,
        size=size,
        specs=specs,
        predictors={spec.name: open_predictor(spec, repository) for spec in specs},
        find=open_detector(repository),
        portraits=read_portraits(data, "val")[:: size.photo_stride],
        backgrounds=read_backgrounds(data, "val")[:: size.photo_stride],
    )


def measure(
    inputs: ReportInputs, models: Sequence[Model], machine: Figures, *, quick: bool
) -> Results:
    """Measures everything that the report shows."""
    size, repository, portraits = inputs.size, inputs.repository, inputs.portraits
    groups = group_portraits(portraits)
    clips = read_clips(inputs.data, frames=size.frames)
    timed = [*inputs.specs, *find_specs(repository, ModelTask.FACES)]
    return Results(
        quick=quick,
        portraits=portraits,
        groups=groups,
        models=models,
        model_scores=score_models(inputs),
        timings=time_models(timed, repository, rounds=size.rounds, images=size.images),
        rounds=size.rounds,
        machine=machine,
        faces=measure_detectors(inputs.find, portraits, inputs.backgrounds),
        pictures=PICTURES_FOLDER,
        worst_cases_per_model=size.failures,
        outlines=measure_outlines(portraits, groups),
        streams=measure_streams(inputs.specs, repository, clips) if clips else None,
        cuts=measure_cuts(inputs.data, clips, frames=size.frames, size_hw=CUT_SIZE_HW),
        smoothing_ms=measure_smoothing_ms(CUT_SIZE_HW),
        photos=measure_photos(inputs, [each.spec for each in models if each.digest_holds]),
    )


def score_models(inputs: ReportInputs) -> list[ModelScores]:
    """Scores every model under each of its domain policies."""
    return [
        scores
        for spec in inputs.specs
        for scores in score_policies(
            spec,
            inputs.predictors[spec.name],
            domain_policies(spec, inputs.find),
            inputs.portraits,
        )
    ]


def measure_photos(inputs: ReportInputs, zoom_specs: Sequence[ModelSpec]) -> PhotoFigures:
    """Measures the photo pipeline around the models; the zoom pass of `zoom_specs` alone."""
    photos = inputs.portraits, inputs.backgrounds
    return PhotoFigures(
        zoom=measure_zoom(zoom_specs, inputs.repository, *photos),
        edges=measure_edges(inputs.predictors, *photos),
        calibration=measure_calibration(inputs.specs, inputs.repository, inputs.find, *photos),
    )


def draw_pictures(results: Results, inputs: ReportInputs, pictures: Path, gallery: Path) -> None:
    """Draws the plots into `pictures`, and everything with photos into `gallery`."""
    pictures.mkdir(parents=True, exist_ok=True)
    draw_plots(results.model_scores, results.groups, results.timings, pictures)
    draw_failures(
        results.model_scores,
        inputs.predictors,
        inputs.portraits,
        gallery,
        count=results.worst_cases_per_model,
    )
    if results.photos:
        draw_reliability(results.photos.calibration, pictures / RELIABILITY_PICTURE)
    if results.streams and results.streams.clip_results:
        draw_strip(results.streams, pictures, gallery)


def open_detector(repository: Path) -> DetectFaces | None:
    """Opens the repository's face detector; returns None if there is none."""
    found = {spec.name: spec for spec in find_specs(repository, ModelTask.FACES)}
    if FACE_DETECTOR not in found:
        return None
    spec = found[FACE_DETECTOR]
    predict = open_onnx(spec.model_file(repository))
    return detector_from_model(predict, size_hw=spec.size_hw, resize=spec.resize)


def measure_detectors(
    find: DetectFaces | None, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> dict[str, FaceReport]:
    """Measures our detector and, if this OpenCV has it, its cascade as the baseline."""
    if find is None:
        return {}
    reports = {FACE_DETECTOR: measure_faces(find, portraits, backgrounds)}
    if cascade := detector_from_cascade():
        reports["OpenCV cascade"] = measure_faces(cascade, portraits, backgrounds)
    return reports


def describe_model(spec: ModelSpec, repository: Path, folder: Path) -> Model:
    """Describes a model by its file and by the files beside it."""
    file, beside = spec.model_file(repository), repository / spec.name
    weights = onnx.load(str(file)).graph.initializer
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return Model(
        spec=spec,
        megabytes=file.stat().st_size / 1e6,
        weights=sum(int(np.prod(each.dims)) for each in weights if each.data_type in floats),
        digest_holds=hashlib.sha256(file.read_bytes()).hexdigest() == spec.sha256,
        folder=os.path.relpath(beside, folder),
        curve=(beside / "curve.png").exists(),
    )


def draw_plots(
    model_scores: Sequence[ModelScores],
    groups: Sequence[Group],
    timings: Sequence[Timing],
    pictures: Path,
) -> None:
    """Draws the plots of RESULTS.md."""
    label = METRIC_TITLES[PLOTTED_METRIC]
    # equal to wall clock on one thread, unless the machine is busy
    ms = {
        each.setup.model: each.cpu_ms
        for each in timings
        if (each.setup.provider, each.setup.threads, each.setup.batch) == (CPU, 1, 1)
    }

    def cost(each: ModelScores) -> float:
        return ms[each.spec.name] + (ms[FACE_DETECTOR] if each.policy == DETECTED_DOMAIN else 0)

    plots.plot_tradeoff(
        [
            plots.TradeoffPoint(
                each.label, cost(each), estimate_metrics(each.scores)[PLOTTED_METRIC]
            )
            for each in model_scores
            if each.is_primary or each.policy == DETECTED_DOMAIN
        ],
        pictures / "accuracy_time.png",
        time="processor ms an image, ONNX Runtime, one thread, batch of one",
        accuracy=f"{label} (%)",
    )
    for kind in ("domain", "source"):
        chosen = [each for each in groups if each.kind == kind]
        plots.plot_bars(
            [f"{each.name}\n{len(each.rows)} photos" for each in chosen],
            {
                each.label: [estimate_metrics(part.select(each))[PLOTTED_METRIC] for part in chosen]
                for each in model_scores
            },
            pictures / f"{kind}s.png",
            label=f"{label}, %",
        )


def draw_failures(
    model_scores: Sequence[ModelScores],
    predictors: dict[str, PredictMask],
    portraits: Sequence[Portrait],
    gallery: Path,
    *,
    count: int,
) -> None:
    """Draws the worst cases of each model into the folder `gallery`."""
    for each in model_scores:
        if each.is_primary:
            rows = [(portraits[row], each.scores[row]) for row in worst_cases(each, count)]
            pictures = [
                plots.GalleryRow(
                    f"{portrait.id} ({portrait.domain.label}): {50 * sum(score.iou):.1f}",
                    portrait.rgb(),
                    portrait.truth() > 127,
                    predictors[each.spec.name](portrait, portrait.domain) > 127,
                )
                for portrait, score in rows
            ]
            plots.plot_gallery(pictures, gallery / f"{each.spec.name}.png")


def draw_strip(streamed: StreamFigures, pictures: Path, gallery: Path) -> None:
    """Draws masks of neighbouring frames.

    The picture in the gallery also has the photos and the reference.
    """
    clip, window = flicker_window(streamed, STRIP_FRAMES)
    masks = {
        f"{each.label}\nsmoothing {smoothing:g}": each.alphas[window]
        for smoothing in (SMOOTHINGS[0], SMOOTHINGS[-1])
        for each in streamed.select(clip.name, smoothing)
    }
    inputs = {"frame": clip.frames[window], "reference": clip.truths[window]}
    plots.plot_strip(masks, pictures / "streams.png")
    plots.plot_strip(inputs | masks, gallery / "streams.png")


if __name__ == "__main__":
    typer.run(main)
