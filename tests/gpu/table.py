"""The Markdown of what was measured: one line for each question, then every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpu.rows import NO_DEVICE, VERDICTS, Row
from gpu.stages import STAGES, Stage

OPEN = "not measured yet"
NOT_RUN = f"not run: {NO_DEVICE}"
NAMED = 3
"""So many rows that are wrong are named in the line of their question."""


def render(result: Mapping[str, Any]) -> str:
    """Render a result as `drive` writes it; one without rows gives the questions, not measured yet."""
    rows = [Row(**row) for row in result.get("rows", ())]
    parts = [
        _machine(result),
        _table(("Question", "Reach", "CPU", "GPU"), (_question(s, rows, result) for s in STAGES)),
    ]
    for stage in STAGES:
        own = [row for row in rows if row.stage == stage.key]
        if own:
            parts += [f"### {stage.question}", _table(("", "CPU", "GPU"), _details(own))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(result: Mapping[str, Any]) -> str:
    machine = result.get("machine") or {}
    if not machine:
        return ""
    first = (
        f"{machine['gpu']}, {machine['memory']}, driver {machine.get('driver', '?')}" if "gpu" in machine else "No GPU"
    )
    rest = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in {"gpu", "memory", "driver"})
    return f"{first}; {rest}. Begun {result['began']}, took {result['seconds']} s."


def _question(stage: Stage, rows: Sequence[Row], result: Mapping[str, Any]) -> tuple[str, ...]:
    own = [row for row in rows if row.stage == stage.key]
    cpu, gpu = ([row for row in own if row.device == device] for device in ("cpu", "cuda"))
    has_gpu = "gpu" in (result.get("machine") or {})
    nothing = OPEN if has_gpu or not result.get("machine") else NOT_RUN
    ran = [row for row in gpu if row.verdict != "not run"]
    return stage.question, stage.reach or "–", _counted(cpu) or "–", _counted(ran) or nothing


def _counted(rows: Sequence[Row]) -> str:
    """Rows by their verdicts, and the first of those that are wrong by name."""
    count = Counter(row.verdict for row in rows)
    words = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict])
    wrong = [row.what for row in rows if row.verdict in {"missed", "failed", "cut"}]
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return words + (f": {'; '.join(wrong[:NAMED])}{more}" if wrong else "")


def _details(rows: Iterable[Row]) -> Iterable[tuple[str, ...]]:
    """One line for each thing measured, the CPU's value beside the GPU's."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        # A reach that is met needs no word: the line of the question counts them.
        words = f"{row.verdict}: {row.value}" if row.verdict in {"missed", "failed", "cut", "not run"} else row.value
        found.setdefault(row.what, {"cpu": [], "cuda": []})[row.device].append(words)
    for what, devices in found.items():
        yield what, "; ".join(devices["cpu"]), "; ".join(devices["cuda"])


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in cells)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
