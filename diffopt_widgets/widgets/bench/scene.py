"""Scene: what bar, plots, form and table of a bench speak of at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from diffopt_widgets.runs.compared import ready_comparison, trained_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffopt_widgets.execution.session import Session
    from diffopt_widgets.runs.compared import Verdict
    from diffopt_widgets.runs.comparisons import Comparison
    from diffopt_widgets.runs.run import Run


@dataclass(frozen=True)
class Scene:
    """Subject of all parts of a bench; two scenes are equal when nothing has to be said anew."""

    told: Run | None = None
    """The run that began last; where that was removed, another of its comparison. None before the first one."""
    compared: tuple[Run, ...] = ()
    """The runs of its comparison; empty for a run that was started alone."""
    judged: tuple[Run, ...] = ()
    """The runs whose outcome the table has: that of the comparison before until the next one is known."""
    looks: tuple[tuple[Run, str, str], ...] = ()
    """Name and status of every run."""

    @classmethod
    def of(cls, runs: Sequence[Run], session: Session | None, before: Scene) -> Scene:
        """Return the scene of these runs, after an earlier one."""
        here = set(runs)
        together = () if session is None else tuple(run for run in session.together if run in here)
        compared = together if len(together) > 1 else ()
        told = session.latest if session else None
        if told is not None and told.ended and told not in here:
            told = compared[-1] if compared else None
        earlier = tuple(run for run in before.judged if run in here)
        going = not _all_over(compared or ([told] if told else []))
        stays = going and len(earlier) > 1 and _all_over(earlier)
        looks = tuple((run, run.name, run.status) for run in runs)
        return cls(told, compared, earlier if stays else compared, looks)

    @cached_property
    def ready(self) -> Comparison | None:
        """The ready comparison that is shown; None for other runs."""
        return ready_comparison(self.compared)

    @cached_property
    def trained(self) -> str:
        """Sentence on what the comparison trains with; empty without one."""
        return f"{trained_words([run.plan for run in self.compared])}." if self.compared else ""

    def offered(self, verdict: Verdict) -> Run | None:
        """Return the run whose settings are worth having: the best, or else one that did not fail."""
        known = verdict.standings if set(verdict.runs) == set(self.compared) else ()
        finished = [run for one in known for run in one.runs if run.status == "done"]
        return next((run for run in (*finished, *self.compared) if run.status != "failed"), None)


def _all_over(runs: Sequence[Run]) -> bool:
    return all(run.ended for run in runs)
