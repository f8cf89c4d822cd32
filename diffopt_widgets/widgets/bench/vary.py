"""Vary: options of which Run trains several values, side by side, and how many seeds of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.catalogue.values import ValueProblem
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.space import MOST_RUNS, Range, vary, with_seeds
from diffopt_widgets.runs.typed_values import read_axis
from diffopt_widgets.widgets.page.event_loop import on_loop_in_turn, running_loop
from diffopt_widgets.widgets.page.html import paragraph

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import Use
    from diffopt_widgets.runs.space import Axis
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.settings.plan import RunPlan

ROWS = 3
"""Number of options that can be varied at once; more are for `dw.sweep`."""

MOST_SEEDS = 100

_EXAMPLE = "such as 0.5, 1, 2 or 1e-4 to 1e-2"
_OF_A_RUN = ("batch_size", "accumulation", "dtype")


@printed_readably
class Vary(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """Rows to choose an option in, each with a field for its values, and a number of seeds; folded at first.

    A further row appears when one is in use. It trains nothing: `plans` gives the plans of the runs.

    >>> from diffopt_widgets import RunPlan, Settings
    >>> box = Vary(Settings("PRODIGY"))
    >>> box.fields[0].value, box.texts[0].value = "d_coef", "0.5, 1, 2"
    >>> [plan.settings.options["d_coef"] for plan in box.plans(RunPlan(Settings("PRODIGY")))]
    [0.5, 1.0, 2.0]
    """

    over: traitlets.Dict[str, Any] = traitlets.Dict(read_only=True, help="The values to try, as `sweep` takes them.")
    seeds = traitlets.Int(1, read_only=True, help="Number of seeds with which each combination is trained.")
    problem = traitlets.Unicode(read_only=True, help="Error of a field; empty when all fields are valid.")

    def __init__(self, settings: Settings) -> None:
        self._uses: dict[str, Use] = {}
        self.switch = widgets.ToggleButton(
            description="Vary …", tooltip="Train several values of an option, or several seeds, side by side"
        )
        self.switch.add_class("dw-vary-switch")
        self.fields = [widgets.Dropdown(description="Vary" if row == 0 else "And") for row in range(ROWS)]
        self.texts = [widgets.Text(placeholder=_EXAMPLE, description="Values") for _ in range(ROWS)]
        self.number = widgets.Text(value="1", description="Seeds", tooltip="Number of seeds, from that above on")
        self.number.add_class("dw-number")
        self.words = widgets.HTML()
        rows = [widgets.HBox([field, text]) for field, text in zip(self.fields, self.texts, strict=True)]
        for row in rows:
            row.add_class("dw-vary-row")
        seeds = widgets.HBox([self.number, self.words])
        seeds.add_class("dw-vary-row")
        self._rows = rows
        super().__init__([*rows, seeds])
        self.add_class("dw-vary")
        self.offer(settings)
        self._fold()
        cells = running_loop()  # newer kernels handle the messages of plain widgets in a thread of their own
        for control in (*self.fields, *self.texts, self.number):
            control.observe(lambda _: on_loop_in_turn(cells, self._read), "value")
        self.switch.observe(lambda _: self._fold(), "value")

    def __repr__(self) -> str:
        return f"Vary({', '.join(self.over) or 'nothing'}, {self.seeds} seed{'s' * (self.seeds > 1)})"

    def offer(self, settings: Settings) -> None:
        """Offer the options of these settings; a row keeps its option also where the optimizer has none of that name."""
        spec = settings.spec
        own = [use for use in spec.uses if use.standing is Standing.LIVE]
        uses = [spec.lr, *TRAINING.values(), *own, *(RUN_OPTIONS[name] for name in _OF_A_RUN)]
        self._uses = {use.name: use for use in uses}
        for field in self.fields:
            kept = field.value
            titles = [("nothing", ""), ("Optimizer", "optimizer"), *((use.option.title, use.name) for use in uses)]
            missing = (
                [(f"{kept} (not of {settings.optimizer})", kept)] if kept not in {key for _, key in titles} else []
            )
            field.options = [*titles, *(missing if kept else [])]
            field.value = kept or ""
        self._read()

    def plans(self, plan: RunPlan) -> list[RunPlan]:
        """The plans of all runs: those of every combination of the values, with each seed.

        Raises:
            ValueProblem: a field is wrong, or these are too many runs.
            SettingsError: a combination cannot be trained.
        """
        if self.problem:
            raise ValueProblem(self.problem)
        most = self.seeds * math.prod(map(_points, self.over.values()))
        if most > 2 * MOST_RUNS:  # where options are varied for some optimizers only, there are fewer
            raise ValueProblem(f"These are up to {most:,} runs; the bench trains up to {MOST_RUNS:,} at once.")
        plans = with_seeds(vary(plan, self.over) if self.over else [plan], self.seeds)
        if len(plans) > MOST_RUNS:
            raise ValueProblem(f"These are {len(plans):,} runs; the bench trains up to {MOST_RUNS:,} at once.")
        return plans

    def _fold(self) -> None:
        self.layout.display = None if self.switch.value else "none"

    def _read(self) -> None:
        """Update the traits from the fields, and mark invalid ones."""
        over: dict[str, Any] = {}
        problems = []
        for field, text in zip(self.fields, self.texts, strict=True):
            problem = self._read_row(field.value, text.value, over)
            (text.add_class if problem else text.remove_class)("dw-wrong")
            if problem:
                problems.append(f"{self._title(field.value)}: {problem}")
        number = self.number.value.strip()
        good = number.isascii() and number.isdigit() and len(number) < 9 and 1 <= int(number) <= MOST_SEEDS
        (self.number.remove_class if good else self.number.add_class)("dw-wrong")
        if not good:
            problems.append(f"Seeds: must be a whole number from 1 to {MOST_SEEDS}")
        with self.hold_trait_notifications():
            self.set_trait("problem", "\n".join(problems))
            self.set_trait("over", over)
            if good:
                self.set_trait("seeds", int(number))
        for row, before, own in zip(self._rows[1:], self.fields, self.fields[1:], strict=False):
            row.layout.display = None if before.value or own.value else "none"
        self._describe()

    def _read_row(self, name: str, text: str, over: dict[str, Any]) -> str:
        """Add the values of a row to `over`; return what is wrong. A row without values varies nothing yet."""
        if not name or not text.strip():
            return ""
        if name in over:
            return "it is varied in another row already"
        if name == "optimizer":
            over[name] = [part.strip() for part in text.split(",") if part.strip()]
            return _optimizers_problem(over[name])
        if name not in self._uses:
            return "the optimizer of the form has no such option; choose another, or nothing"
        try:
            over[name] = read_axis(self._uses[name], text)
        except ValueProblem as problem:
            return str(problem)
        return ""

    def _title(self, name: str) -> str:
        return self._uses[name].option.title if name in self._uses else name.capitalize()

    def _count(self, name: str, axis: Axis) -> int:
        """Count the values of an option that are tried; between whole numbers there may be fewer than were asked for."""
        if not isinstance(axis, Range):
            return len(axis)
        option = self._uses[name].option
        grid = axis.of(option).grid()
        return len({round(value) for value in grid} if option.kind == "int" else set(grid))

    def _describe(self) -> None:
        """Say how many values and seeds there are."""
        counts = [f"{self._count(name, axis)} values of {self._title(name)}" for name, axis in self.over.items()]
        counts += [f"{self.seeds} seeds"] if self.seeds > 1 else []
        said = f"Run trains {' × '.join(counts)}, side by side." if counts else ""
        if "optimizer" in self.over and len(self.over) > 1:
            said += " An option is varied only for the optimizers that have it."
        if any(field.value and not text.value.strip() for field, text in zip(self.fields, self.texts, strict=True)):
            said = f"Write the values to try, {_EXAMPLE}."
        self.words.value = paragraph("" if self.problem else said, "dw-about")
        varied = [*map(self._title, self.over), *(["seeds"] if self.seeds > 1 else [])]
        self.switch.description = f"Varies: {', '.join(varied)}" if varied else "Vary …"


def _optimizers_problem(keys: list[str]) -> str:
    """Say what is wrong with the optimizers to compare; empty when nothing is."""
    if len({key.casefold() for key in keys}) < len(keys):
        return "an optimizer stands there twice, and both would be the same run"
    return "" if len(keys) > 1 else "two optimizers or more are needed, such as ADAMW, PRODIGY"


def _points(axis: Axis) -> int:
    return axis.points if isinstance(axis, Range) else len(axis)
