"""Rows of what was measured, written one line at a time, so that what came before a crash is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Verdict = Literal["met", "missed", "seen", "failed", "cut", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
NO_DEVICE = "no CUDA device"


@dataclass(frozen=True)
class Row:
    """One thing measured on one device."""

    stage: str
    what: str
    device: str
    """`"cpu"` or `"cuda"`."""
    verdict: Verdict
    value: str = ""
    """What was measured, or why it was not, in words."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The same as numbers."""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.verdict!r} is none of {', '.join(VERDICTS)}")


class Log:
    """A file of lines, each an object of one entry: `row`, `begin` and `end` of a stage, or a fact by its name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, kind: str, value: object) -> None:
        """Append one line, and have it on the disk at once."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({kind: value}, ensure_ascii=False) + "\n")

    def row(self, row: Row) -> None:
        """Append a row."""
        self.put("row", asdict(row))

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Give kind and value of each whole line; the last one may have been broken off."""
        if not self.path.exists():
            return
        for line in self.path.read_text("utf-8").split("\n")[:-1]:
            yield from json.loads(line).items()

    def of(self, kind: str) -> list[Any]:
        """Give the values of one kind."""
        return [value for found, value in self.entries() if found == kind]

    def rows(self) -> list[Row]:
        """Give all rows."""
        return [Row(**value) for value in self.of("row")]
