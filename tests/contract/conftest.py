from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.networks import input_size, with_batch_norm_statistics
from training.export.__main__ import export_onnx
from training.models import build_model, deploy_form

EXPORTING_FIXTURES = {"exported", "file_of"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests with an exported network as `export`."""
    for item in items:
        if isinstance(item, pytest.Function) and EXPORTING_FIXTURES & {*item.fixturenames}:
            item.add_marker("export")


@pytest.fixture(scope="session")
def network_of() -> Callable[[str], nn.Module]:
    """An untrained network of an architecture, by name; the same one each time."""

    @cache
    def untrained(name: str) -> nn.Module:
        torch.manual_seed(0)
        return with_batch_norm_statistics(build_model(name, {}))

    return untrained


@pytest.fixture(scope="session")
def file_of(network_of, tmp_path_factory) -> Callable[[str], Path]:
    """ONNX file of a network for images of its `size_of`, exported once because that takes long."""

    @cache
    def exported(name: str) -> Path:
        file = tmp_path_factory.mktemp(name) / "model.onnx"
        network = network_of(name)
        export_onnx(deploy_form(network), input_size(network), file)
        return file

    return exported
