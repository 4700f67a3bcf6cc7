"""What is not in the README does not exist: every setting and every error code is."""

from pathlib import Path

import pytest

from service.routes.describe import error_kinds
from service.settings import PREFIX, Settings

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text()


@pytest.mark.parametrize("name", [PREFIX + name.upper() for name in Settings.model_fields])
def test_setting_is_in_the_readme(readme, name):
    assert f"`{name}`" in readme


@pytest.mark.parametrize("code", sorted({kind.code for kind in error_kinds()}))
def test_error_code_is_in_the_readme(readme, code):
    assert f"`{code}`" in readme
