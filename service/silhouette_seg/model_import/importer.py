"""Imports an ONNX file into a model repository: all files of the model's folder, or none."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from silhouette_seg.engine.triton.config_pbtxt import write_configs
from silhouette_seg.model_import.card import card_text
from silhouette_seg.model_import.composition import compose_graph
from silhouette_seg.model_import.errors import ModelRejected
from silhouette_seg.model_import.foreign_graph import (
    FLOAT_TYPES,
    ForeignGraph,
    open_foreign,
)
from silhouette_seg.model_import.presets import Preset
from silhouette_seg.model_import.processing import Processing, TensorLayout
from silhouette_seg.model_import.verification import Verification, verify
from silhouette_seg.pipeline.model_folders import AUTO, FACE_DETECTOR
from silhouette_seg.pipeline.registry import PHOTO_PREFERENCE
from silhouette_seg.spec import SPEC_FILE, ModelSpec, TensorSpec
from silhouette_seg.vision.geometry import Size

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RESERVED_NAMES = (AUTO, FACE_DETECTOR, *PHOTO_PREFERENCE)
"""Names that an imported model may not have: `auto` would prefer it to the others."""
MAX_BATCH = 16
"""Largest batch of an imported model."""
MAX_BATCH_PIXELS = 4 * 1024 * 1024
"""Pixels in the largest batch: 16 images of 512x512, or 4 of 1024x1024."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """Choices of the user for one import."""

    file: Path
    name: str
    """Name of the model, and of its folder."""
    licence: str
    processing: Processing
    layout: TensorLayout | None = None
    """TensorLayout that the user chose; None: as the graph shows it, else that of `processing`."""
    size_hw: Size | None = None
    """Size that the user chose; None: as the graph has it, else that of `processing`."""
    output: str | None = None
    """Name of the output with the mask; None is the first."""
    max_batch: int | None = None
    preset_name: str | None = None
    preset: Preset | None = None


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model after its import."""

    spec: ModelSpec
    folder: Path
    verification: Verification


def import_model(
    request: ImportRequest,
    repository: Path,
    *,
    overwrite: bool = False,
    on_compare: Callable[[], None] = lambda: None,
) -> ImportedModel:
    """Imports a file into `repository`, which is created if it does not exist.

    `on_compare` is called after all checks of the request and the file, before the graphs run. The
    folder appears at once, when everything in it has been verified. Raises ModelRejected for a file
    that cannot be served, FileExistsError if the folder exists, unless `overwrite` is set, and
    OSError for a repository that cannot be written.
    """
    folder = repository / _checked_name(request.name)
    _check_licence(request.licence)
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists; --overwrite replaces it")
    _check_writable(repository)
    foreign = open_foreign(request.file)
    output = foreign.select_output(request.output)
    processing = _fit(foreign, request)
    on_compare()
    graph = compose_graph(foreign, output, processing).SerializeToString()
    verification = verify(foreign, output, processing, graph)
    spec = _build_spec(request, processing, foreign, graph, batches=verification.batches)
    repository.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=repository, prefix=".import-") as temporary:
        written = Path(temporary) / spec.name
        weights = spec.model_file(Path(temporary))
        weights.parent.mkdir(parents=True)
        weights.write_bytes(graph)
        (written / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
        write_configs(spec, written)
        card = card_text(spec, request.file, processing, request.preset, verification)
        (written / "CARD.md").write_text(card)
        _move(written, folder, Path(temporary) / "replaced")
    return ImportedModel(spec, folder, verification)


def _check_writable(repository: Path) -> None:
    """Raises OSError if `repository` is no folder, or cannot be written or created."""
    nearest = next(path for path in (repository, *repository.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is not a folder")
    if not os.access(nearest, os.W_OK):
        raise PermissionError(f"{nearest} cannot be written")


def _move(written: Path, folder: Path, replaced: Path) -> None:
    """Moves a finished folder to its place, and one that is there to `replaced`."""
    if not folder.exists():
        written.rename(folder)
        return
    folder.rename(replaced)
    try:
        written.rename(folder)
    except OSError:
        replaced.rename(folder)
        raise


def _checked_name(name: str) -> str:
    """Returns the name of a model. Raises ModelRejected for one with a meaning to the service."""
    if not NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise ModelRejected(
            f"{name!r} is no name for an imported model: use letters, digits, dots, - and _, and"
            f" none of {', '.join(RESERVED_NAMES)}"
        )
    return name


def _check_licence(licence: str) -> None:
    """Raises ModelRejected for a licence without a word."""
    if not licence.strip():
        raise ModelRejected("the licence is empty: name that of the weights, or 'unknown'")


def _fit(foreign: ForeignGraph, request: ImportRequest) -> Processing:
    """Returns the processing with the layout and the size of the graph.

    Raises ModelRejected if the size contradicts the graph, is open or has wrong sides.
    """
    processing = request.processing
    layout = request.layout or foreign.layout or processing.layout
    if not foreign.input.takes_colours(layout):
        raise ModelRejected(f"the input {foreign.input}, which is not in the layout {layout}")
    fixed = foreign.size_hw(layout)
    size = request.size_hw or (fixed if -1 not in fixed else processing.size_hw)
    if any(side not in (-1, wanted) for side, wanted in zip(fixed, size, strict=True)):
        raise ModelRejected(
            f"the input of the graph is {fixed[0]}x{fixed[1]} in the layout {layout},"
            f" not {size[0]}x{size[1]}"
        )
    if min(size) < 1:
        raise ModelRejected("the graph leaves the size of its input open: choose --size")
    if any(side % processing.multiple for side in size):
        raise ModelRejected(
            f"{size[0]}x{size[1]} is no size of this network:"
            f" both sides must be multiples of {processing.multiple}"
        )
    return replace(processing, layout=layout, size_hw=size)


def _build_spec(
    request: ImportRequest,
    processing: Processing,
    foreign: ForeignGraph,
    graph: bytes,
    *,
    batches: bool,
) -> ModelSpec:
    size = processing.size_hw
    fitting = max(1, min(MAX_BATCH, MAX_BATCH_PIXELS // (size[0] * size[1])))
    preset = f", preset {request.preset_name}" if request.preset_name else ""
    return ModelSpec(
        name=request.name,
        inputs=(TensorSpec(name="image", dtype="uint8", shape=(-1, *size, 3)),),
        output=TensorSpec(name="alpha", dtype="uint8", shape=(-1, *size)),
        size_hw=size,
        resize=processing.resize,
        max_batch=(request.max_batch or fitting) if batches else 1,
        precision=str(FLOAT_TYPES[foreign.input.element_type]),
        sha256=sha256(graph).hexdigest(),
        run=f"import of {request.file.name}{preset}",
        licence=request.licence,
    )
