"""Writes RESULTS.md; every figure comes from the run that writes it."""

from collections.abc import Callable, Iterable

from silhouette_seg.pipeline.faces import Domain
from training.data.dataset import Portrait
from training.evaluation.metrics import INTERVAL_PERCENTILES, MIN_INTERVAL_PHOTOS, RESAMPLES
from training.report.accuracy import accuracy_text, differences_text, targets_text
from training.report.calibration import calibration_text
from training.report.edges import edges_text
from training.report.markdown import table
from training.report.outlines import outlines_text
from training.report.results import Model, Results
from training.report.scores import ModelScores, worst_cases
from training.report.streams import streams_text
from training.report.timing import CPU, CUDA, providers
from training.report.zoom import zoom_text


def results_text(results: Results) -> str:
    """Returns the text of the whole file."""
    sections = (section(results) for section in SECTIONS)
    return "\n\n".join(text for text in sections if text) + "\n"


def _outlines(results: Results) -> str:
    return outlines_text(results.outlines)


def _zoom(results: Results) -> str:
    return zoom_text(results.photos.zoom) if results.photos else ""


def _edges(results: Results) -> str:
    return edges_text(results.photos.edges) if results.photos else ""


def _calibration(results: Results) -> str:
    photos = results.photos
    return calibration_text(photos.calibration, results.pictures) if photos else ""


def _opening(results: Results) -> str:
    quick = "**A quick run on a part of the photos, to try the command: not the results.**\n\n"
    groups = len({each.group for each in results.portraits})
    percent = INTERVAL_PERCENTILES[1] - INTERVAL_PERCENTILES[0]
    return f"""# Results

{quick if results.quick else ""}\
Written by `python -m training.report --data DATA`; no figure is edited by hand. Validation split:
{len(results.portraits)} photos of {groups} people or scenes, each at its own resolution, with the
service's own steps around the model (decode, resize, no-person rule). Figures are in percent; a
pixel is person from probability 0.5. Brackets hold bootstrap intervals of {percent:.0f} % over
photos ({RESAMPLES} resamples, percentiles, fixed seed): the spread over other photos of the same
kind. Groups of fewer than {MIN_INTERVAL_PHOTOS} photos have none. Intervals do not cover other
seeds of the training: there is one run each."""


def _models(results: Results) -> str:
    rows = [
        (
            f"[{each.spec.name}]({each.folder}/CARD.md)",
            f"{each.spec.size_hw[0]}x{each.spec.size_hw[1]}, {each.spec.resize}",
            ", ".join(tensor.name for tensor in each.spec.inputs),
            f"{each.weights:,}",
            f"{each.megabytes:.2f} MB",
            f"`{each.spec.run}`",
            f"`{each.spec.sha256[:12]}`" + ("" if each.digest_holds else " **(not the file's)**"),
        )
        for each in results.models
    ]
    head = ("model", "input", "takes", "weights in the file", "file", "run", "sha256")
    licences = "\n".join(f"- {each.spec.name}: {each.spec.licence}" for each in results.models)
    return f"## Models\n\n{table(head, rows)}\n\nLicences:\n\n{licences}"


def _times(results: Results) -> str:
    machine = results.machine
    load, cpus = machine["load_before"][0], machine["usable_cpus"]
    busy = (
        f" The machine was busy (load {load} on {cpus} processors): the times are upper bounds;"
        " prefer processor time to wall clock."
    )
    cuda = "" if CUDA in providers() else " This ONNX Runtime has no CUDA: no GPU was timed."
    rows = [
        (
            each.setup.model,
            each.setup.provider.removesuffix("ExecutionProvider"),
            f"{each.setup.threads}" if each.setup.provider == CPU else "",
            f"{each.setup.batch}",
            f"{each.ms:.2f}",
            f"{each.cpu_ms:.2f}",
        )
        for each in results.timings
    ]
    head = ("model", "provider", "threads", "batch", "ms", "processor ms")
    return f"""## Time

Milliseconds for one image of the batch, the network alone: medians of {results.rounds} rounds,
each of which runs every row once. The plot shows processor time. {_domains_in_time(results)}
{machine["processor"]}, {cpus} processors usable, load {load} before; \
ONNX Runtime {machine["onnxruntime"]}, Python {machine["python"]}.\
{busy if load > cpus / 2 else ""}{cuda}

{table(head, rows)}

![accuracy against time]({results.pictures}/accuracy_time.png)"""


def _domains_in_time(results: Results) -> str:
    if not any(each.spec.has_input("domain") for each in results.models):
        return ""
    batches = "Batches of a model that takes a domain hold different domains."
    if not results.faces:
        return batches
    return f"{batches} In the plot, own faces include the face detector's time."


def _curves(results: Results) -> str:
    drawn = [each for each in results.models if each.curve]
    if not drawn:
        return ""
    pictures = tuple(f"![curve of {each.spec.name}]({each.folder}/curve.png)" for each in drawn)
    return f"## Learning curves\n\n{table([each.spec.name for each in drawn], [pictures])}"


def _failures(results: Results) -> str:
    parts = [
        "## Failures",
        f"The {results.worst_cases_per_model} worst photos of each model by mean IoU of both"
        " classes. The photos are not ours to publish:"
        " `python -m training.report --data DATA --gallery build/gallery` draws input, reference"
        " and mask of each into a folder that git ignores.",
    ]
    for each in results.model_scores:
        if each.is_primary:
            places = worst_cases(each, results.worst_cases_per_model)
            rows = [_failure(results.portraits[row], each, row) for row in places]
            head = ("photo", "source", "domain", "mean IoU", "IoU person", "CA", "SC")
            parts.append(f"### {each.label}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _failure(portrait: Portrait, model_scores: ModelScores, row: int) -> tuple[str, ...]:
    scored = model_scores.scores[row]
    shares = (sum(scored.iou) / 2, scored.iou[1], scored.contour_accuracy, scored.connectivity)
    percent = (f"{100 * share:.1f}" for share in shares)
    return portrait.id, portrait.source, portrait.domain.label, *percent


def _faces(results: Results) -> str:
    """Writes the section of the face detector; empty if the repository has none."""
    if not results.faces:
        return ""
    reports = results.faces.values()
    labels = next(iter(reports)).recall
    shares = {
        "domain is the reference's": [each.agreement for each in reports],
        "domain next to the reference's": [each.neighbours for each in reports],
        **{f"recall, {label}": [each.recall[label] for each in reports] for label in labels},
        "precision": [each.precision for each in reports],
        "faces detected in photos without a person": [each.false_alarms for each in reports],
        "faces detected where the reference has none": [each.no_face_alarms for each in reports],
        "box IoU with the reference's, 0 if missed": [each.box_iou for each in reports],
        "box IoU of the faces found": [each.found_iou for each in reports],
    }
    rows = [(name, *(f"{100 * value:.1f}" for value in values)) for name, values in shares.items()]
    rows.append(("median ms, pixels to boxes", *(f"{each.milliseconds:.1f}" for each in reports)))
    first = next(iter(reports))
    parts = [
        "## Face detector",
        f"On {first.photos} photos of people and {first.backgrounds} scenes without one; in percent"
        " of photos, except the last row. The reference is the data pack's faces, which"
        " a detector found, not a person.",
        table(("", *results.faces), rows),
    ]
    for name, report in results.faces.items():
        confusion = [
            (domain.label, *map(str, counts))
            for domain, counts in zip(Domain, report.confusion, strict=True)
        ]
        head = ("reference \\ detected", *(domain.label for domain in Domain))
        parts.append(f"### Domains by {name}\n\n{table(head, confusion)}")
    return "\n\n".join(parts)


def _unverified(results: Results) -> str:
    general = [
        "One training run each: the effect of another seed was not measured.",
        "Reference masks are taken as they are; some are arguable, see the failures.",
        "Agreement of the file with the network in torch was checked by the export, not here.",
    ]
    if CUDA not in providers():
        general.append("Time and agreement on a GPU.")
    parts = [f"- {line}" for line in general]
    for model in results.models:
        parts += [f"- {model.spec.name}: {line}" for line in _unverified_of(model, results)]
    return "## Not verified\n\n" + "\n".join(parts)


def _unverified_of(model: Model, results: Results) -> Iterable[str]:
    if not model.digest_holds:
        yield "the file is not the one that its spec describes."
    if model.spec.has_input("prior"):
        yield "the photos are without a prior; its effect is measured on clips alone."
    if model.spec.has_input("domain") and not results.faces:
        yield "as served: the repository has no face detector, so no photo was routed."


SECTIONS: tuple[Callable[[Results], str], ...] = (
    _opening,
    _models,
    accuracy_text,
    differences_text,
    targets_text,
    _outlines,
    _zoom,
    _edges,
    _calibration,
    streams_text,
    _times,
    _curves,
    _failures,
    _faces,
    _unverified,
)
"""Sections of the file in their order; a section without content is empty."""
