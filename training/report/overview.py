"""Writes the sections of the run and of its models: opening, files, curves, open points."""

from collections.abc import Iterable

from training.evaluation.metrics import INTERVAL_PERCENTILES, MIN_INTERVAL_PHOTOS, RESAMPLES
from training.report.inputs import Model
from training.report.markdown import table
from training.report.results import Results
from training.report.timing import CUDA, providers


def opening_text(results: Results) -> str:
    """Writes the title and the meaning of the figures."""
    inputs = results.inputs
    quick = "**A quick run on a part of the photos, to try the command: not the results.**\n\n"
    groups = len({portrait.group for portrait in inputs.portraits})
    percent = INTERVAL_PERCENTILES[1] - INTERVAL_PERCENTILES[0]
    return f"""# Results

{quick if inputs.quick else ""}\
Written by `python -m training.report --data DATA`; no figure is edited by hand. Validation split:
{len(inputs.portraits)} photos of {groups} people or scenes, each at its own resolution, with the
service's own steps around the model (decode, resize, no-person rule). Figures are in percent; a
pixel is person from probability 0.5. Brackets hold bootstrap intervals of {percent:.0f} % over
photos ({RESAMPLES} resamples, percentiles, fixed seed): the spread over other photos of the same
kind. Groups of fewer than {MIN_INTERVAL_PHOTOS} photos have none. Intervals do not cover other
seeds of the training: there is one run each."""


def models_text(results: Results) -> str:
    """Writes the section of model files and licences."""
    models = results.inputs.models
    rows = [
        (
            f"[{model.spec.name}]({model.folder}/CARD.md)",
            f"{model.spec.size_hw[0]}x{model.spec.size_hw[1]}, {model.spec.resize}",
            ", ".join(tensor.name for tensor in model.spec.inputs),
            f"{model.weights:,}",
            f"{model.megabytes:.2f} MB",
            f"`{model.spec.run}`",
            f"`{model.spec.sha256[:12]}`" + ("" if model.digest_holds else " **(not the file's)**"),
        )
        for model in models
    ]
    head = ("model", "input", "takes", "weights in the file", "file", "run", "sha256")
    licences = "\n".join(f"- {model.spec.name}: {model.spec.licence}" for model in models)
    return f"## Models\n\n{table(head, rows)}\n\nLicences:\n\n{licences}"


def curves_text(results: Results) -> str:
    """Writes the section of learning curves; empty if no model has one."""
    models = [model for model in results.inputs.models if model.curve]
    if not models:
        return ""
    pictures = tuple(f"![curve of {model.spec.name}]({model.folder}/curve.png)" for model in models)
    return f"## Learning curves\n\n{table([model.spec.name for model in models], [pictures])}"


def unverified_text(results: Results) -> str:
    """Writes the section of properties that this run did not verify."""
    general = [
        "One training run each: the effect of another seed was not measured.",
        "Reference masks are taken as they are; some are arguable, see the failures.",
        "Agreement of the file with the network in torch was checked by the export, not here.",
    ]
    if CUDA not in providers():
        general.append("Time and agreement on a GPU.")
    parts = [f"- {line}" for line in general]
    for model in results.inputs.models:
        parts += [f"- {model.spec.name}: {line}" for line in _unverified_properties(model, results)]
    return "## Not verified\n\n" + "\n".join(parts)


def _unverified_properties(model: Model, results: Results) -> Iterable[str]:
    if not model.digest_holds:
        yield "the file is not the one that its spec describes."
    if model.spec.has_input("prior"):
        yield "the photos are without a prior; its effect is measured on clips alone."
    if model.spec.has_input("domain") and not results.faces:
        yield "as served: the repository has no face detector, so no photo was routed."
