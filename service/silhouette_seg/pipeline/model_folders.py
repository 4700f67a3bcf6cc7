"""Reads the folders of a model repository, and keeps the reason of each that is broken."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.spec import MODEL_FILE, SPEC_FILE, ModelSpec, ModelTask, TensorSpec, load_spec

AUTO = "auto"
"""Value of the parameter `model` that leaves the choice to the service."""
FACE_DETECTOR = "face_detector"
"""Name and folder of the face detector.

It finds faces, decides the distance domain of photos, and cannot be requested.
"""


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """The models of a repository: those with a valid spec, and those without."""

    specs: tuple[ModelSpec, ...]
    failures: Mapping[str, str]
    """Reason, a sentence without paths, by the name of each model with an unusable spec."""


def read_folders(repository: Path, models: tuple[str, ...] | None) -> ModelFolders:
    """Reads the specs of the named `models`, or of all models of the repository.

    All are read, in the order of their names, if `models` is None. The face detector is added for a
    model that takes a domain, if the repository has one. Raises ValueError if a named model has no
    folder, if the repository is empty, or if no segmentation model is selected.
    """
    available = find_models(repository)
    if unknown := sorted(name for name in models or () if not (repository / name).is_dir()):
        raise ValueError(
            f"{repository} has no model {', '.join(unknown)}; available: {', '.join(available)}"
        )
    folders = _read_specs(repository, models or available)
    takes_domain = any(spec.has_input("domain") for spec in folders.specs)
    if models and takes_domain and FACE_DETECTOR in set(available) - set(models):
        folders = _read_specs(repository, (*models, FACE_DETECTOR))
    names = [spec.name for spec in folders.specs]
    if not folders.failures and set(names) <= {FACE_DETECTOR}:
        raise ValueError(f"no segmentation model among {', '.join(names)}")
    return folders


def find_models(repository: Path) -> tuple[str, ...]:
    """Returns the sorted names of the folders with a `spec.json` or with a model file.

    Folders whose names begin with a dot are left out. Raises ValueError if there is no other.
    """
    files = [*repository.glob(f"*/{SPEC_FILE}"), *repository.glob(f"*/*/{MODEL_FILE}")]
    found = {file.relative_to(repository).parts[0] for file in files}
    names = tuple(sorted(name for name in found if not name.startswith(".")))
    if not names:
        raise ValueError(f"{repository} contains no model")
    return names


def read_spec(repository: Path, name: str) -> ModelSpec:
    """Returns the spec of the model called `name` in the repository.

    Raises ValueError with a sentence, without paths, if the spec is missing or unusable.
    """
    try:
        spec = load_spec(repository / name)
    except FileNotFoundError:
        raise ValueError(f"{SPEC_FILE} is missing") from None
    except OSError as error:
        raise ValueError(f"{SPEC_FILE} cannot be read: {error.strerror}") from error
    if spec.name != name:
        raise ValueError(f"{SPEC_FILE} describes the model {spec.name!r} instead of {name!r}")
    if name == AUTO:
        raise ValueError(f"a model cannot be named {AUTO!r}")
    if (spec.task is ModelTask.FACES) != (name == FACE_DETECTOR):
        raise ValueError(f"{name} outputs {spec.output.name}: {FACE_DETECTOR} alone has faces")
    _check_tensors(spec)
    return spec


def _read_specs(repository: Path, names: tuple[str, ...]) -> ModelFolders:
    specs: list[ModelSpec] = []
    failures: dict[str, str] = {}
    for name in names:
        try:
            specs.append(read_spec(repository, name))
        except ValueError as error:
            failures[name] = str(error)
    return ModelFolders(tuple(specs), failures)


def _check_tensors(spec: ModelSpec) -> None:
    """Raises ValueError if a tensor of the spec is not one that the service can use."""
    height, width = spec.size_hw
    usable = {
        TensorSpec(name="image", dtype="uint8", shape=(-1, height, width, 3)),
        TensorSpec(name="prior", dtype="uint8", shape=(-1, height, width)),
        TensorSpec(name="domain", dtype="int64", shape=(-1,)),
    }
    if spec.task is ModelTask.FACES:
        cells = spec.output.shape[1] if len(spec.output.shape) == 3 else 0
        output = TensorSpec(name="faces", dtype="float32", shape=(-1, cells, 5))
    else:
        output = TensorSpec(name="alpha", dtype="uint8", shape=(-1, height, width))
    for tensor, expected in [(t, usable) for t in spec.inputs] + [(spec.output, {output})]:
        if tensor not in expected:
            raise ValueError(
                f"{SPEC_FILE} has the tensor {tensor.name} {tensor.dtype} {list(tensor.shape)},"
                f" which does not fit the size {height}x{width} or is not known"
            )
    if not spec.has_input("image"):
        raise ValueError(f"{SPEC_FILE} has no input named image")
