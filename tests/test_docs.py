"""What the documents say is true of the code; tests/integration/test_examples.py runs examples."""

import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from silhouette_seg.api.openapi import RESPONSE_HEADERS, error_classes
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.settings import CLIENT_KEY_VARIABLE, PREFIX, Settings
from silhouette_seg.spec import load_spec
from silhouette_seg.streaming.protocol import CloseCode
from silhouette_seg.telemetry import Telemetry
from tests.support.documents import (
    DOCUMENTS,
    ROOT,
    all_blocks,
    anchors,
    blocks,
    links,
    prose,
    quoted,
    rows,
)
from tests.support.metrics import exposition

DOCS = ROOT / "docs"
API, STREAMING = DOCS / "api.md", DOCS / "streaming.md"
RUN_ELSEWHERE = {"docker", "kubectl", "pip"}
"""Commands that these tests cannot run; the files they name are looked for."""


def default_of(name: str) -> str:
    """As somebody would write it into an environment."""
    default = Settings.model_fields[name].default
    if default is None or default == ():
        return "not set"
    if isinstance(default, bool):
        return str(default).lower()
    return default.name if isinstance(default, Path) else f"{default}"


def test_settings_table_is_the_settings():
    said = {quoted(name)[0]: default for name, default, _ in rows(DOCS / "settings.md", "variable")}
    assert list(said) == list(dict.fromkeys(said))
    assert set(said) == {PREFIX + name.upper() for name in Settings.model_fields}
    for variable, default in said.items():
        expected = default_of(variable.removeprefix(PREFIX).lower())
        given = quoted(default)[0] if default.startswith("`") else default.partition(":")[0]
        assert given == expected, variable


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_other_setting_is_named(document):
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CLIENT_KEY_VARIABLE}
    assert set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", document.read_text())) <= known


def test_error_table_is_the_error_tree():
    said = [(quoted(code)[0], int(status), again) for code, status, again, _ in rows(API, "`code`")]
    kinds = {kind.code: kind for kind in error_classes()}
    assert sorted(said) == sorted(
        (code, kind.status, "yes" if kind.retryable else "no") for code, kind in kinds.items()
    )


def test_parameter_table_is_the_parsers():
    said = {quoted(name)[0]: (values, default) for name, values, default in rows(API, "parameter")}
    assert set(said) == set(PARAMETERS)
    for name, (values, default) in said.items():
        schema = PARAMETERS[name].schema
        assert set(schema.get("enum", ())) <= set(quoted(values)), name
        for bound in ("minimum", "maximum"):
            if schema.get(bound):
                assert f"{schema[bound]:g}" in values, name
        if "default" in schema:
            given = schema["default"]
            expected = str(given).lower() if isinstance(given, bool) else str(given)
            assert default.strip("`") == expected, name


def test_stream_option_table_is_the_parsers():
    said = [name for names, _ in rows(STREAMING, "option") for name in quoted(names)]
    assert sorted(said) == sorted(STREAM_PARAMETERS)


def test_close_codes_are_those_of_the_wire():
    assert [int(code) for code, _ in rows(STREAMING, "close code")] == sorted(CloseCode)


def test_header_table_is_what_openapi_says():
    said = [name for names, _ in rows(API, "header") for name in quoted(names)]
    assert sorted(said) == sorted(RESPONSE_HEADERS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_metrics_that_are_named_exist(document):
    named = set(re.findall(r"`(silhouette_[a-z_]+)", document.read_text()))
    exposed = exposition(Telemetry())
    known = set(re.findall(r"^# TYPE (\w+)", exposed, re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= known


def test_model_table_is_the_repository():
    repository = ROOT / "model_repository"
    table = rows(DOCS / "models.md", "name")
    said = {quoted(name)[0]: (size, mb) for name, _, size, mb, _ in table}
    assert set(said) == {path.parent.name for path in repository.glob("*/spec.json")}
    for name, (size, mb) in said.items():
        spec = load_spec(repository / name)
        height, width = spec.size_hw
        assert size.startswith(f"{height}x{width}")
        assert mb == f"{spec.model_file(repository).stat().st_size / 1e6:.1f} MB"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for link in links(document):
        url = urlsplit(link)
        if url.scheme:
            continue
        target = (document.parent / url.path).resolve() if url.path else document
        assert target.exists(), link
        if url.fragment:
            assert url.fragment in anchors(target), link


def test_every_document_is_reached_from_the_readme():
    linked = {(ROOT / urlsplit(link).path).resolve() for link in links(ROOT / "README.md")}
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= linked


def test_pictures_are_small():
    """Whoever reads the README on a phone waits for them."""
    for picture in DOCS.glob("pictures/*.jpg"):
        assert picture.stat().st_size < 150_000, picture.name


def test_no_example_escapes_the_tests():
    """A block without a language is a drawing."""
    languages = {block.language for document in DOCUMENTS for block in blocks(document)}
    assert languages <= {"sh", "python", "js", "json", ""}


def commands() -> list[list[str]]:
    """Of examples, and those that a table or a sentence names."""
    code = "\n".join(block.code for block in all_blocks("sh")).replace("\\\n", " ").splitlines()
    named = [found for document in DOCUMENTS for found in quoted(prose(document))]
    code += [found for found in named if found.startswith(("make ", "python -m ", "pytest "))]
    return [words for line in code if (words := shlex.split(line, comments=True))]


def source_of(script: str) -> str:
    """Of a file, a module or a package that can be run."""
    path = ROOT / script.removesuffix(".py").replace(".", "/")
    found = [each for each in (path.with_suffix(".py"), path / "__main__.py") if each.exists()]
    assert found, script
    return found[0].read_text()


def takes(source: str, option: str) -> bool:
    """Whether argparse or typer is told of it there."""
    argument = option.removeprefix("--").replace("-", "_")
    return f'"{option}"' in source or bool(
        re.search(rf"^    {argument}: Annotated\[", source, re.M)
    )


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_name_what_there_is(words):
    program, *rest = words
    if program == "make":
        subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, check=True, capture_output=True)
    elif program in ("python", "torchrun"):
        module = rest.index("-m") + 1 if "-m" in rest else 0
        source = source_of(rest[module])
        for option in (word for word in rest[module + 1 :] if word.startswith("--")):
            assert takes(source, option), option
    elif program == "pytest":
        assert (ROOT / rest[0]).exists(), rest[0]
        added = (ROOT / "tests/conftest.py").read_text()
        for option in (word for word in rest if word.startswith("--")):
            assert takes(added, option), option
    else:
        assert program in RUN_ELSEWHERE | {"curl", "silhouette"}
    for word in rest:
        if word.startswith(("deploy/", "training/", "docs/", "model_repository/")):
            assert (ROOT / word).exists(), word
