from dataclasses import replace
from pathlib import Path

import pytest

from silhouette_seg.model_import.importer import ImportedModel, ImportRequest, import_model
from silhouette_seg.model_import.presets import PRESETS


@pytest.fixture
def repository(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def import_preset(repository):
    """Imports a file with a preset. Keywords are fields of the request or of its processing."""

    def run(file: Path, preset: str = "birefnet", **changes) -> ImportedModel:
        fields = {"name", "licence", "layout", "size_hw", "output", "max_batch"}
        request = {name: changes.pop(name) for name in list(changes) if name in fields}
        processing = replace(PRESETS[preset].processing, **changes)
        request = {"name": preset, "licence": "MIT"} | request
        return import_model(
            ImportRequest(
                file,
                processing=processing,
                preset_name=preset,
                preset=PRESETS[preset],
                **request,
            ),
            repository,
        )

    return run
