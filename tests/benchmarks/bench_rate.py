"""What the rate that Prodigy found is worth in AdamW, and that of a range test: against the best of a grid of rates.

For each task and seed: PRODIGY at its defaults, whose rate `dw.with_rate_of` puts into AdamW; a range test of AdamW; AdamW with
each rate of a grid, and with the two proposals. All with a constant schedule and the same seed, so the same weights and batches.
The loss is that of the evaluation set at the end. Run: python tests/benchmarks/bench_rate.py --write, which measures what
`rate.json` lacks; delete that file to measure all again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue.values import short
from diffopt_widgets.tasks import ParameterGroup

HERE = Path(__file__).parent
MEASURED, PAGE = HERE / "rate.json", HERE.parents[1] / "docs" / "prodigys-rate.md"
TABLE, END = "<!-- table -->", "<!-- end of table -->"
STEPS, SEEDS = 100, 5
GRID = [2e-4 * 2**i for i in range(12)]
"""Rates of AdamW, from 2e-4 to 0.41."""
NEAR = 2.0
"""Factor within which a proposal lies near the best rate."""
AS_GOOD = 1.02
"""Factor of the best loss up to which a loss is as good."""


class Function:
    """A function of a few numbers, from a start of the seed; its loss is the value itself."""

    def __init__(self, value, size, seed, device, dtype, *, noise=0.0):
        source = torch.Generator().manual_seed(seed)
        self.weights = torch.nn.Parameter(torch.randn(size, generator=source).to(device, dtype))
        self.groups = (ParameterGroup("weights", (self.weights,)),)
        self._value, self._noise = value, noise

    def loss(self, step, micro=0):  # noqa: ARG002  # as every problem
        # a task's own draws come from torch's generator, which the loop seeds by seed and step
        shift = self._noise * torch.randn_like(self.weights) if self._noise else 0.0
        return self._value(self.weights - shift)

    def evaluate(self):
        return self._value(self.weights.detach())


class Learning:
    """A small network of two layers on data made from a fixed seed; the evaluation set is other data of the same kind."""

    def __init__(self, seed, device, batch_size, dtype, *, classes):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = torch.nn.Sequential(
                torch.nn.Linear(16, 64), torch.nn.Tanh(), torch.nn.Linear(64, classes or 1)
            )
        self.model.to(device, dtype)
        source = torch.Generator().manual_seed(1)
        teacher = torch.randn(16, 16, generator=source)
        inputs = torch.randn(2304, 16, generator=source)
        hidden = torch.sin(inputs @ teacher / 4)
        values = hidden[:, :classes].argmax(1) if classes else hidden.mean(1, keepdim=True) * 4
        noise = 0 if classes else 0.1 * torch.randn(len(inputs), 1, generator=source)
        self._inputs, self._wanted, self._size = inputs, values + noise, batch_size
        self._measure = torch.nn.functional.cross_entropy if classes else torch.nn.functional.mse_loss

    def loss(self, step, micro=0):  # noqa: ARG002  # as every problem
        batch = torch.randint(0, 2048, (self._size,))
        return self._measure(self.model(self._inputs[batch]), self._wanted[batch])

    def evaluate(self):
        with torch.no_grad():
            return self._measure(self.model(self._inputs[2048:]), self._wanted[2048:])


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def quadratic(x):
    return (torch.logspace(0, 3, len(x)) * x**2).mean()


def task(key, title, build):
    return dw.Task(key=key, title=title, summary=title, build=build, steps=STEPS)


TASKS = [
    "swiss_roll",
    "digits",
    task("regression", "regression", lambda *given: Learning(*given, classes=0)),
    task("classes", "classification", lambda *given: Learning(*given, classes=8)),
    task("rosenbrock", "Rosenbrock", lambda s, dev, _, kind: Function(rosenbrock, 10, s, dev, kind)),
    task("quadratic", "quadratic", lambda s, dev, _, kind: Function(quadratic, 50, s, dev, kind)),
    task("noisy_quadratic", "noisy", lambda s, dev, _, kind: Function(quadratic, 50, s, dev, kind, noise=0.1)),
]


def trained(settings, key, seed):
    """Train; the evaluation loss at the end, infinite where it diverged."""
    run = dw.train(settings, key, STEPS, seed=seed, progress=False)
    loss = math.inf if run.status != "done" or run.eval_after is None else run.eval_after
    return run, loss if math.isfinite(loss) else math.inf


def measure(key, seed):
    """Measure one task with one seed."""
    adamw = dw.Settings("ADAMW")
    losses = [trained(adamw.replace(lr=rate), key, seed)[1] for rate in GRID]
    run, own = trained(dw.Settings("PRODIGY"), key, seed)
    found = {"prodigy_loss": own, "losses": losses}
    try:
        rate, why = dw.with_rate_of(run).lr, ""
    except dw.SettingsError as error:
        rate, why = None, str(error)
    tested = dw.lr_find(adamw, key, STEPS, seed=seed)
    read = {name: getattr(tested, name) for name in ("steepest", "lowest", "diverges")}
    found |= {"range": tested.proposed, "read": read, "prodigy": rate, "why": why}
    for name in ("range", "prodigy"):
        proposed = found[name]
        found[f"{name}_in_adamw"] = None if proposed is None else trained(adamw.replace(lr=proposed), key, seed)[1]
    return found


@dataclass(frozen=True)
class Score:
    """How good the proposals of one kind are."""

    seeds: int
    known: int
    near: int
    """How many lie within `NEAR` of the best rate of the grid."""
    as_good: int
    """How many end within `AS_GOOD` of the best loss of the grid, or below it."""
    ratios: tuple[float, ...]
    """Each proposal as a factor of the best rate."""

    def words(self):
        if not self.known:
            return "not known"
        middle = f"{short(statistics.median(self.ratios))} ×"
        return f"{self.near} of {self.seeds} ({middle}); as good: {self.as_good}"


def score(found, name):
    """Judge one kind of proposal on the seeds of one task."""
    near = as_good = 0
    ratios = []
    for one in found:
        if one[name] is None:
            continue
        best = min(one["losses"])
        ratio = one[name] / GRID[one["losses"].index(best)]
        ratios.append(ratio)
        near += ratio * 1.001 >= 1 / NEAR and ratio <= NEAR * 1.001
        as_good += one[f"{name}_in_adamw"] <= AS_GOOD * best
    return Score(len(found), len(ratios), near, as_good, tuple(ratios))


def table(measured):
    """Rows of the table: a task, the best rates, and how good either proposal is; then all together."""
    rows = [["task", "best rate of the grid", "as good as the best", "Prodigy's rate", "range test"], ["---"] * 5]
    for key, found in measured.items():
        best = [GRID[one["losses"].index(min(one["losses"]))] for one in found]
        ties = [sum(loss <= AS_GOOD * min(one["losses"]) for loss in one["losses"]) for one in found]
        span = short(min(best)) if min(best) == max(best) else f"{short(min(best))} to {short(max(best))}"
        rates = f"{statistics.median(ties):g} of {len(GRID)} rates"
        rows.append([key, span, rates, *(score(found, name).words() for name in ("prodigy", "range"))])
    everything = [one for found in measured.values() for one in found]
    total = []
    for name in ("prodigy", "range"):
        made = score(everything, name)
        total.append(f"**{made.near} of {made.seeds}** ({made.near / made.seeds:.0%}); as good: {made.as_good}")
    rows.append(["**all**", "", "", *total])
    return rows


def page_with(text, rows):
    """Return the page with these rows between its two marks."""
    before, _, rest = text.partition(TABLE)
    _, end, after = rest.partition(END)
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{before}{TABLE}\n{lines}{end}{after}"


def all_measured():
    """Measure what `rate.json` lacks, and keep each seed there as soon as it is measured."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    for one in TASKS:
        key = one if isinstance(one, str) else one.key
        if not isinstance(one, str):
            dw.register_task(one, replace=True)
        found = measured.setdefault(key, [])
        for seed in range(len(found), SEEDS):
            found.append(measure(key, seed))
            MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            print(f"{key}, seed {seed}", file=sys.stderr, flush=True)
    return measured


def main():
    """Measure, print the table, and with --write put it into the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # runs that diverge
    rows = table(all_measured())
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    if chosen.write:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
