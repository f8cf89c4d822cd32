"""RunPlan: everything that a training run depends on; the same plan gives the same run."""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK, RunOptions, RunValues
from diffopt_widgets.catalogue.schema import Use, Values
from diffopt_widgets.catalogue.values import Value, ValueProblem
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings import Fault, Settings, SettingsError, as_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack  # in typing since Python 3.11

    from diffopt_widgets.catalogue.run_options import RunKeywords

F = TypeVar("F", bound="Callable[..., Any]")

_LINE = re.compile(r"^( *)options:.*\n(?:\1 +\S.*\n)*", re.MULTILINE)
"""The entry of `options` in a docstring, with the lines that belong to it."""


def lists_run_options(function: F) -> F:
    """Make `help()` and a notebook show each option of a run, for a function that takes them as `options`.

    The signature then names the options, and the entry `options:` of the docstring becomes one entry for each of them.
    """
    signature = inspect.signature(function)
    declared = [entry for entry in signature.parameters.values() if entry.kind is not inspect.Parameter.VAR_KEYWORD]
    positional = [entry for entry in declared if entry.kind is not inspect.Parameter.KEYWORD_ONLY]
    added = [
        inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type)
        for option in fields(RunOptions)
        if option.name not in signature.parameters
    ]
    full = signature.replace(parameters=[*positional, *added, *declared[len(positional) :]])
    function.__signature__ = full  # type: ignore[attr-defined]  # inspect.signature looks for this attribute
    function.__doc__ = _with_entries(function.__doc__)
    return function


def _with_entries(doc: str | None) -> str | None:
    """Replace `options:` in a docstring with an entry for each option of a run; None where Python strips docstrings."""
    return doc and _LINE.sub(lambda entry: "".join(_entry(use, entry[1]) for use in (TASK, *RUN_OPTIONS.values())), doc)


def _entry(use: Use, indent: str) -> str:
    option = use.option
    choices = f" One of {', '.join(map(repr, option.choices))}." if option.choices else ""
    meaning = option.help.replace("empty", "None") if option.nullable else option.help
    inner = f"{indent}    "
    text = f"{use.name}: {meaning}{choices}"
    return textwrap.fill(text, 120, initial_indent=indent, subsequent_indent=inner, break_on_hyphens=False) + "\n"


@dataclass(frozen=True)
class _OfSettings:
    """Base that makes `settings` the first argument of a plan."""

    settings: Settings


@printed_readably
@dataclass(frozen=True)
class RunPlan(RunOptions, _OfSettings):
    """Complete description of one training run.

    Args:
        settings: the optimizer with its options, and the schedule.
        options: the options of the run.

    Raises:
        SettingsError: with one `Fault` for each thing that is wrong.

    >>> RunPlan(Settings("PRODIGY"), steps=0)
    Traceback (most recent call last):
    ...
    diffopt_widgets.settings.faults.SettingsError: steps = 0: must be a whole number, from 1 to 10,000,000.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", as_settings(self.settings))
        values, faults = check_run(self)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not faults and (fault := accumulation_fault(self.settings.options, self.accumulation)):
            faults.append(fault)
        if faults:
            raise SettingsError(tuple(faults))

    @classmethod
    def of(cls, settings: Settings | str, task: str, steps: int, **options: Unpack[RunKeywords]) -> RunPlan:
        """Make the plan of a run with these options.

        Raises:
            SettingsError: a value cannot be used.
            TypeError: a run has no such option.
        """
        for name in options:
            if name not in RUN_OPTIONS:
                close = difflib.get_close_matches(name, RUN_OPTIONS, n=1)
                todo = f"did you mean {close[0]}?" if close else f"there are {', '.join(RUN_OPTIONS)}"
                raise TypeError(f"there is no argument {name!r}; {todo}")
        return cls(as_settings(settings), task, steps, **options)

    def options(self) -> RunValues:
        """Return every option of the run by name."""
        values: RunValues = {name: getattr(self, name) for name in (TASK.name, *RUN_OPTIONS)}  # type: ignore[assignment]
        return values

    def flat(self) -> dict[str, object]:
        """Return every value by name: the optimizer, its options, the schedule, the task and so on."""
        return {"optimizer": self.settings.optimizer, **self.settings.values(), **self.options()}


RunPlan.__doc__ = _with_entries(RunPlan.__doc__)


def check_run(run: RunOptions) -> tuple[dict[str, Value], list[Fault]]:
    """Check the options of a run, without raising.

    Returns:
        The valid values by name, each as its own type, and the faults of the others. The task is not checked here, but
        where the tasks are known.
    """
    values: dict[str, Value] = {}
    faults = []
    for name, use in RUN_OPTIONS.items():
        value = getattr(run, name)
        try:
            values[name] = use.check(value)
        except ValueProblem as problem:
            faults.append(Fault.of(name, value, problem, use.allowed()))
    return values, faults


def accumulation_fault(options: Values, accumulation: int) -> Fault | None:
    """Return the fault of an optimizer that cannot accumulate gradients over so many batches; None where it can."""
    if accumulation == 1 or not options.get("fused_back_pass"):
        return None
    return Fault(
        "fused_back_pass",
        True,
        f"the optimizer steps in each backward pass, so gradients cannot be accumulated over {accumulation} batches",
        "",
        "Turn it off, or set accumulation to 1 and use a larger batch.",
        fix={"fused_back_pass": False},
    )
