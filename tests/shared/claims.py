"""Sentences of the catalogue, the comparisons and the README that quote a result of runs, each with the runs that it has it from.

A sentence is computed from the results in `benchmarks/measured.json`, so that the figures in it are these results, rounded.
To change one, or to add one: write it here, run `python tests/benchmarks/bench_claims.py`, and put what it prints in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from measured import Measured  # noqa: TC002  # as light as this module itself
from places import ROOT

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.runs.comparisons import Comparison, comparisons

TASK, STEPS, SEEDS = "digits", 300, (0, 1)
COMPARISON_SEEDS = (0, 1, 2, 3, 4)
"""Seeds of `Comparison.measured`."""
Results = Mapping[str, float]
"""Results by the label of a run."""


@dataclass(frozen=True)
class Claim:
    """A sentence that quotes results of runs."""

    places: tuple[str, ...]
    """Texts that say it, by their names in `texts()`."""
    runs: Mapping[str, dw.RunPlan]
    """Runs by label; their seeds are `seeds`."""
    sentence: Callable[[Results], str]
    """The sentence, or the part of it that quotes; computed from each run's mean over all seeds."""
    holds: Callable[[Results], bool]
    """What makes the sentence true; it must hold with every seed."""
    seeds: tuple[int, ...] = SEEDS
    measure: str = "loss"
    """Result that is measured, by its name in `measured.MEASURES`."""

    def results(self, measured: Measured, seed: int) -> Results:
        """Return each run's result with one seed."""
        return {label: measured.result(self.measure, plan, seed) for label, plan in self.runs.items()}

    def means(self, measured: Measured) -> Results:
        """Return each run's mean over the seeds."""
        return {label: measured.mean(self.measure, plan, self.seeds) for label, plan in self.runs.items()}


def on(settings: dw.Settings, task: str = TASK, steps: int = STEPS) -> dw.RunPlan:
    """Make the plan of a run."""
    return dw.RunPlan(settings, task, steps)


def recommended(key: str, **values: object) -> dw.Settings:
    """Make an optimizer's recommended settings, with some values changed."""
    return dw.preset(key, "recommended").replace(**values)


def says(text: str) -> Callable[[Results], str]:
    """Make a sentence without figures of results."""
    return lambda _: text


def of_comparison(key: str) -> dict[str, dw.RunPlan]:
    """Make the plans of a ready comparison by the value that differs."""
    comparison = next(entry for entry in comparisons() if entry.key == key)
    (values,) = comparison.over.values()
    return {str(value): replace(run.plan, device="auto") for value, run in zip(values, comparison.runs(), strict=True)}


def losses_by_seed(measured: Measured, comparison: Comparison) -> tuple[tuple[float, ...], ...]:
    """Return the evaluation losses of each run of a ready comparison, with every seed."""
    plans = of_comparison(comparison.key).values()
    return tuple(tuple(measured.result("loss", plan, seed) for seed in COMPARISON_SEEDS) for plan in plans)


def ran_away(loss: float) -> bool:
    """Check whether a run ended above the loss that it began with, about 1 on the digits, or was never finite."""
    return not loss < 0.9


LORA = {
    "AdamW, 1e-2": dw.Settings("ADAMW", lr=1e-2),
    "Adafactor at its defaults": dw.Settings("ADAFACTOR", lr=1e-2),
    "Adafactor, `eps2` 0.1": dw.Settings("ADAFACTOR", lr=1e-2, eps2=0.1),
    "LAMB, 1e-2": dw.Settings("LAMB", lr=1e-2),
    "LARS, 1": dw.Settings("LARS", lr=1.0),
    "Prodigy, cosine": dw.Settings("PRODIGY", lr=1.0, schedule="COSINE"),
    "Prodigy, cosine, `d_coef` 0.5": dw.Settings("PRODIGY", lr=1.0, schedule="COSINE", d_coef=0.5),
}
"""Settings by their words in the table of `docs/lora.md`."""
LORA_TASKS, LORA_STEPS = ("digits_lora", "digits_finetune"), 100


def on_both(words: str) -> dict[str, dw.RunPlan]:
    """Make the plans of a row of that table by their task."""
    return {task: on(LORA[words], task, LORA_STEPS) for task in LORA_TASKS}


ADAMW = on(recommended("ADAMW"))
RATES = "1e-3 or more for models as small as those of the bench"


def texts() -> dict[str, str]:
    """Return every text of the catalogue, the ready comparisons and the options of a run by name, and the README's."""
    named = dict(_of_catalogue())
    named |= {name: use.option.help for name, use in RUN_OPTIONS.items()}
    named |= {f"comparison {entry.key}": entry.look_for for entry in comparisons()}
    for name in ("README.md", "notebooks/quickstart.ipynb", "docs/recommended.md", "docs/lora.md"):
        named[name] = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    return named


def _of_catalogue() -> Iterator[tuple[str, str]]:
    for key in list_optimizers():
        entry = spec(key)
        yield f"{key}.summary", entry.summary
        yield f"{key}.rate_words", entry.rate_words
        for use in (entry.lr, *entry.uses):
            advice = (use.advice.reason, use.advice.words) if use.advice else ()
            yield f"{key}.{use.name}", _joined(use.option.help, use.note, use.reason, *advice)
        for preset in entry.presets:
            yield f"{key}.{preset.key}", preset.why
        for rule in entry.rules:
            yield f"{key} rule {rule.id}", rule.message
        for number, remedy in enumerate(entry.remedies):
            yield f"{key} remedy {number}", _joined(remedy.cause, remedy.advice)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        tuple(name for name, text in texts().items() if RATES in text),
        {
            f"{task} {lr:g}": on(recommended("ADAMW", lr=lr), task)
            for task in ("digits", "swiss_roll")
            for lr in (1e-3, 4e-3, 8e-3)
        },
        says(RATES),
        lambda r: all(
            r[f"{task} 0.008"] < r[f"{task} 0.004"] < r[f"{task} 0.001"] < 0.3 for task in ("digits", "swiss_roll")
        ),
    ),
    Claim(
        ("ADAMW.recommended",),
        {"preset": ADAMW, "4e-3": on(recommended("ADAMW", lr=4e-3))},
        lambda r: (
            f"On the bench's digits 4e-3 does better than this rate: a loss of {r['4e-3']:.2f} against {r['preset']:.2f}."
        ),
        lambda r: r["4e-3"] < r["preset"],
    ),
    Claim(
        ("AIDA.eps",),
        {"ADAMW": ADAMW, **{f"{eps:g}": on(recommended("AIDA", eps=eps)) for eps in (1e-8, 1e-12, 1e-16)}},
        lambda r: (
            f"On the bench's digits 1e-8 ends at a loss of {r['1e-08']:.2f}, and 1e-12 and 1e-16 at {r['1e-16']:.2f}, where "
            f"AdamW ends at {r['ADAMW']:.2f}."
        ),
        lambda r: r["1e-08"] > r["ADAMW"] > r["1e-12"] and math.isclose(r["1e-12"], r["1e-16"], rel_tol=0.03),
    ),
    Claim(
        ("LION.recommended", "LION_8BIT.recommended"),
        {"preset": on(recommended("LION")), "third": on(recommended("LION", lr=3e-4))},
        lambda r: (
            f"On the bench's digits this rate ends at a loss of {r['preset']:.2f} and a third of it at {r['third']:.2f}."
        ),
        lambda r: r["preset"] < r["third"],
    ),
    Claim(
        ("TIGER.recommended",),
        {"preset": on(recommended("TIGER")), "twice": on(recommended("TIGER", lr=2e-3))},
        says("On the bench's digits twice this rate does as well."),
        lambda r: math.isclose(r["preset"], r["twice"], rel_tol=0.03),
    ),
    Claim(
        ("LAMB.recommended",),
        {"preset": on(recommended("LAMB")), "limited": on(recommended("LAMB", lr=1e-2, max_unorm=1.0))},
        lambda r: (
            f"On the bench's digits the loss ends at {r['preset']:.2f} without it; with it, at ten times the rate, at "
            f"{r['limited']:.2f}."
        ),
        lambda r: r["preset"] < 0.5 * r["limited"],
    ),
    Claim(
        ("LAMB_8BIT.recommended",),
        {"preset": on(recommended("LAMB_8BIT")), "usual": on(recommended("LAMB_8BIT", min_8bit_size=4096))},
        lambda r: (
            f"On the bench's digits the loss ends at {r['preset']:.2f}; at the package's min_8bit_size, at {r['usual']:.2f}."
        ),
        lambda r: r["preset"] < 0.5 * r["usual"],
    ),
    Claim(
        ("MUON_ADV.recommended", "ADAMUON_ADV.recommended"),
        {key: on(recommended(key)) for key in ("MUON_ADV", "ADAMUON_ADV")},
        lambda r: f"on the bench's digits the loss ends at {r['MUON_ADV']:.2f}.",
        lambda r: math.isclose(*r.values(), rel_tol=0.06),
    ),
    Claim(
        ("CAME.lr", "CAME_8BIT.lr"),
        {key: on(dw.Settings(key)) for key in ("CAME", "CAME_8BIT")},
        lambda r: f"On the bench's digits they are {r['CAME']:.1f} times the rate after 300 steps",
        lambda r: math.isclose(*r.values(), rel_tol=0.06),
        measure="last step",
    ),
    Claim(
        ("DADAPT_ADAM.recommended",),
        {"preset": on(recommended("DADAPT_ADAM")), "off": on(recommended("DADAPT_ADAM", use_bias_correction=False))},
        lambda r: f"without which the loss ends at {r['off']:.2f} and not at {r['preset']:.2f} on the bench's digits",
        lambda r: r["preset"] < 0.5 * r["off"],
    ),
    Claim(
        ("DADAPT_ADAN.recommended",),
        {"preset": on(recommended("DADAPT_ADAN")), "own": on(recommended("DADAPT_ADAN", growth_rate=math.inf))},
        lambda r: (
            f"on the bench's digits the loss ends at {r['own']:.2f}, a mean of two seeds, and at {r['preset']:.2f} where the "
            "estimate grows by 5% per step at most."
        ),
        lambda r: r["preset"] < 0.25,
    ),
    Claim(
        ("DADAPT_SGD.recommended",),
        {"preset": on(recommended("DADAPT_SGD")), "0.3": on(recommended("DADAPT_SGD", lr=0.3))},
        lambda r: f"on the bench's digits the loss ends at {r['preset']:.2f}, and at a rate of 0.3 at {r['0.3']:.2f}.",
        lambda r: r["preset"] < r["0.3"],
    ),
    Claim(
        ("DADAPT_SGD.lr",),
        {
            "1": on(recommended("DADAPT_SGD")),
            "1, none": on(recommended("DADAPT_SGD", momentum=0.0)),
            "2": on(recommended("DADAPT_SGD", lr=2.0)),
        },
        says(
            "On the bench's digits it trains at 1 with a momentum of 0.9, and runs away at 1 without momentum and at 2 with it."
        ),
        lambda r: r["1"] < 0.3 and ran_away(r["1, none"]) and ran_away(r["2"]),
    ),
    Claim(
        ("SCHEDULE_FREE_SGD.lr",),
        {
            "preset": on(recommended("SCHEDULE_FREE_SGD")),
            "1": on(recommended("SCHEDULE_FREE_SGD", lr=1.0)),
            "cold": on(recommended("SCHEDULE_FREE_SGD", warmup=0.0)),
        },
        says("On the bench's digits the package's own 1 runs away, and 0.3 needs a warm-up."),
        lambda r: r["preset"] < 0.3 and ran_away(r["1"]) and ran_away(r["cold"]),
    ),
    Claim(
        ("SCHEDULE_FREE_SGD.recommended",),
        {
            "preset": on(recommended("SCHEDULE_FREE_SGD")),
            "cold": on(recommended("SCHEDULE_FREE_SGD", warmup=0.0)),
        },
        says("20 steps of warm-up, without which the rate runs away on the bench's digits"),
        lambda r: r["preset"] < 0.3 and ran_away(r["cold"]),
    ),
    Claim(
        ("comparison beta2",),
        of_comparison("beta2"),
        says(
            "Here 0.9 and 0.999 end nearly alike. With 0.5 the average of squared gradients spans about two steps, that of the "
            "gradients about ten: the loss stays a little higher, although all apply the same rate."
        ),
        lambda r: r["0.5"] > 1.03 * max(r["0.9"], r["0.999"]) and math.isclose(r["0.9"], r["0.999"], rel_tol=0.05),
        seeds=(0, 1, 2, 3, 4, 11),
    ),
    Claim(
        ("comparison warmup",),
        of_comparison("warmup"),
        says("With a warm-up over the first tenth of the steps, the same rate trains well."),
        lambda r: r["0.1"] < 0.3 and r["0.1"] < r["0.0"],
        seeds=(0, 1, 2),
    ),
    Claim(
        ("comparison rounding",),
        of_comparison("rounding"),
        says("the loss falls about half as far"),
        lambda r: 0.3 < r["False"] / r["True"] < 0.7,
        seeds=(0, 1, 2),
        measure="fall",
    ),
    Claim(
        ("comparison bits",),
        of_comparison("bits"),
        says("The two losses fall almost together"),
        lambda r: math.isclose(*r.values(), rel_tol=0.03),
        seeds=(0, 1, 2),
    ),
    Claim(
        ("comparison d_coef",),
        of_comparison("d_coef"),
        says("On this task a smaller d_coef mostly settles at a lower rate, but not by the same factor"),
        lambda r: r["0.5"] < r["1.0"] < 2 * r["0.5"],
        measure="highest rate",
    ),
    Claim(
        ("comparison lora",),
        of_comparison("lora"),
        says("LAMB never moves it"),
        lambda r: r["ADAMW"] < 0.3 < r["ADAFACTOR"] < r["LAMB"],
        seeds=(0, 1, 2),
    ),
    Claim(
        ("docs/lora.md",),
        on_both("Prodigy, cosine"),
        lambda r: (
            f"Prodigy's rate rises to {r['digits_lora']:.3f} with the LoRA and to {r['digits_finetune']:.4f} with all weights"
        ),
        lambda r: r["digits_lora"] > 4 * r["digits_finetune"],
        measure="highest rate",
    ),
    Claim(
        ("docs/lora.md",),
        {words: on_both(words)["digits_lora"] for words in ("Prodigy, cosine", "Prodigy, cosine, `d_coef` 0.5")},
        says("With the LoRA it overshoots, and a `d_coef` of 0.5 prevents that."),
        lambda r: 2 * r["Prodigy, cosine, `d_coef` 0.5"] < r["Prodigy, cosine"],
    ),
    Claim(
        ("docs/lora.md",),
        {"LAMB": on_both("LAMB, 1e-2")["digits_lora"]},  # which changes nothing
        lambda r: f"before the first step it is {r['LAMB']:.2f}",
        lambda r: True,
    ),
    Claim(
        ("docs/lora.md",),
        on_both("AdamW, 1e-2"),
        lambda r: f"its norm is {r['digits_lora']:.1f} with the LoRA and {r['digits_finetune']:.1f} with all weights",
        lambda r: 3 * r["digits_lora"] < r["digits_finetune"],
        measure="first gradient",
    ),
    Claim(
        ("docs/recommended.md",),
        {"4e-3": on(recommended("ADAMW", lr=4e-3))},
        lambda r: f"AdamW reaches {r['4e-3']:.2f} with 4e-3",
        lambda r: r["4e-3"] < 0.2,
    ),
    Claim(
        ("README.md",),
        of_comparison("d_coef"),
        lambda r: (
            f"The typed learning rate is 1; the applied rates reach {min(r.values()):.4f} to {max(r.values()):.4f}"
        ),
        lambda r: True,
        seeds=(0,),
        measure="highest rate",
    ),
    Claim(
        ("notebooks/quickstart.ipynb",),
        {"PRODIGY": of_comparison("d_coef")["1.0"]},
        says("starts at a millionth and rises by a factor of a few thousand"),
        lambda r: 2000 < r["PRODIGY"] / 1e-6 < 9000,
        measure="highest rate",
    ),
)


def league() -> dict[str, dw.RunPlan]:
    """Return the plans of all optimizers' recommended presets."""
    return {key: on(recommended(key)) for key in list_optimizers()}


def table_of_presets(measured: Measured) -> str:
    """Make the Markdown table of what the recommended presets reach, lowest loss first."""
    losses = {key: measured.mean("loss", plan, SEEDS) for key, plan in league().items()}
    rows = [
        f"| {spec(key).title} | {league()[key].settings.lr:g} | {losses[key]:.3f} |"
        for key in sorted(losses, key=losses.__getitem__)
    ]
    return "\n".join(["| optimizer | learning rate | evaluation loss |", "| --- | --- | --- |", *rows, ""])


def table_of_lora(measured: Measured) -> str:
    """Make the Markdown table of what some settings reach with a LoRA and with all weights."""
    rows = ["| settings | LoRA | all weights |", "| --- | --- | --- |"]
    for words in LORA:
        losses = (measured.mean("loss", plan, SEEDS) for plan in on_both(words).values())
        rows.append(f"| {words} | {' | '.join(f'{loss:.2f}' for loss in losses)} |")
    return "\n".join([*rows, ""])


TABLES = {"docs/recommended.md": table_of_presets, "docs/lora.md": table_of_lora}
"""Tables that are made from results, by their pages."""


def needed() -> Iterable[tuple[str, dw.RunPlan, tuple[int, ...]]]:
    """Give every result that a claim, the league or `losses_by_seed` reads: what is measured, the plan, the seeds."""
    for claim in CLAIMS:
        for plan in claim.runs.values():
            yield claim.measure, plan, claim.seeds
    for comparison in comparisons():
        for plan in of_comparison(comparison.key).values():
            yield "loss", plan, COMPARISON_SEEDS
    for plan in (*league().values(), *(plan for words in LORA for plan in on_both(words).values())):
        yield "loss", plan, SEEDS
