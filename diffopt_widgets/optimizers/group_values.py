"""Options that a parameter group brings along, as the back end reads them: `beta2` of a group becomes its `betas`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.catalogue.schema import split_argument
from diffopt_widgets.catalogue.values import ValueProblem
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.own_names import is_option_somewhere, option_places, renamed

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import OptimizerSpec, Values
    from diffopt_widgets.optimizers.groups import Group

_PLAIN = frozenset({"lr", "name", "param_names", "use_muon", "initial_lr"})
"""Entries of a group that are no options of an optimizer."""


def with_group_values(entry: OptimizerSpec, options: Values, groups: Sequence[Group]) -> list[Group]:
    """Return the groups with the options that they bring written as the constructor has them.

    Entries that no optimizer knows stay as they are.

    Raises:
        SettingsError: an option is not one of this optimizer, or not by group, or its value cannot be used.
    """
    faults: list[Fault] = []
    made = [replace(group, own=_own(entry, options, group.own, number, faults)) for number, group in enumerate(groups)]
    if faults:
        raise SettingsError(tuple(faults))
    return made


def _own(
    entry: OptimizerSpec, options: Values, own: Mapping[str, Any], number: int, faults: list[Fault]
) -> dict[str, Any]:
    where = f"in parameter group {number}"
    rate = own.get("lr")
    if rate is not None and not isinstance(rate, Real | torch.Tensor):
        faults.append(Fault("lr", rate, f"{where} it is not a number", "a number such as 1e-4"))
    hidden = {split_argument(hidden.argument)[0] for hidden in entry.hidden if "[" not in hidden.argument}
    passed_on = _PLAIN | hidden
    kept = {name: value for name, value in own.items() if name in passed_on or not is_option_somewhere(entry, name)}
    if not entry.catalogued:  # it may read entries that its signature does not show
        kept |= {name: value for name, value in own.items() if not option_places(entry, name)}
    given = {name: value for name, value in own.items() if name not in kept}
    values, wrong = renamed(entry, given)
    faults.extend(replace(fault, problem=f"{where}: {fault.problem}") for fault in wrong)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        use = next((use for use in entry.uses if use.name == name), None)
        if use is None:
            faults.append(
                Fault(name, value, f"{entry.key} has no such option, and would ignore it {where}", "", "Remove it.")
            )
            continue
        if use.argument is None:
            todo = "Take it out of the group, and set it in the settings."
            faults.append(Fault(name, value, f"it holds for the whole optimizer, and not {where}", "", todo))
            continue
        try:
            checked = use.check(value)
        except ValueProblem as problem:
            faults.append(replace(Fault.of(name, value, problem, use.allowed()), option=f"{name} {where}"))
            continue
        base, index = split_argument(use.argument)
        if index is None:
            arguments[base] = checked
        else:
            whole: Any = arguments.get(base) or entry.arguments(1.0, options)[base]
            arguments[base] = (*whole[:index], checked, *whole[index + 1 :])
    return {**kept, **arguments}


def refuse_ignored(entry: OptimizerSpec, optimizer: torch.optim.Optimizer, groups: Sequence[Group]) -> None:
    """Refuse options of groups that the back end keeps once for all groups.

    Raises:
        SettingsError: there is one.
    """
    passed = {split_argument(use.argument)[0] for use in entry.uses if use.argument} - set(optimizer.defaults) - _PLAIN
    ignored = sorted({name for group in groups for name in group.own if name in passed})
    if ignored:
        problem = f"{entry.key} reads it once for all parameter groups, and would ignore that of one"
        todo = "Take it out of the groups, and set it in the settings."
        raise SettingsError(tuple(Fault(name, None, problem, "", todo) for name in ignored))
