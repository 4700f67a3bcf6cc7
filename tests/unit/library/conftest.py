from collections.abc import Iterator
from pathlib import Path

import pytest

from silhouette_seg import Session
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """Folder of tiny models, which return red as alpha."""
    folder = tmp_path_factory.mktemp("model_repository")
    for name in ("connectnet", "md_trisenet", "face_detector"):
        write_tiny_model(folder, tiny_spec(name))
    return folder


@pytest.fixture
def session(repository) -> Iterator[Session]:
    with Session(model_repository=repository) as session:
        yield session
