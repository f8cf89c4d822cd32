"""Every optimizer on one task, each with the best of its own grid: writes the table of docs/league.md.

    python tests/benchmarks/league.py [--steps 150] [--processes 2] [--store league.sqlite]

An interrupted league goes on where it was when it is started again with the same store.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch

import diffopt_widgets as dw
from diffopt_widgets.runs.run import divergence
from diffopt_widgets.state_size.words import bytes_words

PAGE = Path(__file__).parents[2] / "docs" / "league.md"
INTRODUCTION = """# League: every optimizer on one task, each with the best of its own grid

Each optimizer has its recommended preset with several rates: that of the preset, 4 and 16 times as much, since the presets are made
for larger models. One that estimates its rate has 0.5, 1 and 2 times its `d_coef`, or its `lr` where it has no such option. Where
the best of them lies at the edge, the grid is extended once on that side. The best is the value with the lowest median over the
seeds, of those with which no run was lost: diverged, failed, or ended above the loss that it began with. This is a small task and
a short training; the order says little about large models and long ones.

"""
TASK, SEEDS, FACTORS = "swiss_roll", 3, (1.0, 4.0, 16.0)
ESTIMATING_FACTORS = (0.5, 1.0, 2.0)
"""Factors for an optimizer that estimates its rate: of `d_coef`, or of `lr` where it has no such option."""
MOST_EXTENSIONS = 1
STRETCH = 20
"""Number of steps whose time is taken together: as many as anything that an optimizer does only now and then needs."""
YARDSTICK = "ADAMW"
"""Optimizer whose time per step is 1."""


@dataclass(frozen=True)
class Entry:
    """One optimizer's league result."""

    key: str
    option: str
    """Option that its grid varies."""
    runs: dict[float, list[dw.Run]]
    """Its runs by the value of that option, in ascending order."""

    @property
    def usable(self) -> dict[float, list[float]]:
        """Losses of the values that no seed diverged or failed with."""
        losses = {
            value: [run.eval_after for run in runs if run.eval_after is not None and trained(run)]
            for value, runs in self.runs.items()
        }
        return {value: of for value, of in losses.items() if len(of) == len(self.runs[value])}

    @property
    def best(self) -> float | None:
        """Value with the lowest median loss; None where each value lost a run."""
        usable = self.usable
        return min(usable, key=lambda value: median(usable[value]), default=None)

    @property
    def loss(self) -> float:
        """Median loss of the best value."""
        return float("inf") if self.best is None else median(self.usable[self.best])

    @property
    def lost(self) -> int:
        """Number of runs that diverged or failed."""
        return sum(not trained(run) for runs in self.runs.values() for run in runs)

    @property
    def seconds(self) -> float:
        """Seconds for each step in the fastest stretch of its runs, so that other work on the machine counts little."""
        ends = [run.history.column("seconds") for runs in self.runs.values() for run in runs]
        return min(float((of[STRETCH:] - of[:-STRETCH]).min()) / STRETCH for of in ends if len(of) > STRETCH)

    def beyond_edge(self) -> float | None:
        """Return the next value beyond the edge at which the best one lies; None where it lies between others."""
        values, best = list(self.runs), self.best
        if best == values[0]:
            return values[0] ** 2 / values[1]
        return values[-1] ** 2 / values[-2] if best == values[-1] else None


def trained(run: dw.Run) -> bool:
    """Check whether a run reached its end with finite losses below the one that it began with."""
    below = run.eval_after is not None and run.eval_before is not None and run.eval_after < run.eval_before
    return run.status == "done" and not divergence(run) and below


def compete(key: str, steps: int, store: str) -> Entry | str:
    """Train an optimizer with its grid, extended while the best value lies at its edge; return why where it cannot run here."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # runs that diverge are counted, so their warnings say nothing new
    settings = dw.preset(key, "recommended")
    estimates = dw.spec(key).estimates_rate
    option = "d_coef" if estimates and "d_coef" in settings.options else "lr"
    middle = settings.values()[option]
    values = [rounded(middle * factor) for factor in (ESTIMATING_FACTORS if estimates else FACTORS)]
    entry = Entry(key, option, {})
    try:
        for _ in range(1 + MOST_EXTENSIONS):
            for value in values:
                entry.runs[value] = dw.sweep(
                    settings.replace(**{option: value}),
                    task=TASK, steps=steps, seeds=SEEDS, device="cpu", progress=False, store=store, resume=True,
                )  # fmt: skip
            ordered = dict(sorted(entry.runs.items()))
            entry = Entry(key, option, ordered)
            further = entry.beyond_edge()
            if further is None:
                break
            values = [rounded(further)]
    except (dw.SettingsError, dw.MissingBackend) as reason:
        return " ".join(str(reason).split())
    return entry


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--store", help="file of runs to go on from (default: a new one, deleted at the end)")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or str(Path(folder) / "league.sqlite")
        dw.RunStore(store).list()  # made once, before several processes do
        with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as executor:
            keys = dw.list_optimizers()
            results: dict[str, Entry | str] = {}
            trained_all = executor.map(compete, keys, [options.steps] * len(keys), [store] * len(keys))
            for key, result in zip(keys, trained_all, strict=True):
                results[key] = result
                loss = result if isinstance(result, str) else f"{result.loss:.4f}"
                print(f"{len(results)}/{len(keys)} {key}: {loss}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    minutes = (time.perf_counter() - began) / 60
    entries = sorted((one for one in results.values() if isinstance(one, Entry)), key=lambda one: one.loss)
    refused = {key: reason for key, reason in results.items() if isinstance(reason, str)}
    text = page_part(entries, refused, options.steps, options.processes, minutes)
    PAGE.write_text(INTRODUCTION + text, encoding="utf-8")
    print(text)


def page_part(entries: Sequence[Entry], refused: dict[str, str], steps: int, processes: int, minutes: float) -> str:
    """Return the table, those that cannot run here, and what is needed to repeat it."""
    yardstick = next(entry.seconds for entry in entries if entry.key == YARDSTICK)
    head = "| | optimizer | evaluation loss | range | tried, **best** | lost | optimizer state | time per step |"
    lines = [head, "|---:|---|---:|---:|---|---:|---:|---:|"]
    for place, entry in enumerate(entries, 1):
        losses = sorted(entry.usable.get(entry.best, ())) if entry.best is not None else []
        runs = [run for of in entry.runs.values() for run in of]
        tried = ", ".join(f"**{value:g}**" if value == entry.best else f"{value:g}" for value in entry.runs)
        edge = " (at its edge)" if entry.beyond_edge() is not None else ""
        state = next((run.state_bytes for run in runs if run.state_bytes is not None), None)
        cells = [
            str(place),
            entry.key,
            f"{entry.loss:.4f}" if losses else "none trained",
            f"{losses[0]:.4f} to {losses[-1]:.4f}" if losses else "–",
            f"{entry.option} {tried}{edge}",
            f"{entry.lost} of {len(runs)}" if entry.lost else "–",
            "not known" if state is None else bytes_words(state),
            f"{entry.seconds / yardstick:.2g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    runs = [run for entry in entries for of in entry.runs.values() for run in of]
    ranges = [max(of) - min(of) for entry in entries if entry.best is not None for of in [entry.usable[entry.best]]]
    cannot = [f"* {key} cannot run here: {reason}" for key, reason in refused.items()]
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        for kind, name in run.trained_with.items():
            versions.setdefault(kind, {})[name] = None
    machine = " and ".join(versions.pop("machine", {"a machine that is not known": None}))
    said = ", ".join(f"{kind} {' and '.join(names)}" for kind, names in sorted(versions.items()))
    spread = f"{processes} process{'es' * (processes > 1)} of one thread"
    more = [
        f"Seeds alone move a loss by {median(ranges):.4f} in half of the rows, so neighbours in the table are mostly alike.",
        "\n".join(cannot) if cannot else "Every optimizer of the catalogue ran: none is left out.",
        f"{len(runs)} runs of {steps} steps on `{TASK}` with seeds 0 to {SEEDS - 1}, in {minutes:.0f} minutes with {spread}.",
        f"A step of {YARDSTICK} took {1000 * yardstick:.2g} ms in its fastest stretch of {STRETCH}.",
        f"Trained with {said}, on {machine}.",
        "```sh\npython tests/benchmarks/league.py"
        + (f" --steps {steps}" if steps != 150 else "")
        + (f" --processes {processes}" if processes != 2 else "")
        + "\n```",
    ]
    return "\n".join(lines) + "\n\n" + "\n\n".join(more) + "\n"


if __name__ == "__main__":
    main()
