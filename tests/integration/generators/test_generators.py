"""Clients of generators that a first use downloads. They need `pytest --generators`.

The tools are npm, a Java runtime for openapi-generator, and uv, which installs its wheel.
"""

import shutil
import sys
from pathlib import Path

import pytest

from tests.integration.generators.conftest import CLIENTS, Workshop

OPENAPI_GENERATOR = ("--from", "openapi-generator-cli==7.26.0", "openapi-generator-cli")
"""The package of PyPI contains the JAR; that of npm would download it from Maven."""
COMPILER_OPTIONS = (
    *("--strict", "--target", "es2022", "--module", "node16", "--lib", "es2022,dom,dom.iterable"),
    *("--types", "node", "--outDir", "compiled"),
)


@pytest.fixture(autouse=True)
def requested(request) -> None:
    if not request.config.getoption("--generators"):
        pytest.skip("downloads generators; pytest --generators runs it")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """Folder with the packages of npm."""
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(CLIENTS.parent / "package.json", folder)
    Workshop("", folder).run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
    return folder / "node_modules"


def generate(workshop: Workshop, generator: str, output: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    log = workshop.run(
        *(uv, "tool", "run", *OPENAPI_GENERATOR, "generate", "--input-spec", "openapi.json"),
        *("--generator-name", generator, "--output", output),
    )
    assert " ERROR " not in log, log


def check_typescript(workshop: Workshop, packages: Path, client: str) -> None:
    """Compiles a program strictly, together with `generated`, and checks its results."""
    (workshop.folder / "node_modules").symlink_to(packages)
    shutil.copy(CLIENTS / client, workshop.folder)
    workshop.run(packages / ".bin" / "tsc", *COMPILER_OPTIONS, client)
    compiled = (workshop.folder / "compiled" / client).with_suffix(".js")
    workshop.check_client("node", compiled)


def test_openapi_generator_for_python_gets_results_and_problems(workshop):
    generate(workshop, "python", "generated")
    workshop.check_client(
        *(sys.executable, CLIENTS / "openapi_generator.py"),
        PYTHONPATH=str(workshop.folder / "generated"),
    )


def test_openapi_generator_for_typescript_gets_results_and_problems(workshop, packages):
    generate(workshop, "typescript-fetch", "generated")
    check_typescript(workshop, packages, "typescript_fetch.ts")


def test_openapi_typescript_gets_results_and_problems(workshop, packages):
    workshop.run(
        *(packages / ".bin" / "openapi-typescript", "openapi.json", "--output", "generated.d.ts"),
        *("--default-non-nullable", "false"),
    )
    check_typescript(workshop, packages, "openapi_fetch.ts")


def test_official_parser_accepts_the_asyncapi_document(workshop, packages):
    (workshop.folder / "node_modules").symlink_to(packages)
    shutil.copy(CLIENTS / "parse_asyncapi.mjs", workshop.folder)
    workshop.run("node", "parse_asyncapi.mjs", "asyncapi.json")
