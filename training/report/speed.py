"""Writes and draws the time that each model takes for an image."""

from pathlib import Path

from silhouette_seg.pipeline.model_folders import FACE_DETECTOR
from training.evaluation.metrics import estimate_metrics
from training.report.markdown import table
from training.report.plots import TradeoffPoint, plot_tradeoff
from training.report.results import PICTURES_FOLDER, Results
from training.report.scores import DETECTED_DOMAIN, METRIC_TITLES, PLOTTED_METRIC, ModelScores
from training.report.timing import CPU, CUDA, providers, single_image_ms


def times_text(results: Results) -> str:
    """Writes the section of times, with the load of the machine."""
    machine = results.machine
    rounds = results.inputs.size.rounds
    load, cpus = machine["load_before"][0], machine["usable_cpus"]
    busy = (
        f" The machine was busy (load {load} on {cpus} processors): the times are upper bounds;"
        " prefer processor time to wall clock."
    )
    cuda = "" if CUDA in providers() else " This ONNX Runtime has no CUDA: no GPU was timed."
    rows = [
        (
            timing.setup.model,
            timing.setup.provider.removesuffix("ExecutionProvider"),
            f"{timing.setup.threads}" if timing.setup.provider == CPU else "",
            f"{timing.setup.batch}",
            f"{timing.ms:.2f}",
            f"{timing.cpu_ms:.2f}",
        )
        for timing in results.timings
    ]
    head = ("model", "provider", "threads", "batch", "ms", "processor ms")
    return f"""## Time

Milliseconds for one image of the batch, the network alone: medians of {rounds} rounds,
each of which runs every row once. The plot shows processor time. {_domains_text(results)}
{machine["processor"]}, {cpus} processors usable, load {load} before; \
ONNX Runtime {machine["onnxruntime"]}, Python {machine["python"]}.\
{busy if load > cpus / 2 else ""}{cuda}

{table(head, rows)}

![accuracy against time]({PICTURES_FOLDER}/accuracy_time.png)"""


def _domains_text(results: Results) -> str:
    if not any(spec.has_input("domain") for spec in results.inputs.specs):
        return ""
    batches = "Batches of a model that takes a domain hold different domains."
    if not results.faces:
        return batches
    return f"{batches} In the plot, own faces include the face detector's time."


def draw_tradeoff(results: Results, pictures: Path, _gallery: Path) -> None:
    """Draws accuracy against processor time.

    Processor time equals wall clock on one thread, unless the machine is busy.
    """
    ms = single_image_ms(results.timings)

    def image_ms(scores: ModelScores) -> float:
        detector_ms = ms[FACE_DETECTOR] if scores.policy == DETECTED_DOMAIN else 0
        return ms[scores.spec.name] + detector_ms

    plot_tradeoff(
        [
            TradeoffPoint(
                scores.label,
                image_ms(scores),
                estimate_metrics(scores.scores)[PLOTTED_METRIC],
            )
            for scores in results.model_scores
            if scores.is_comparable
        ],
        pictures / "accuracy_time.png",
        time="processor ms an image, ONNX Runtime, one thread, batch of one",
        accuracy=f"{METRIC_TITLES[PLOTTED_METRIC]} (%)",
    )
