"""Finds the specs of a model repository by task."""

from pathlib import Path

from silhouette_seg.spec import SPEC_FILE, ModelSpec, ModelTask, load_spec


def find_specs(repository: Path, task: ModelTask) -> list[ModelSpec]:
    """Returns the specs of that task, sorted by model name."""
    specs = [load_spec(file.parent) for file in sorted(repository.glob(f"*/{SPEC_FILE}"))]
    return [spec for spec in specs if spec.task is task]
