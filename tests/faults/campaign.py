"""The fault campaign: each scenario as often as docs/faults.md says, and the table that it shows.

    python tests/faults/campaign.py             all scenarios (half an hour of one idle core), then the table
    python tests/faults/campaign.py pressed     those whose name has this word
    python tests/faults/campaign.py --table     only the table, of what was tried before

What a scenario reports is kept in `measured.json` with the day and the versions, and the table is written into docs/faults.md. A
scenario that does not hold ends with an error, and what it reported last stays.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "shared"), str(HERE.parents[1])]

import connection  # found by the line above
import failing
import growth
import ipywidgets
import killed
import operations
import pressed
import torch
import versions
from tried import Tried

FILE = HERE / "measured.json"
PAGE = HERE.parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- written by tests/faults/campaign.py -->\n\n", "\n\n<!-- to here -->"
SEED = 2026

SCENARIOS: dict[str, dict[str, Callable[[], Tried | Iterable[Tried]]]] = {
    "Buttons": {
        "pressed often": lambda: pressed.run_pressed_often(20, SEED),
        "pressed while starting": lambda: pressed.stopped_while_starting(30, SEED),
        "pressed while training": lambda: pressed.changed_while_it_trains(25, SEED),
        "kernels restarted": lambda: killed.kernels_restarted(2),
    },
    "Random operations": {"operations": lambda: operations.operations(2000, SEED)},
    "Hours of work": {
        "growth benches": lambda: growth.benches(200),
        "growth records": lambda: growth.records(1_000_000),
        "growth hours": lambda: growth.hours(8, 8),
    },
    "Kills, disks, clocks": {
        "kernels killed": lambda: killed.kernels_killed(100, SEED),
        "workers killed": lambda: killed.workers_killed(4, SEED),
        "disks full": lambda: killed.disks_full(3, SEED),
        "folder read-only": lambda: killed.folder_read_only(2),
        "notebooks share": lambda: killed.notebooks_share(2),
        "clock set back": lambda: killed.clock_set_back(2),
    },
    "Runs that fail": {
        "failing runs": lambda: failing.runs_that_fail(2),
        "failing memory": lambda: failing.memory_runs_out(3),
        "failing exit": lambda: failing.exit_in_a_step(3),
        "interrupted": lambda: failing.interrupted(25, SEED),
    },
    "The connection": {
        "connection page": lambda: connection.pages(20, SEED),
        "connection speed": connection.speed,
    },
    "Versions": {
        "versions oldest": lambda: versions.resolved("lowest-direct"),
        "versions newest": lambda: versions.resolved("highest"),
        "versions widgets": versions.old_widgets,
        "versions of Python": versions.pythons,
    },
}


def main(words: list[str]) -> int:
    """Carry out the scenarios with one of these words in their name; return the number of those that do not hold."""
    kept = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    failures = 0
    for name, scenario in ((n, s) for part in SCENARIOS.values() for n, s in part.items()):
        if words and not any(word in name for word in words):
            continue
        began = time.monotonic()
        try:
            results = scenario()
        except Exception:  # noqa: BLE001  # the others are tried all the same
            traceback.print_exc()
            failures += 1
            continue
        results = [results] if isinstance(results, Tried) else list(results)
        kept = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}  # another part of it may run beside this
        kept[name] = {"on": today(), "with": with_versions(), "tried": [list(result) for result in results]}
        FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(*results, f"{time.monotonic() - began:.0f} s", sep="\n", flush=True)
    return failures


def today() -> str:
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d")


def with_versions() -> str:
    python = f"Python {platform.python_version()}"
    return f"{python}, torch {torch.__version__}, ipywidgets {ipywidgets.__version__}, {platform.system()}"


def table() -> str:
    """Return the table of what was tried, as Markdown."""
    kept = json.loads(FILE.read_text("utf-8"))
    lines = ["| tried | times | what held | measured |", "|---|---|---|---|"]
    for part, scenarios in SCENARIOS.items():
        lines.append(f"| **{part}** | | | |")
        for name in scenarios:
            lines += (
                [f"| {what} | {times:,} | {held} | {measured} |" for what, times, held, measured in kept[name]["tried"]]
                if name in kept
                else []
            )
    runs = sorted({f"{one['on']}, {one['with']}" for one in kept.values()})
    return "\n".join([*lines, "", f"Tried on {'; '.join(runs)}."])


def write_page() -> None:
    """Write the table into docs/faults.md."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE} lacks the lines between which the table stands")
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{after}", "utf-8")


if __name__ == "__main__":
    status = 0 if sys.argv[1:] == ["--table"] else main(sys.argv[1:])
    if FILE.exists():
        write_page()
        print(table())
    sys.exit(min(status, 1))
