"""Report: how compared runs ended, in a table that can be pasted into an issue, with what is needed to repeat them."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.execution.observations import Observation, observe, observe_together
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.compared import Standing, Verdict, verdict
from diffopt_widgets.runs.grids import Grid
from diffopt_widgets.runs.paired import CONFIDENCE, Paired, confidence_of_each, paired
from diffopt_widgets.runs.run import Run, divergence
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import wrong_kind
from diffopt_widgets.settings.variations import name_by_difference, without_seed
from diffopt_widgets.state_size.words import bytes_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffopt_widgets.settings.plan import RunPlan

SAME_SPEED = 1.1
"""Largest factor between two speeds that count as the same: so much differs from one measurement to the next."""

MOST_SENTENCES = 3
"""Number of settings that are set against the best one in words; the table has all of them."""


@printed_readably
@dataclass(frozen=True)
class Row:
    """One setting of a report."""

    standing: Standing
    against_best: Paired | None
    """How much higher its loss is than the best setting's with the same seeds; None for the best one itself, and where they
    have no seed in common."""
    tried: tuple[str, ...] = ()
    """Labels of all settings of the same optimizer, of which this one is the best; empty where each has its own row."""
    grid: Grid | None = None
    """What was tried with the same optimizer, also what diverged; None where each setting has its own row."""

    @property
    def losses(self) -> list[float]:
        """Its losses, the lowest first."""
        return sorted(self.standing.losses.values())

    @property
    def state_bytes(self) -> int | None:
        """Bytes of its optimizer's state; None where that is not known."""
        return next((run.state_bytes for run in self.standing.runs if run.state_bytes is not None), None)

    @property
    def steps_per_second(self) -> float | None:
        """Median speed of its runs; None where that is not known."""
        speeds = [run.steps_per_second for run in self.standing.runs if run.steps_per_second]
        return median(speeds) if speeds else None


@printed_readably
@dataclass(frozen=True)
class Report:
    """Compared runs in a table; `str()` gives Markdown, and a notebook shows it formatted."""

    verdict: Verdict
    rows: tuple[Row, ...]
    """The settings whose runs finished, the best first."""
    confidence: float
    """Confidence of each interval."""

    def __str__(self) -> str:
        return self.markdown()

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def markdown(self) -> str:
        """Return the report as Markdown, whatever characters the output has."""
        parts = [self.table(), *self.sentences(), self._conditions(), f"```python\n{self.code()}\n```"]
        return "\n\n".join(part for part in parts if part) + "\n"

    def table(self) -> str:
        """Return the rows as a Markdown table; empty where there are none."""
        head, *rows = self.cells() or [[]]
        lines = [[_escaped(cell) for cell in row] for row in rows]
        if lines:
            lines[0][0] = f"**{lines[0][0]}**"
        return "\n".join([_line(head), "|---|" + "---:|" * (len(head) - 1), *map(_line, lines)]) if rows else ""

    def cells(self) -> list[list[str]]:
        """Return the titles of the table and then its rows, as plain text; empty where there are none."""
        if not self.rows:
            return []
        several = any(len(row.losses) > 1 for row in self.rows)
        measure = self.verdict.measure
        head = ["setting", f"mean {measure}" if several else measure, *(["range"] if several else [])]
        head += ["above the best, paired" if several else "above the best", "seeds", "optimizer state", "steps/s"]
        return [head, *(self._cells(row, several=several) for row in self.rows)]

    @staticmethod
    def _cells(row: Row, *, several: bool) -> list[str]:
        low, high = row.losses[0], row.losses[-1]
        best_of = f" (best of {row.grid.combinations})" if row.grid and row.grid.combinations > 1 else ""
        difference = str(row.against_best).partition(" over ")[0].partition(" with ")[0] if row.against_best else "–"
        speed = row.steps_per_second
        return [
            f"{row.standing.label}{best_of}",
            f"{row.standing.loss:.4g}",
            *([f"{low:.4g} to {high:.4g}" if len(row.losses) > 1 else "–"] if several else []),
            difference,
            str(len(row.losses)),
            "not known" if row.state_bytes is None else bytes_words(row.state_bytes),
            "not known" if speed is None else f"{speed:.3g}",
        ]

    def sentences(self) -> list[str]:
        """Return what the table means, each sentence true for these runs."""
        verdict = self.verdict
        if verdict.refusal:
            return [f"The losses cannot be compared: {verdict.refusal}."]
        first, *others = self.rows or (None,)
        if others and not verdict.paired:
            return ["The settings have no seed in common, so whether their differences are luck is not known."]
        said = [self._against(first, row) for row in others[:MOST_SENTENCES]] if first else ["No run finished."]
        if len(others) > MOST_SENTENCES and first:
            luck = sum(row.against_best is None or not row.against_best.beyond_luck for row in others)
            said.append(f"Of all {len(others)} others, {len(others) - luck} are worse by more than luck.")
        said += self._grids()
        lines = [*said, *self._without_result(), *self._observations()]
        return ["\n".join(f"* {line}" for line in lines)]

    def plain_sentences(self) -> list[str]:
        """Return what the table means and what is needed to repeat it, as plain text."""
        lines = "\n".join([*self.sentences(), self._conditions()]).splitlines()
        return [_plain(line.removeprefix("* ")) for line in lines if line]

    def _grids(self) -> list[str]:
        """Say what was tried with each optimizer, and where one of them had less of a chance than the others."""
        grids = [(row, row.grid) for row in self.rows if row.grid is not None]
        if not any(grid.combinations > 1 for _, grid in grids):
            return []
        said = [
            "Each optimizer is shown with the best of the settings that were tried with it, chosen by these same losses."
        ]
        sizes = sorted({grid.combinations for _, grid in grids})
        if len(sizes) > 1:
            most, fewest = (
                _listed(row.standing.runs[0].settings.optimizer for row, grid in grids if grid.combinations == size)
                for size in (sizes[-1], sizes[0])
            )
            said.append(
                f"The grids are of unequal size, which favours the larger ones: {sizes[-1]} combinations of {most}, "
                f"{sizes[0]} of {fewest}."
            )
        for row, grid in grids:
            said.append(f"{_escaped(row.standing.label)}: best of {_escaped(str(grid))}.")
            if edges := grid.edges(row.standing.runs[0].plan):
                said.append(f"It lies at the edge of its grid, so more may be in it: {_listed(edges)}.")
        return said

    def _observations(self) -> list[str]:
        """Say what is worth a second look in the runs of each row; what only few of its seeds show is left out."""
        lines = []
        for row in self.rows:
            runs = row.standing.runs
            seen: dict[str, list[tuple[Run, Observation]]] = {}
            for run in runs:
                for one in observe(run):
                    seen.setdefault(one.rule, []).append((run, one))
            found = [(of[0][1].text, len(of), of[0][0].plan.seed) for of in seen.values() if 2 * len(of) > len(runs)]
            texts = [
                f"{text} (seed {seed}; so with {count} of {len(runs)} seeds)" if len(runs) > 1 else text
                for text, count, seed in found
            ]
            texts += [one.text for one in observe_together(runs)]
            lines += [_escaped(f"{row.standing.label}: {text}") for text in texts]
        return lines

    def _without_result(self) -> list[str]:
        """Say which settings have no row, and why."""
        settings: dict[RunPlan, list[Run]] = {}
        for run in self.verdict.runs:
            settings.setdefault(without_seed(run.plan), []).append(run)
        labels = name_by_difference(list(settings))
        lines = []
        for label, runs in zip(labels, settings.values(), strict=True):
            kinds = {
                "diverged": [run for run in runs if divergence(run)],
                "failed": [run for run in runs if run.status == "failed" and not divergence(run)],
                "did not finish": [run for run in runs if run.status == "stopped" and not divergence(run)],
                "has not ended": [run for run in runs if not run.ended],
            }
            for what, which in kinds.items():
                of = f" with {len(which)} of {len(runs)} seeds" if len(runs) > 1 else ""
                reason = f": {which[0].message}" if which and what == "failed" else ""
                lines += [f"{_escaped(label)} {what}{of}{_escaped(reason)}".removesuffix(".") + "."] if which else []
        return lines

    def _against(self, best: Row, row: Row) -> str:
        one, other = (_escaped(each.standing.label) for each in (best, row))
        difference = row.against_best
        if difference is None or (difference.mean == 0 and not difference.margin):
            text = f"{one} and {other} end alike"
        elif difference.margin is None:
            text = f"{one} ends {difference.mean:.3g} below {other} with one seed; whether that is luck is not known"
        elif difference.beyond_luck:
            text = f"{one} beats {other} by {difference}, which is more than luck"
        else:
            text = f"{one} ends below {other} by {difference}, which may be luck"
        return f"{text}{self._costs(best, row)}."

    @staticmethod
    def _costs(best: Row, row: Row) -> str:
        """Say what the best setting needs against another one, as far as that is known."""
        machines = [
            {(run.device, run.trained_with.get("machine")) for run in each.standing.runs} for each in (best, row)
        ]
        if machines[0] != machines[1] or len(machines[0]) > 1:  # in several processes each has a part of the state
            return ""
        parts = []
        if best.state_bytes is not None and row.state_bytes is not None:
            parts.append(_times(best.state_bytes, row.state_bytes, "memory", same=1.0))
        if best.steps_per_second and row.steps_per_second:
            parts.append(_times(best.steps_per_second, row.steps_per_second, "speed", same=SAME_SPEED))
        return f", at {' and '.join(parts)}" if parts else ""

    def _conditions(self) -> str:
        """Return what is needed to understand and repeat the figures."""
        plans = [run.plan for run in self.verdict.runs]
        task = f"Task {_listed(dict.fromkeys(plan.task for plan in plans))}"
        steps = f"{_listed(dict.fromkeys(f'{plan.steps:,}' for plan in plans))} steps"
        numbers = list(dict.fromkeys(str(plan.seed) for plan in plans))
        seeds = f"seed{'s' if len(numbers) > 1 else ''} {_listed(numbers)}"
        sizes = dict.fromkeys(str(run.samples_per_step or "not known") for run in self.verdict.runs)
        parts = [task, steps, f"examples per step {_listed(sizes)}", seeds]
        shared = "; runs with the same seed have the same first weights, batches and noise"
        lines = [", ".join(parts) + (shared if len(plans) > 1 and not self.verdict.refusal else "") + "."]
        if any(row.against_best and row.against_best.margin is not None for row in self.rows):
            together = " for all pairs of settings together" if self.confidence > CONFIDENCE else ""
            lines.append(
                f"± is half the width of a confidence interval of the paired differences, {100 * CONFIDENCE:.0f} %{together}."
            )
        return "\n".join([*lines, f"Trained with {self._trained_with()}."])

    def _trained_with(self) -> str:
        """Return the versions and machines; more than one of a kind are all named, and it says where they are not known."""
        kinds: dict[str, dict[str, None]] = {}
        for run in self.verdict.runs:
            for kind, text in run.trained_with.items():
                kinds.setdefault(kind, {})[text] = None
        kinds = {_escaped(kind): dict.fromkeys(map(_escaped, texts)) for kind, texts in kinds.items()}
        machines = list(kinds.pop("machine", {}))
        texts = [f"{kind} {' and '.join(versions)}" for kind, versions in kinds.items()]
        if machines:
            texts.append(f"on {' and '.join(machines)}")
        without = sum(not run.trained_with for run in self.verdict.runs if len(run.history))
        if without:
            texts.append(f"versions not known for {without} of the runs")
        return ", ".join(texts) or "versions that are not known"

    def code(self) -> str:
        """Return Python code that trains the same runs and makes the same report."""
        plans = [run.plan for run in self.verdict.runs]
        seeds = sorted({plan.seed for plan in plans})
        points = list(dict.fromkeys(without_seed(plan) for plan in plans))
        whole = set(plans) == {replace(point, seed=seed) for point in points for seed in seeds}
        if not whole:
            points, seeds = list(dict.fromkeys(plans)), []
        options = {
            name: getattr(points[0], name)
            for name in ("task", *RUN_OPTIONS)
            if len({getattr(point, name) for point in points}) == 1
        }
        lists = [_changes(point, options) for point in points]
        stacked = ["stacked=True"] if any("gradients" in run.trained_with for run in self.verdict.runs) else []
        default = {name: use.default for name, use in RUN_OPTIONS.items()}
        arguments = [f'"{points[0].settings.optimizer}"', "over"]
        arguments += [f"{name}={value!r}" for name, value in options.items() if value != default.get(name, ...)]
        if whole and seeds != [RUN_OPTIONS["seed"].default]:
            arguments = [one for one in arguments if not one.startswith("seed=")] + [f"seeds={seeds}"]
        arguments += stacked
        body = "\n".join(f"    {changes!r}," for changes in lists)
        by = ', by="optimizer"' if any(row.tried for row in self.rows) else ""
        call = f"dw.sweep({', '.join(arguments)})"
        return f"import diffopt_widgets as dw\n\nover = [\n{body}\n]\nprint(dw.report({call}{by}))"


def report(runs: Sequence[Run], *, by: Literal["settings", "optimizer"] = "settings") -> Report:
    """Report how runs ended: a table, whether differences are more than luck, versions and hardware, and code to repeat it.

    Runs that differ in nothing but the seed are one row. Losses are compared by seed: the same seed means the same initial
    weights, batches and noise for every setting.

    Args:
        runs: ended runs of one task and length, such as a sweep returns.
        by: "settings" gives each setting a row, "optimizer" each optimizer, with the best of its settings.

    Raises:
        SettingsError: these are no runs of the bench.

    >>> from diffopt_widgets import sweep
    >>> made = report(sweep("ADAMW", {"lr": [1e-3, 1e-2]}, "swiss_roll", 5, seeds=3, progress=False))
    >>> [row.standing.label for row in made.rows]
    ['ADAMW · lr 0.01', 'ADAMW · lr 0.001']
    """
    example = "Give what dw.sweep(…) returned."
    if isinstance(runs, Run):
        runs = [runs]
    if not isinstance(runs, Sequence) or isinstance(runs, str) or not runs:
        raise wrong_kind("runs", runs, "a list of runs", example)
    for run in runs:
        if not isinstance(run, Run):
            raise wrong_kind("runs", run, "a run of the bench", example)
    if by not in ("settings", "optimizer"):
        raise SettingsError((Fault("by", by, "there is no such way to make rows", '"settings" or "optimizer"'),))
    judged = verdict(runs)
    standings = [] if judged.refusal else _named_by_settings(judged.standings)
    alone: list[tuple[Standing, tuple[str, ...]]] = [(standing, ()) for standing in standings]
    rows = _best_of_each(standings) if by == "optimizer" else alone
    plans: dict[str, list[RunPlan]] = {}
    for run in runs:
        plans.setdefault(run.settings.optimizer, []).append(run.plan)
    confidence = confidence_of_each(len(standings))
    best = rows[0][0] if rows else None
    return Report(
        judged,
        tuple(
            Row(
                standing,
                None
                if best is None or standing is best or not judged.paired
                else paired(standing.losses, best.losses, confidence=confidence),
                tried,
                Grid.of(plans[standing.runs[0].settings.optimizer]) if by == "optimizer" else None,
            )
            for standing, tried in rows
        ),
        confidence,
    )


def _named_by_settings(standings: Sequence[Standing]) -> list[Standing]:
    """Return the settings with labels that leave the seed out."""
    labels = name_by_difference([without_seed(standing.runs[0].plan) for standing in standings]) if standings else []
    return [replace(standing, label=label) for standing, label in zip(standings, labels, strict=True)]


def _best_of_each(standings: Sequence[Standing]) -> list[tuple[Standing, tuple[str, ...]]]:
    """Return the best setting of each optimizer, the best first, with the labels of all that were tried."""
    tried: dict[str, list[Standing]] = {}
    for standing in standings:
        tried.setdefault(standing.runs[0].settings.optimizer, []).append(standing)
    return [(of[0], tuple(one.label for one in of)) for of in tried.values()]


def _changes(point: RunPlan, shared: Mapping[str, Any]) -> dict[str, Any]:  # Any: plain values
    """Return the changes that make a plan out of its optimizer's defaults."""
    of_run = {name: getattr(point, name) for name in ("task", *RUN_OPTIONS) if name not in shared}
    return {"optimizer": point.settings.optimizer, **point.settings.changed(), **of_run}


def _times(best: float, other: float, what: str, *, same: float) -> str:
    if not best or not other:
        return f"the same {what}" if best == other else f"{'more' if best else 'less'} {what}"
    ratio = best / other
    text = f"{ratio:.2g}" if ratio < 99.5 else f"{ratio:,.0f}"  # two digits, and no power of ten
    if 1 / same <= ratio <= same or text == "1":
        return f"the same {what}"
    return f"{ {'2': 'twice', '0.5': 'half'}.get(text, f'{text} times') } the {what}"


def _listed(names: Any) -> str:  # Any: an iterable of texts
    *first, last = map(_escaped, names)
    return f"{', '.join(first)} and {last}" if first else last


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return a text so that Markdown shows it as it is."""
    plain = html.escape(text, quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#$~" else letter for letter in plain)


def _plain(markdown: str) -> str:
    """Return a text without what `_escaped` put into it."""
    return html.unescape(re.sub(r"\\(.)", r"\1", markdown))
