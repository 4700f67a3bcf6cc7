"""Measures every segmentation model of a repository on the same photos and writes it down.

    python -m training.report --data DATA
    python -m training.report --data DATA --quick         (a few photos, to try it)

Writes training/RESULTS.md and training/results/*.png, in `build` when quick, and a gallery of
failures and of a clip, which holds photos of the data pack and so goes where git does not look.
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
from training.benchmark.measure import machine
from training.data.clips import read_clips
from training.data.dataset import Portrait, read_backgrounds, read_portraits
from training.evaluation.faces import FaceReport, Find, by_cascade, by_detector, measure_faces
from training.evaluation.metrics import estimate
from training.evaluation.onnx_model import open_onnx
from training.report import plots
from training.report.calibration import PICTURE as RELIABILITY
from training.report.calibration import draw_reliability, measure_trust
from training.report.clips import (
    DIALS,
    Streamed,
    measure_cuts,
    restless,
    smoothing_ms,
    stream_clips,
)
from training.report.edges import measure_edges
from training.report.outlines import measure_outlines
from training.report.results import Model, PhotoFigures, Results
from training.report.scores import (
    METRICS,
    OWN,
    Answer,
    Contender,
    Group,
    contenders,
    find_specs,
    group,
    open_answer,
    ways_of,
    worst,
)
from training.report.text import results_text
from training.report.timing import CPU, Timing, time_models
from training.report.zoom import measure_second_look

FACE_DETECTOR = "face_detector"
PICTURES = "results"
STRIP = 8
"""Frames side by side in the picture of a clip."""
CLIP_HW = (224, 224)
"""What a cut is looked for in, and what smoothing is timed on."""
PLOTTED = "miou_image_mean"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    every: int
    """One photo of so many."""
    rounds: int
    images: int
    """About so many in each round of the timing."""
    failures: int
    frames: int
    """Of a clip, at most."""


FULL = Effort(every=1, rounds=5, images=16, failures=8, frames=100)
QUICK = Effort(every=12, rounds=2, images=4, failures=2, frames=6)


def main(
    data: Annotated[Path, typer.Option(help="the data pack")],
    repository: Annotated[Path, typer.Option()] = Path("model_repository"),
    folder: Annotated[
        Path | None, typer.Option(help="of RESULTS.md; by default training, build when quick")
    ] = None,
    gallery: Annotated[Path, typer.Option(help="not for git")] = Path("build/gallery"),
    quick: Annotated[bool, typer.Option("--quick", help="few photos, to try it")] = False,
) -> None:
    """Writes RESULTS.md, its plots and the gallery."""
    cv2.setNumThreads(1)
    folder = folder or Path("build" if quick else "training")
    effort, context = QUICK if quick else FULL, machine()
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    if not specs:
        raise typer.BadParameter(f"no segmentation model in {repository}")
    models = [describe(spec, repository, folder) for spec in specs]
    portraits = read_portraits(data, "val")[:: effort.every]
    find = open_detector(repository)
    answers = {spec.name: open_answer(spec, repository) for spec in specs}
    scored = [
        each
        for spec in specs
        for each in contenders(spec, answers[spec.name], ways_of(spec, find), portraits)
    ]
    groups = group(portraits)
    timed = [*specs, *find_specs(repository, ModelTask.FACES)]
    timings = time_models(timed, repository, rounds=effort.rounds, images=effort.images)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    draw(scored, groups, timings, folder / PICTURES)
    show_failures(scored, answers, portraits, gallery, count=effort.failures)
    backgrounds = read_backgrounds(data, "val")[:: effort.every]
    photos = PhotoFigures(
        second_look=measure_second_look(
            [each.spec for each in models if each.digest_holds], repository, portraits, backgrounds
        ),
        edges=measure_edges(answers, portraits, backgrounds),
        trust=measure_trust(specs, repository, find, portraits, backgrounds),
    )
    draw_reliability(photos.trust, folder / PICTURES / RELIABILITY)
    clips = read_clips(data, frames=effort.frames)
    streamed = stream_clips(specs, repository, clips) if clips else None
    if streamed and streamed.showings:
        show_strip(streamed, folder / PICTURES, gallery)
    results = Results(
        quick=quick,
        portraits=portraits,
        groups=groups,
        models=models,
        contenders=scored,
        timings=timings,
        rounds=effort.rounds,
        machine=context | {"onnxruntime": ort.__version__},
        faces=judge_faces(find, portraits, backgrounds),
        pictures=PICTURES,
        worst_of_each=effort.failures,
        outlines=measure_outlines(portraits, groups),
        streamed=streamed,
        cuts=measure_cuts(data, clips, frames=effort.frames, size_hw=CLIP_HW),
        smoothing_ms=smoothing_ms(CLIP_HW),
        photos=photos,
    )
    (folder / "RESULTS.md").write_text(results_text(results))


def open_detector(repository: Path) -> Find | None:
    """The repository's face detector, where it has one."""
    found = {spec.name: spec for spec in find_specs(repository, ModelTask.FACES)}
    if FACE_DETECTOR not in found:
        return None
    spec = found[FACE_DETECTOR]
    predict = open_onnx(spec.model_file(repository))
    return by_detector(predict, size_hw=spec.size_hw, resize=spec.resize)


def judge_faces(
    find: Find | None, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> dict[str, FaceReport]:
    """Our detector and, where this OpenCV has it, its cascade as the baseline."""
    if find is None:
        return {}
    reports = {FACE_DETECTOR: measure_faces(find, portraits, backgrounds)}
    if cascade := by_cascade():
        reports["OpenCV cascade"] = measure_faces(cascade, portraits, backgrounds)
    return reports


def describe(spec: ModelSpec, repository: Path, folder: Path) -> Model:
    """What can be read off the model's file and what lies beside it."""
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


def draw(
    scored: Sequence[Contender],
    groups: Sequence[Group],
    timings: Sequence[Timing],
    pictures: Path,
) -> None:
    """The plots of RESULTS.md."""
    label = METRICS[PLOTTED]
    # on one thread the same as wall clock, unless others want the processor too
    ms = {
        each.setup.model: each.cpu_ms
        for each in timings
        if (each.setup.provider, each.setup.threads, each.setup.batch) == (CPU, 1, 1)
    }

    def cost(each: Contender) -> float:
        return ms[each.spec.name] + (ms[FACE_DETECTOR] if each.way == OWN else 0)

    plots.plot_tradeoff(
        [
            plots.Point(each.label, cost(each), estimate(each.scores)[PLOTTED])
            for each in scored
            if each.main or each.way == OWN
        ],
        pictures / "accuracy_time.png",
        time="processor ms an image, ONNX Runtime, one thread, batch of one",
        accuracy=f"{label} (%)",
    )
    for kind in ("domain", "source"):
        chosen = [each for each in groups if each.kind == kind]
        plots.plot_bars(
            [f"{each.name}\n{len(each.rows)} photos" for each in chosen],
            {each.label: [estimate(part.of(each))[PLOTTED] for part in chosen] for each in scored},
            pictures / f"{kind}s.png",
            label=f"{label}, %",
        )


def show_failures(
    scored: Sequence[Contender],
    answers: dict[str, Answer],
    portraits: Sequence[Portrait],
    gallery: Path,
    *,
    count: int,
) -> None:
    """A picture for each model in the folder `gallery`."""
    for each in scored:
        if each.main:
            rows = [(portraits[row], each.scores[row]) for row in worst(each, count)]
            pictures = [
                plots.Picture(
                    f"{portrait.id} ({portrait.domain.label}): {50 * sum(score.iou):.1f}",
                    portrait.rgb(),
                    portrait.truth() > 127,
                    answers[each.spec.name](portrait, portrait.domain) > 127,
                )
                for portrait, score in rows
            ]
            plots.plot_gallery(pictures, gallery / f"{each.spec.name}.png")


def show_strip(streamed: Streamed, pictures: Path, gallery: Path) -> None:
    """Our own masks of neighbouring frames; with the photos and the reference in the gallery."""
    clip, window = restless(streamed, STRIP)
    masks = {
        f"{each.label}\ndial {dial:g}": each.alphas[window]
        for dial in (DIALS[0], DIALS[-1])
        for each in streamed.of(clip.name, dial)
    }
    given = {"frame": clip.frames[window], "reference": clip.truths[window]}
    plots.plot_strip(masks, pictures / "streams.png")
    plots.plot_strip(given | masks, gallery / "streams.png")


if __name__ == "__main__":
    typer.run(main)
