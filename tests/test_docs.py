"""Compares the documents with the code. tests/integration/test_examples.py runs their examples."""

import re
import shlex
import subprocess
import tomllib
from inspect import signature
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from silhouette_seg.api.openapi import RESPONSE_HEADERS, error_classes
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.cli.import_model import import_command
from silhouette_seg.model_import.presets import PRESETS
from silhouette_seg.settings import CLIENT_KEY_VARIABLE, PREFIX, Settings
from silhouette_seg.spec import ModelSpec, load_spec
from silhouette_seg.streaming.protocol import CloseCode
from silhouette_seg.telemetry import Telemetry
from tests.support.documents import (
    DOCUMENTS,
    ROOT,
    all_blocks,
    anchors,
    blocks,
    code_spans,
    links,
    prose,
    table_rows,
)
from tests.support.metrics import exposition

DOCS = ROOT / "docs"
API, STREAMING = DOCS / "api.md", DOCS / "streaming.md"
IMPORTED = DOCS / "imported-models.md"
EXTERNAL_COMMANDS = {
    *("docker", "kubectl", "npx", "openapi-python-client", "pip", "pipx", "uv", "uvx"),
}
"""Commands that these tests cannot run. The files that they name must exist."""


def default_of(name: str) -> str:
    """Returns the default of a setting, as written in an environment variable."""
    default = Settings.model_fields[name].default
    if default is None or default == ():
        return "not set"
    if isinstance(default, bool):
        return str(default).lower()
    return default.name if isinstance(default, Path) else f"{default}"


def test_settings_table_lists_settings_and_defaults():
    documented = {
        code_spans(name)[0]: default
        for name, default, _ in table_rows(DOCS / "settings.md", "variable")
    }
    assert list(documented) == list(dict.fromkeys(documented))
    assert set(documented) == {PREFIX + name.upper() for name in Settings.model_fields}
    for variable, cell in documented.items():
        default = code_spans(cell)[0] if cell.startswith("`") else cell.partition(":")[0]
        assert default == default_of(variable.removeprefix(PREFIX).lower()), variable


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_only_known_settings(document):
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CLIENT_KEY_VARIABLE}
    assert set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", document.read_text())) <= known


def test_error_table_lists_every_error_class():
    documented = [
        (code_spans(code)[0], int(status), again)
        for code, status, again, _ in table_rows(API, "`code`")
    ]
    classes = {error.code: error for error in error_classes()}
    assert sorted(documented) == sorted(
        (code, error.status, "yes" if error.retryable else "no") for code, error in classes.items()
    )


def test_parameter_table_lists_values_and_defaults():
    documented = {
        code_spans(name)[0]: (values, default)
        for name, values, default in table_rows(API, "parameter")
    }
    assert set(documented) == set(PARAMETERS)
    for name, (values, default) in documented.items():
        schema = PARAMETERS[name].schema
        assert set(schema.get("enum", ())) <= set(code_spans(values)), name
        for bound in ("minimum", "maximum"):
            if schema.get(bound):
                assert f"{schema[bound]:g}" in values, name
        if "default" in schema:
            value = schema["default"]
            expected = str(value).lower() if isinstance(value, bool) else str(value)
            assert default.strip("`") == expected, name


def test_stream_option_table_lists_every_option():
    documented = [
        name for names, _ in table_rows(STREAMING, "option") for name in code_spans(names)
    ]
    assert sorted(documented) == sorted(STREAM_PARAMETERS)


def test_close_code_table_lists_every_code():
    assert [int(code) for code, _ in table_rows(STREAMING, "close code")] == sorted(CloseCode)


def test_header_table_matches_openapi():
    documented = [name for names, _ in table_rows(API, "header") for name in code_spans(names)]
    assert sorted(documented) == sorted(RESPONSE_HEADERS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_only_known_metrics(document):
    named = set(re.findall(r"`(silhouette_(?!seg\b)[a-z_]+)", document.read_text()))
    exposed = exposition(Telemetry())
    known = set(re.findall(r"^# TYPE (\w+)", exposed, re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= known


def test_model_table_lists_the_repository():
    repository = ROOT / "model_repository"
    table = table_rows(DOCS / "models.md", "name")
    documented = {code_spans(name)[0]: (size, mb) for name, _, size, mb, _ in table}
    assert set(documented) == {path.parent.name for path in repository.glob("*/spec.json")}
    for name, (size, mb) in documented.items():
        spec = load_spec(repository / name)
        height, width = spec.size_hw
        assert size.startswith(f"{height}x{width}")
        assert mb == f"{spec.model_file(repository).stat().st_size / 1e6:.1f} MB"


def test_spec_table_lists_every_field():
    documented = [code_spans(name)[0] for name, _ in table_rows(IMPORTED, "field")]
    assert documented == list(ModelSpec.model_fields)


def test_preset_table_matches_the_presets():
    documented = {code_spans(name)[0]: cells for name, *cells in table_rows(IMPORTED, "preset")}
    assert list(documented) == list(PRESETS)
    for name, (size, activation, reference, tested) in documented.items():
        preset = PRESETS[name]
        height, width = preset.processing.size_hw
        assert size == f"{height}x{width}"
        assert activation == preset.processing.activation
        assert reference in preset.reference
        assert tested == ("yes" if preset.tested else "no")


def test_import_option_table_lists_every_option():
    documented = [
        option for names, _ in table_rows(IMPORTED, "option") for option in code_spans(names)
    ]
    parameters = set(signature(import_command).parameters) - {"file"}
    assert sorted(documented) == sorted(f"--{name.replace('_', '-')}" for name in parameters)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_link_targets_exist(document):
    for link in links(document):
        url = urlsplit(link)
        if url.scheme:
            continue
        target = (document.parent / url.path).resolve() if url.path else document
        assert target.exists(), link
        if url.fragment:
            assert url.fragment in anchors(target), link


def test_readme_links_to_every_document():
    linked = {(ROOT / urlsplit(link).path).resolve() for link in links(ROOT / "README.md")}
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= linked


def test_pictures_of_documents_are_small():
    """The README loads them, also on a phone."""
    for picture in DOCS.glob("pictures/*.jpg"):
        assert picture.stat().st_size < 150_000, picture.name


def test_code_blocks_have_a_tested_language():
    """A block without a language is a drawing."""
    languages = {block.language for document in DOCUMENTS for block in blocks(document)}
    assert languages <= {"sh", "python", "js", "json", ""}


def commands() -> list[list[str]]:
    """Returns the commands of examples, tables and sentences. The changelog may name old ones."""
    code = "\n".join(block.code for block in all_blocks("sh")).replace("\\\n", " ").splitlines()
    current = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
    spans = [span for document in current for span in code_spans(prose(document))]
    code += [span for span in spans if span.startswith(("make ", "python -m ", "pytest "))]
    return [words for line in code if (words := shlex.split(line, comments=True))]


def source_of(script: str) -> str:
    """Returns the source of a script, of a module, or of the `__main__` of a package."""
    for root in (ROOT, ROOT / "service"):
        path = root / script.removesuffix(".py").replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__main__.py"):
            if file.exists():
                return file.read_text()
    raise AssertionError(f"there is no script {script}")


def declares_option(source: str, option: str) -> bool:
    """Returns whether the source declares an option for argparse or typer.

    The type of an option may be an alias of the source or of training/options.py.
    """
    argument = option.removeprefix("--").replace("-", "_")
    shared = (ROOT / "training/options.py").read_text()
    aliases = re.findall(r"^(\w+) = Annotated\[", source + shared, re.M)
    types = "|".join([r"Annotated\[", *(rf"{alias}\b" for alias in aliases)])
    return f'"{option}"' in source or bool(
        re.search(rf"^    {argument}: (?:{types})", source, re.M)
    )


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_documented_command_is_valid(words):
    program, *rest = words
    if program == "make":
        subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, check=True, capture_output=True)
    elif program in ("python", "torchrun"):
        module = rest.index("-m") + 1 if "-m" in rest else 0
        source = source_of(rest[module])
        for option in (word for word in rest[module + 1 :] if word.startswith("--")):
            assert declares_option(source, option), option
    elif program == "pytest":
        assert (ROOT / rest[0]).exists(), rest[0]
        added = (ROOT / "tests/conftest.py").read_text()
        for option in (word for word in rest if word.startswith("--")):
            assert declares_option(added, option), option
    else:
        assert program in EXTERNAL_COMMANDS | {"curl", "silhouette"}
    for word in rest:
        if word.startswith(("deploy/", "training/", "docs/", "model_repository/")):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_only_known_extras(document):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"(?:['\"]\.|silhouette-seg)\[([a-z,]+)\]", document.read_text())
    extras = {extra for names in named for extra in names.split(",")}
    assert extras <= project["optional-dependencies"].keys()


def test_installation_has_one_table_of_all_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = list(project["optional-dependencies"])
    tables = {
        document.name: rows
        for document in DOCUMENTS
        if len(rows := re.findall(rf"^\| `({'|'.join(extras)})` \|", document.read_text(), re.M))
        > 2
    }
    assert {name: sorted(rows) for name, rows in tables.items()} == {"install.md": sorted(extras)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_the_image_of_this_version(document):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tags = re.findall(r"\bsilhouette:(\d[\w.]*\d)", document.read_text())
    assert set(tags) <= {project["version"]}
