"""Measures the language of docstrings, class names and test names.

    python -m tests.support.style service/silhouette_seg/engine tests/unit/engine

The command lists every finding below the given files and folders, then the totals. The rules and
their reasons are in CONTRIBUTING.md.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RIDDLES = re.compile(r"\b(?:what|who|whom|whose|whatever|whoever)\b", re.IGNORECASE)
FRAGMENT = re.compile(
    r"(?:What|Whatever|Who|Whom|Whose|Whoever|Where|Wherever|That|Those|Of|By|For|From|With|Without"
    r"|To|As|In|On|At|Until|Because|Which|How|When|Whether|And|Or|But|Here|There|So|Then)\b"
)
DIALECT = re.compile(
    r"\b(?:nobody|somebody|anybody|nothing of ours|hears?|heard|comes? along|foretold|dear|dearest"
    r"|wholly|therein|owes?|knocks?|heeds?)\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|:\n|\n\s*\n|\n\s*[-*|] ")
CODE_LINE = re.compile(
    r"^(?: {4,}\S.*|\s*(?:>>>|\.\.\.|python -m|curl|torchrun|[├│└]).*)$", re.MULTILINE
)
MAX_WORDS = 20
NO_SUBJECT = re.compile(
    r"(?:its?|is|are|was|were|be|has|have|had|can|may|must|does|do|did|gives|says|tells|takes|keeps"
    r"|knows|refuses|answers|what|who|whom|whose|whoever|where|when|that|those|this|these|there|of"
    r"|by|for|with|without|in|on|at|from|and|or|only|as|if|then|everything|nothing|nobody|somebody"
    r"|anything|anybody|something|both|each|all|any|some|one|two)"
)
ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach of one rule at one place."""

    path: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """Findings and sizes of one file."""

    findings: tuple[Finding, ...]
    classes: tuple[str, ...]
    """Names of the classes that the file defines."""
    docstrings: int
    words: int
    """Number of words in the docstrings."""


@cache
def examine(path: Path) -> Report:
    """Parses one Python file and checks every rule."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    docs = [doc for node in nodes for doc in _docstrings(node)]
    findings = [found for line, text in docs for found in _check_docstring(path, line, text)]
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            findings += _check_test_name(path, node.lineno, node.name)
    return Report(
        findings=tuple(findings),
        classes=tuple(node.name for node in nodes if isinstance(node, ast.ClassDef)),
        docstrings=len(docs),
        words=sum(len(_words(text)) for _, text in docs),
    )


def examine_all(roots: Iterable[Path]) -> list[Report]:
    """Returns the report of every Python file among and below `roots`."""
    return [examine(path) for root in roots for path in _python_files(root)]


def class_owners(roots: Iterable[Path]) -> Counter[str]:
    """Counts the modules that define a class of each name."""
    return Counter(name for report in examine_all(roots) for name in set(report.classes))


def _python_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.py")) if root.is_dir() else [root]


def _docstrings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and text of the docstrings of a node and of its attributes."""
    body = getattr(node, "body", None)
    if not isinstance(body, list):
        return
    for index, child in enumerate(body):
        match child:
            case ast.Expr(ast.Constant(str(text))):
                before = body[index - 1] if index else None
                if before is None or isinstance(before, ast.Assign | ast.AnnAssign):
                    yield child.lineno, text


def _sentences(text: str) -> list[str]:
    """Splits prose at full stops, list items and blank lines. Lines of code are left out."""
    return [part.strip() for part in SENTENCE_END.split(CODE_LINE.sub("", text)) if part.strip()]


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z][\w'-]*", re.sub(r"`[^`]*`", "code", text))


def _check_docstring(path: Path, line: int, text: str) -> Iterator[Finding]:
    for sentence in _sentences(text):
        if len(_words(sentence)) > MAX_WORDS:
            yield Finding(path, line, "long sentence", " ".join(sentence.split()))
        for match in RIDDLES.finditer(sentence):
            yield Finding(path, line, "what/who", f"{match[0]} in: {sentence!r}")
        for match in DIALECT.finditer(sentence):
            yield Finding(path, line, "dialect", f"{match[0]} in: {sentence!r}")
    first = text.strip().partition("\n")[0]
    if FRAGMENT.match(first):
        yield Finding(path, line, "fragment", first)


def _check_test_name(path: Path, line: int, name: str) -> Iterator[Finding]:
    """Yields a finding for a test without a subject, or with fewer than 3 or over 10 words."""
    if not name.startswith("test_"):
        return
    words = [word for word in name.split("_")[1:] if word not in ARTICLES]
    if not words or NO_SUBJECT.fullmatch(words[0]):
        yield Finding(path, line, "test without subject", name)
    elif not 3 <= len(words) <= 10:
        yield Finding(path, line, "test name length", name)


def main(*arguments: str) -> None:
    """Prints the findings below the given paths and their totals."""
    reports = examine_all(map(Path, arguments))
    findings = [finding for report in reports for finding in report.findings]
    print(*findings, sep="\n")
    docstrings, words = sum(r.docstrings for r in reports), sum(r.words for r in reports)
    rules = dict(Counter(finding.rule for finding in findings))
    print(f"{docstrings} docstrings, {words} words;", rules)


if __name__ == "__main__":
    main(*sys.argv[1:])
