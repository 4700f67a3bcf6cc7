"""Model card (CARD.md) of an imported model: origin, licence, steps and comparison."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from silhouette_seg.model_import.presets import Preset
from silhouette_seg.model_import.processing import Activation, Processing
from silhouette_seg.model_import.verification import Verification
from silhouette_seg.spec import ModelSpec

NOISE = (
    "The smallest value of each mask becomes 0 and the largest 255, as in the reference. A photo"
    " without a person therefore becomes noise of full contrast."
)


def card_text(
    spec: ModelSpec,
    file: Path,
    processing: Processing,
    preset: Preset | None,
    verification: Verification,
) -> str:
    """Returns the Markdown of the card of a model that was imported from `file`."""
    height, width = spec.size_hw
    return f"""\
# {spec.name}

| | |
|---|---|
| origin | `{file.name}`, sha256 `{sha256(file.read_bytes()).hexdigest()}` |
| licence | {spec.licence} |
| input | `image` uint8 [N,{height},{width},3] RGB, resize rule `{spec.resize}` |
| output | `alpha` uint8 [N,{height},{width}], 255 x the share of person |
| largest batch | {spec.max_batch} |
| precision of the input | {spec.precision} |
| sha256 | `{spec.sha256}` |
| import | {spec.run} |

## Steps around the network

| step | value |
|---|---|
| layout, colour order | {processing.layout}, {processing.order} |
| divisor of the pixels | {processing.scale} |
| mean | {_numbers(processing.mean)} |
| standard deviation | {_numbers(processing.std)} |
| channel of the person | {processing.channel} |
| activation | {processing.activation} |
| source of these numbers | {_source(processing, preset)} |

{_notes(processing, preset)}The composed graph was compared with the original behind the
same steps in numpy. On a drawn portrait and on noise the masks differ by
{verification.largest_difference} levels of 255 at most, and by {verification.steps_difference} for
the same input bit by bit. The accuracy on photos was not measured.
"""


def _source(processing: Processing, preset: Preset | None) -> str:
    if preset is None:
        return "options of the import"
    own = replace(preset.processing, layout=processing.layout)
    return preset.reference + ("" if own == processing else ", changed by options or by the graph")


def _notes(processing: Processing, preset: Preset | None) -> str:
    notes = [preset.note] if preset and preset.note else []
    if preset and not preset.tested:
        notes.append("The preset has not been tested with published weights.")
    if processing.activation is Activation.MINMAX:
        notes.append(NOISE)
    return "".join(f"{note}\n\n" for note in notes)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
