"""The documents as a reader meets them: their examples, their tables, their links."""

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
    """What stands between fences; `language` is the first word behind them, `note` the rest."""

    document: Path
    language: str
    note: str
    code: str
    then: "Block | None" = None
    """The block that follows in the same document."""

    def __str__(self) -> str:
        first = next(iter(self.code.strip().splitlines()), "")
        return f"{self.document.name}: {first[:50]}"


def blocks(document: Path) -> list[Block]:
    found: list[Block] = []
    for fence in reversed(list(_FENCE.finditer(document.read_text()))):
        language, _, note = fence[1].partition(" ")
        then = found[-1] if found else None
        found.append(Block(document, language, note, fence[2], then))
    return found[::-1]


def all_blocks(language: str) -> list[Block]:
    return [block for path in DOCUMENTS for block in blocks(path) if block.language == language]


def prose(document: Path) -> str:
    """Without what stands between fences."""
    return _FENCE.sub("", document.read_text())


def links(document: Path) -> list[str]:
    """Where links and pictures point to."""
    return _LINK.findall(prose(document))


def anchors(document: Path) -> set[str]:
    """What may stand behind `#`, by GitHub's rule."""
    kept = (
        re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(document))
    )
    return {heading.strip().replace(" ", "-") for heading in kept}


def rows(document: Path, first: str) -> list[list[str]]:
    """The cells of every table whose first column is so named, without its heads."""
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


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)
