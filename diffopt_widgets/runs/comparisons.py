"""Ready comparisons: a few runs that differ in one thing, and what to look for in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.run import Run
from diffopt_widgets.runs.space import vary
from diffopt_widgets.settings import Settings
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import name_by_difference


@printed_readably
@dataclass(frozen=True)
class Comparison:
    """Runs that differ in the values of `over` and in nothing else; a list of changes gives each run several."""

    key: str
    title: str
    look_for: str
    """Visible effect, in a sentence or two; true for these runs with any seed."""
    plan: RunPlan
    over: Mapping[str, tuple[Any, ...]] | tuple[Mapping[str, Any], ...]  # Any: values of options, of whatever kind
    measured: tuple[tuple[float, ...], ...] = ()
    """Evaluation losses of each run with the seeds 0, 1 and so on, measured on a CPU: what seeds alone change."""
    log_rate: bool = True
    """True when the applied rates are best seen on a log axis."""

    @property
    def size(self) -> int:
        """Number of its runs."""
        return math.prod(map(len, self.over.values())) if isinstance(self.over, Mapping) else len(self.over)

    def runs(self, *, seed: int = 0, device: str = "auto") -> list[Run]:
        """Runs that wait to be carried out, named by their differences."""
        plans = vary(replace(self.plan, seed=seed, device=device), self.over)
        return [Run(plan, name) for plan, name in zip(plans, name_by_difference(plans), strict=True)]


def every_optimizer() -> Comparison:
    """All optimizers of the catalogue with their recommended presets: many runs, so that it is not among the quick ones."""
    presets = [(key, spec(key).preset("recommended")) for key in list_optimizers()]
    return Comparison(
        "all",
        "All optimizers",
        "Each optimizer has its recommended preset, which is made for larger models, and none is tuned for this task. So the "
        "order says little; look at how each curve falls, at the applied rates and at the state of each in the report.",
        RunPlan(Settings("ADAMW"), "swiss_roll", 100),
        tuple({"optimizer": key, **preset.values} for key, preset in presets),
    )


def comparisons() -> tuple[Comparison, ...]:
    """All ready comparisons, in the order of their buttons."""
    return (
        Comparison(
            "d_coef",
            "D coefficient under cosine",
            "Prodigy finds its rate within the first tens of steps, then the cosine lowers it. On this task a smaller d_coef "
            "mostly settles at a lower rate, but not by the same factor: the estimate reacts to its effect.",
            RunPlan(Settings("PRODIGY", lr=1.0, schedule="COSINE"), "digits", 300),
            {"d_coef": (0.5, 1.0, 1.2)},
            measured=(
                (0.1859, 0.1765, 0.1794, 0.1768, 0.1714),
                (0.1913, 0.1939, 0.1966, 0.1868, 0.2153),
                (0.1962, 0.198, 0.1967, 0.1989, 0.1824),
            ),
            log_rate=False,  # three plateaus within a factor of two
        ),
        Comparison(
            "beta2",
            "beta2",
            "Here 0.9 and 0.999 end nearly alike. With 0.5 the average of squared gradients spans about two steps, that of the "
            "gradients about ten: the loss stays a little higher, although all apply the same rate.",
            RunPlan(Settings("ADAMW", lr=1e-2), "digits", 200),
            {"beta2": (0.5, 0.9, 0.999)},
            measured=(
                (0.2043, 0.2131, 0.2029, 0.2104, 0.1999),
                (0.1852, 0.1915, 0.1929, 0.1837, 0.1884),
                (0.1913, 0.1951, 0.1912, 0.1904, 0.1856),
            ),
            log_rate=False,
        ),
        Comparison(
            "bits",
            "8 or 32 bits",
            "The two losses fall almost together, while the 8-bit state needs about two fifths of the memory: here tensors with "
            "fewer than 4096 weights keep 32 bits. In a large model few tensors are so small.",
            RunPlan(Settings("ADAMW", lr=4e-3, schedule="COSINE"), "digits", 200),
            {"optimizer": ("ADAMW", "ADAMW_8BIT")},
            measured=(
                (0.1804, 0.1799, 0.183, 0.1827, 0.1789),
                (0.1803, 0.1798, 0.1829, 0.1827, 0.1788),
            ),
            log_rate=False,
        ),
        Comparison(
            "warmup",
            "Warm-up or not",
            "A high rate from the first step raises the loss above its initial value, and mostly the loss does not recover. "
            "With a warm-up over the first tenth of the steps, the same rate trains well.",
            RunPlan(Settings("ADAMW", lr=4e-2, schedule="COSINE"), "digits", 200),
            {"warmup": (0.0, 0.1)},
            measured=(
                (0.8625, 0.6411, 0.9215, 0.7886, 0.9352),
                (0.1933, 0.205, 0.1871, 0.2021, 0.2024),
            ),
            log_rate=False,
        ),
        Comparison(
            "rounding",
            "Rounding",
            "At this small rate a step leaves about three of four bfloat16 weights unchanged: the update is rounded away, and the "
            "loss falls about half as far. Rounded up or down at random, it counts on average, as in float32.",
            RunPlan(Settings("ADAMW", lr=1e-4), "swiss_roll", 200, dtype="bfloat16"),
            {"stochastic_rounding": (False, True)},
            measured=(
                (0.4392, 0.4384, 0.44, 0.434, 0.4503),
                (0.2989, 0.2981, 0.3161, 0.2945, 0.2997),
            ),
            log_rate=False,
        ),
        Comparison(
            "lora",
            "LoRA",
            "The B matrices of a LoRA start at zero, and two of these optimizers scale a step by the size of its tensor. Adafactor "
            "takes eps2 (1e-3) for the size of a zero, so B begins a thousand times slower than under AdamW. LAMB never moves it; "
            "its rate in the plot is A's, whose gradient stays zero.",
            RunPlan(Settings("ADAMW", lr=1e-2), "digits_lora", 100),
            {"optimizer": ("ADAMW", "ADAFACTOR", "LAMB")},
            measured=(
                (0.2015, 0.198, 0.2014, 0.1969, 0.2013),
                (0.9309, 0.9303, 0.9305, 0.9298, 0.9319),
                (0.9844, 0.9844, 0.9844, 0.9844, 0.9844),
            ),
        ),
    )
