"""The ready comparisons: what each tells people to look for is there to be seen, on shorter runs than theirs."""

from dataclasses import replace

from diffopt_widgets.comparisons import comparisons
from diffopt_widgets.driver import finish

COMPARISONS = {comparison.key: comparison for comparison in comparisons()}


def carried_out(key, steps, seed=0):
    """Its runs, cut short: the schedules see the whole length, as in the comparison itself."""
    comparison = COMPARISONS[key]
    runs = replace(comparison, plan=replace(comparison.plan, steps=steps)).runs(seed=seed, device="cpu")
    return [finish(run, progress=False) for run in runs]
