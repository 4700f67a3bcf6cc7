"""Parses the Markdown documents: their examples, tables, links and headings."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block. `language` is the first word behind the fence, `note` the rest."""

    document: Path
    language: str
    note: str
    code: str
    following: "Block | None" = None
    """Next block of the same document."""

    def __str__(self) -> str:
        first = next(iter(self.code.strip().splitlines()), "")
        return f"{self.document.name}: {first[:50]}"


def blocks(document: Path) -> list[Block]:
    """Returns the code blocks of a document, in order."""
    found: list[Block] = []
    for fence in reversed(list(_FENCE.finditer(document.read_text()))):
        language, _, note = fence[1].partition(" ")
        following = found[-1] if found else None
        found.append(Block(document, language, note, fence[2], following))
    return found[::-1]


def all_blocks(language: str) -> list[Block]:
    """Returns the code blocks of all documents in this language."""
    return [block for path in DOCUMENTS for block in blocks(path) if block.language == language]


def prose(document: Path) -> str:
    """Returns the text of a document without its code blocks."""
    return _FENCE.sub("", document.read_text())


def links(document: Path) -> list[str]:
    """Returns the targets of links and pictures."""
    return _LINK.findall(prose(document))


def anchors(document: Path) -> set[str]:
    """Returns the fragments of the headings, by GitHub's rule."""
    slugs = (
        re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(document))
    )
    return {slug.strip().replace(" ", "-") for slug in slugs}


def table_rows(document: Path, first: str) -> list[list[str]]:
    """Returns the cells of every table with this title of its first column, without headers."""
    found: list[list[str]] = []
    inside = False
    for line in prose(document).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    return found


def code_spans(text: str) -> list[str]:
    """Returns the text of every code span."""
    return re.findall(r"`([^`]+)`", text)
