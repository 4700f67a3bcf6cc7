"""Measures the language of docstrings and names.

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
CODE_LINE = re.compile(r"^(?: {4,}\S.*|\s*(?:>>>|\.\.\.|python -m|curl|torchrun).*)$", re.MULTILINE)
MAX_WORDS = 20
NO_SUBJECT = frozenset(
    [
        "it",
        "its",
        "is",
        "are",
        "was",
        "were",
        "be",
        "has",
        "have",
        "had",
        "can",
        "may",
        "must",
        "does",
        "do",
        "did",
        "gives",
        "says",
        "tells",
        "takes",
        "keeps",
        "knows",
        "refuses",
        "answers",
        "what",
        "who",
        "whom",
        "whose",
        "whoever",
        "where",
        "when",
        "that",
        "those",
        "this",
        "these",
        "there",
        "of",
        "by",
        "for",
        "with",
        "without",
        "in",
        "on",
        "at",
        "from",
        "and",
        "or",
        "only",
        "as",
        "if",
        "then",
        "everything",
        "nothing",
        "nobody",
        "somebody",
        "anything",
        "anybody",
        "something",
        "both",
        "each",
        "all",
        "any",
        "some",
        "one",
        "two",
    ]
)
ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring with the place of its first line."""

    path: Path
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach of one rule at one place."""

    path: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def python_files(roots: Iterable[Path]) -> Iterator[Path]:
    """Yields every Python file among and below `roots`, sorted within each root."""
    for root in roots:
        yield from sorted(root.rglob("*.py")) if root.is_dir() else [root]


def docstrings(path: Path) -> Iterator[Docstring]:
    """Yields the docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for index, child in enumerate(body):
            if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                continue
            if not isinstance(child.value.value, str):
                continue
            before = body[index - 1] if index else node
            if index == 0 or isinstance(before, ast.Assign | ast.AnnAssign):
                yield Docstring(path, child.lineno, child.value.value)


def sentences(text: str) -> list[str]:
    """Splits prose at full stops, list items and blank lines. Example lines are left out."""
    return [part.strip() for part in SENTENCE_END.split(CODE_LINE.sub("", text)) if part.strip()]


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z][\w'-]*", re.sub(r"`[^`]*`", "code", text))


def check_docstring(doc: Docstring) -> Iterator[Finding]:
    """Yields the findings in one docstring."""
    for sentence in sentences(doc.text):
        if len(words(sentence)) > MAX_WORDS:
            yield Finding(doc.path, doc.line, "long sentence", " ".join(sentence.split()))
        for match in RIDDLES.finditer(sentence):
            yield Finding(doc.path, doc.line, "what/who", f"{match[0]} in: {sentence!r}")
        for match in DIALECT.finditer(sentence):
            yield Finding(doc.path, doc.line, "dialect", f"{match[0]} in: {sentence!r}")
    first = doc.text.strip().partition("\n")[0]
    if FRAGMENT.match(first):
        yield Finding(doc.path, doc.line, "fragment", first)


def check_test_names(path: Path) -> Iterator[Finding]:
    """Yields tests whose name has no subject, or fewer than 3 or more than 10 words."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_":
            name = [word for word in node.name.split("_")[1:] if word not in ARTICLES]
            if not name or name[0] in NO_SUBJECT:
                yield Finding(path, node.lineno, "test without subject", node.name)
            elif not 3 <= len(name) <= 10:
                yield Finding(path, node.lineno, "test name length", node.name)


def class_owners(roots: Iterable[Path]) -> Counter[str]:
    """Counts how many modules define a class of each name."""
    return Counter(
        node.name
        for path in python_files(roots)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )


def main(*arguments: str) -> None:
    """Prints the findings below the given paths and their totals."""
    paths = list(python_files(map(Path, arguments)))
    docs = [doc for path in paths for doc in docstrings(path)]
    findings = [finding for doc in docs for finding in check_docstring(doc)]
    findings += [finding for path in paths for finding in check_test_names(path)]
    print(*findings, sep="\n")
    total = sum(len(words(doc.text)) for doc in docs)
    print(f"{len(docs)} docstrings, {total} words;", dict(Counter(f.rule for f in findings)))


if __name__ == "__main__":
    main(*sys.argv[1:])
