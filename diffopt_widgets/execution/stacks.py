"""Stacks of a sweep: which of its runs have their gradients computed together, and in words what became of that."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, TypeAlias

from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import wrong_kind
from diffopt_widgets.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.training.loop import Training
    from diffopt_widgets.training.stack import Stack

Stacked: TypeAlias = 'bool | Literal["auto"]'

ROUNDED = "computed together with those of other runs, rounded differently than alone"
"""What is noted of the gradients of a run in what it was trained with."""


class RoundedDifferently(UserWarning):
    """Warning that runs whose gradients were computed together have other numbers than each would have alone, by rounding."""


def check_stacked(stacked: object, executor: object, prune: str | None) -> None:
    """Check the argument of a sweep.

    Raises:
        SettingsError: it is another value, or the runs do not train side by side in this process.
    """
    if not isinstance(stacked, bool) and not (isinstance(stacked, str) and stacked == "auto"):
        raise wrong_kind("stacked", stacked, 'True, False or "auto"', 'Write stacked="auto".')
    if not stacked:
        return
    if executor is not None:
        problem = "an executor trains each run in a place of its own"
    elif prune in ("median", "hyperband"):
        problem = f"{prune} trains the trials one after the other, up to the steps at which it compares them"
    else:
        return
    raise SettingsError((Fault("stacked", stacked, problem, "", "Leave one of the two out."),))


class Stacks:
    """Stacks of the runs of a sweep, one for each kind of run.

    Args:
        wanted: as `sweep` takes it; with False there are none.
    """

    def __init__(self, wanted: Stacked) -> None:
        self.wanted = wanted
        self._stacks: dict[tuple[object, ...], Stack] = {}
        self._runs: dict[Stack | str, dict[str, Run]] = {}
        """The runs of each stack by key, and those that are in none by the reason."""
        self._going: dict[str, tuple[Stack, Training]] = {}
        """Those that train, by key."""
        self._rounded: dict[str, bool] = {}
        """Whether those that took steps with gradients computed together are rounded differently, by key."""

    def join(self, run: Run) -> None:
        """Add a run that is ready to train."""
        from diffopt_widgets.training.stack import Stack, kind_of, why_alone

        training = run.kept
        if not self.wanted or training is None or isinstance(training, Checkpoint):
            return
        if why := why_alone(training):
            self._runs.setdefault(why, {})[run.key] = run
            return
        stack = self._stacks.setdefault(kind_of(training), Stack(only_equal=self.wanted == "auto"))
        stack.join(training)
        self._runs.setdefault(stack, {})[run.key] = run
        self._going[run.key] = stack, training

    def holds(self, run: Run) -> bool:
        """Check whether the gradients of a run are computed together with those of others, so that they should advance step by step."""
        return run.key in self._going and not self._going[run.key][0].given_up

    def follow(self, run: Run) -> None:
        """Note with a run that it is rounded differently where that is so; one that has ended leaves."""
        if run.key not in self._going:
            return
        stack, training = self._going[run.key]
        if training.stacked:
            self._rounded[run.key] = training.rounded
        if training.rounded:
            run.take_over({"trained_with": {**run.trained_with, "gradients": ROUNDED}})
        if run.ended:
            stack.leave(training)
            del self._going[run.key]

    def words(self) -> list[str]:
        """Say what was done with the runs, in a sentence for each stack, or each part of it, and each reason to be in none."""
        said = []
        for key, runs in self._runs.items():
            parts: dict[bool | None, list[Run]] = {}
            for run in runs.values():
                parts.setdefault(self._rounded.get(run.key), []).append(run)
            said += [_words(key, part, rounded, of=len(runs)) for rounded, part in parts.items()]
        return said

    def warn(self) -> None:
        """Warn of runs that are rounded differently, in the name of the caller's caller."""
        rounded = [run for runs in self._runs.values() for run in runs.values() if self._rounded.get(run.key)]
        if rounded:
            text = (
                f"the gradients of {_counted(rounded)} were computed together, which rounds differently: their losses are those "
                'of each run alone up to rounding, which grows, and not to the bit. stacked="auto" keeps them to the bit'
            )
            warnings.warn(text, RoundedDifferently, stacklevel=3)


def _words(key: Stack | str, runs: list[Run], rounded: bool | None, of: int) -> str:
    """Say what was done with runs that are alike.

    Args:
        key: their stack, or why they are in none.
        runs: the runs.
        rounded: whether they are rounded differently than alone; None for those that took no step with the gradients of a stack.
        of: number of all runs of the stack.
    """
    what = _counted(runs)
    if isinstance(key, str):
        return f"{what}: trained in turn, since {key}."
    if of == 1:
        return f"{what}: trained in turn, since no other has its task, batch size, accumulation, precision and device."
    if key.given_up:
        before = "; the steps before that are rounded differently than alone" * bool(rounded)
        return f"{what}: trained in turn{' from some step on' * (rounded is not None)}, since {key.given_up}{before}."
    if len(runs) < of and rounded is None:
        others = "it" if len(runs) == 1 else "them"
        return f"{what}: trained in turn, since no other trained beside {others} until both ways were compared."
    if rounded is None or key.ratio is None:
        return f"{what}: trained in turn, since they ended before both ways were compared."
    numbers = "rounded differently than alone" if rounded else "with the numbers of each run alone, to the bit"
    speed = f"{key.ratio:.2f} times as fast" if key.ratio >= 1 else f"in {1 / key.ratio:.2f} times the time"
    return f"{what}: gradients computed together, {speed} as in turn in the steps that compared them, {numbers}."


def _counted(runs: list[Run]) -> str:
    tasks = ", ".join(dict.fromkeys(run.plan.task for run in runs))
    return f"{len(runs)} run{'s' * (len(runs) > 1)} of {tasks}"
