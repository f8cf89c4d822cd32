"""Parameters that an optimizer is built from, in groups or not, with or without names; and their split for Muon."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from diffopt_widgets.catalogue.hidden_layers import hidden_by_itself, named_hidden, pieces
from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffopt_widgets.settings import Settings

Named: TypeAlias = tuple[str, torch.nn.Parameter]
OptimizerParams: TypeAlias = Iterable[torch.nn.Parameter] | Iterable[Named] | Iterable[dict[str, Any]]
"""Parameters, pairs of a name and a parameter, or groups with either under `params`, as torch takes them."""

FLAG = "use_muon"
"""Key of a group that is true when Muon steps it, and false when the auxiliary Adam does."""
TEXT_ENCODERS: Mapping[str, tuple[str, ...]] = {
    "muon_te1_adam_lr": ("text_encoder", "text_encoder_1", "te", "te1"),
    "muon_te2_adam_lr": ("text_encoder_2", "te2"),
}
"""Names of the groups of each text encoder, by the option with their learning rate."""

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Names under which torch.compile, FSDP and checkpointing of activations hold the model that they wrap."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Parameters that are stepped with the same values; `names` are empty texts if there are no names."""

    params: tuple[torch.nn.Parameter, ...]
    names: tuple[str, ...]
    own: Mapping[str, Any]
    """Other entries of the group, such as a learning rate or a name."""

    @classmethod
    def of(cls, params: Any, own: Mapping[str, Any]) -> Group:
        """Make a group from parameters in any form that torch accepts: one tensor, several, or pairs of a name and a tensor."""
        listed = [params] if isinstance(params, torch.Tensor) else _listed(params, "params of a group")
        pairs = [entry if isinstance(entry, tuple) else ("", entry) for entry in listed]
        if odd := next((pair for pair in pairs if len(pair) != 2), None):
            raise _wrong(f"params has a tuple of {len(odd)}, where a pair of a name and a tensor is wanted", _GROUPS)
        names = own.get("param_names") or [name for name, _ in pairs]
        return cls(tuple(p for _, p in pairs), tuple(names), own)

    def where(self, chosen: list[bool], **own: Any) -> Group:
        """Return a group of the chosen parameters, with some entries set."""
        indices = [i for i, is_chosen in enumerate(chosen) if is_chosen]
        return Group(tuple(self.params[i] for i in indices), tuple(self.names[i] for i in indices), {**self.own, **own})

    def as_torch(self) -> dict[str, Any]:
        """Return the group as a dict without names, which every version of torch accepts."""
        return {**self.own, "params": list(self.params)}


def plain_name(name: str) -> str:
    """Return the name of a part of a model without what torch.compile and the wrappers of torch.distributed put into it.

    >>> plain_name("_orig_mod.unet"), plain_name("module.text_encoder"), plain_name("unet._orig_mod.mid")
    ('unet', 'text_encoder', 'unet.mid')
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while parts[:1] == ["module"]:
        del parts[0]
    return ".".join(parts)


def read_groups(params: OptimizerParams | torch.nn.Module) -> tuple[list[Group], bool]:
    """Return the parameters as groups, and whether they came in groups; parameters without groups make one group.

    A model stands for its named parameters.

    Raises:
        SettingsError: they are no parameters, there are none, or one is there twice.
    """
    entries = _listed(params, "params")
    grouped = bool(entries) and isinstance(entries[0], dict)
    groups = [_group_of(entry, place) for place, entry in enumerate(entries)] if grouped else [Group.of(entries, {})]
    for number, group in enumerate(groups):
        where = f" of group {number}" if grouped else ""
        for place, p in enumerate(group.params):
            _check_parameter(
                p, group.names[place] if place < len(group.names) else "", f"{place}{where}", grouped=grouped
            )
    if not any(group.params for group in groups):
        raise _empty(params)
    _refuse_twice(groups)
    return groups, grouped


def _listed(params: Any, what: str) -> list[Any]:  # Any: whatever was passed
    """Return what was passed as a list.

    Raises:
        SettingsError: it is not a collection of parameters.
    """
    if isinstance(params, torch.nn.Module):
        return list(params.named_parameters())
    name = type(params).__name__
    if isinstance(params, torch.Tensor):
        raise _wrong(f"{what} is one tensor, and a list of them is wanted", "Write [tensor].")
    if isinstance(params, Mapping):
        if "params" in params:
            raise _wrong(f"{what} is one parameter group, and a list of them is wanted", "Write [group].")
        raise _wrong(
            f"{what} is a dict, and a list is wanted", "Write model.named_parameters(), or list(params.items())."
        )
    if isinstance(params, torch.optim.Optimizer):
        raise _wrong(f"{what} is an optimizer, and parameters are wanted", "Write model.parameters().")
    if isinstance(params, type) or not isinstance(params, Iterable) or isinstance(params, str | bytes):
        inner = callable(params) and getattr(params, "__name__", "") in {"parameters", "named_parameters"}
        todo = "Call it: model.parameters()." if inner else "Write model.parameters()."
        raise _wrong(f"{what} is {'a function' if inner else f'of type {name}'}, and parameters are wanted", todo)
    if isinstance(params, set | frozenset):
        raise _wrong(f"{what} is a set, which has no order", "Write a list: model.parameters().")
    return list(params)


def _group_of(entry: Any, place: int) -> Group:  # Any: whatever was passed
    if not isinstance(entry, Mapping):
        raise _wrong(f"the first of params is a group, and number {place} is of type {type(entry).__name__}", _GROUPS)
    if "params" not in entry:
        raise _wrong(f"group {place} has no params, only {', '.join(map(str, entry)) or 'nothing'}", _GROUPS)
    own = {key: value for key, value in entry.items() if key != "params"}
    if isinstance(name := own.get("name"), str):
        own["name"] = plain_name(name) or name
    return Group.of(entry["params"], own)


def _check_parameter(p: object, name: str, place: str, *, grouped: bool) -> None:
    called = repr(name) if name else f"number {place}"
    if isinstance(p, Mapping) and not grouped:
        raise _wrong(f"{called} of params is a group, and the first one is not", _GROUPS)
    if isinstance(p, torch.nn.Module):
        raise _wrong(f"{called} of params is a {type(p).__name__}, and a tensor is wanted", "Write its .parameters().")
    if not isinstance(p, torch.Tensor):
        raise _wrong(
            f"{called} of params is of type {type(p).__name__}, and a tensor is wanted", "Write model.parameters()."
        )
    if not (p.is_leaf or p.retains_grad):
        todo = "Give the parameters themselves, as model.parameters() does."
        raise _wrong(f"{called} of params was computed from other tensors, so a step cannot change it", todo)


def _refuse_twice(groups: list[Group]) -> None:
    seen: dict[int, str] = {}
    for number, group in enumerate(groups):
        names = list(group.names) + [""] * len(group.params)
        for place, (name, p) in enumerate(zip(names, group.params, strict=False)):
            called = repr(name) if name else f"number {place}" + (f" of group {number}" if len(groups) > 1 else "")
            first = seen.get(id(p))
            seen[id(p)] = called
            if first is not None:
                todo = "Give each tensor once; model.parameters() names a tensor that layers share only once."
                raise _wrong(f"the same tensor is in params twice, as {first} and as {called}", todo)


def _empty(params: object) -> SettingsError:
    if isinstance(params, torch.nn.Module):
        return _wrong(f"the model, a {type(params).__name__}, has no parameters", "Give one that has some.")
    if isinstance(params, Iterator):
        return _wrong(
            "params is a generator without parameters, or was used up before", "Write list(model.parameters())."
        )
    return _wrong("there are no parameters", "Write model.parameters(), of a model that has some.")


_GROUPS = 'Write a list of groups, such as [{"params": model.parameters(), "lr": 1e-4}].'


def _wrong(problem: str, todo: str) -> SettingsError:
    return SettingsError((Fault("params", None, problem, "", todo),))


def without_names(groups: list[Group], *, grouped: bool) -> list[Any]:
    """Return groups or parameters without names; torch accepts names only from version 2.6 on, other back ends never."""
    return [group.as_torch() for group in groups] if grouped else list(groups[0].params)


def muon_groups(settings: Settings, groups: list[Group], scale: float = 1.0) -> list[dict[str, Any]]:
    """Split every group into a part for Muon and one for its auxiliary Adam; empty parts are left out.

    A group that has `use_muon` already is not split. Without names the choice is by shape alone, and the log warns of it.

    Args:
        settings: of an optimizer that has an auxiliary Adam.
        groups: all groups of the optimizer.
        scale: factor of the learning-rate scaler.

    Raises:
        SettingsError: a tensor for Muon is not a matrix, or no tensor has the name of a hidden layer.
    """
    chooses = _chooser(settings, groups)
    with_names = all(name for group in groups for name in group.names)  # torch accepts names in all groups or in none
    parts: list[Group] = []
    for group in groups:
        if FLAG in group.own:
            for_muon = [bool(group.own[FLAG])] * len(group.params)
        else:
            for_muon = [chooses(name, p) for name, p in zip(group.names, group.params, strict=True)]
        rate = {"lr": own * scale} if (own := _adam_lr(settings, group)) is not None else {}
        parts.append(_named(group.where(for_muon, **{FLAG: True}), "Muon", with_names=with_names))
        if rate and "lr" in group.own and not any(for_muon):
            _log.warning(
                "the learning rate that a parameter group brings is not used: Muon steps none of its tensors, and "
                "muon_adam_lr sets the rate of the Adam that does"
            )
        rest = group.where([not is_chosen for is_chosen in for_muon], **{FLAG: False}, **rate)
        parts.append(_named(rest, "Adam", with_names=with_names))
    _refuse_vectors(settings, [part for part in parts if part.own[FLAG]])
    # The back ends need the rate in each group, whatever rate their constructor gets.
    return [{"lr": settings.lr * scale, **part.as_torch()} for part in parts if part.params]


def _chooser(settings: Settings, groups: list[Group]) -> Callable[[str, torch.Tensor], bool]:
    options = settings.options
    if not options["MuonWithAuxAdam"]:
        return lambda _, __: True
    text, expressions = options["muon_hidden_layers"], options["muon_adam_regex"] is True
    names = [name for group in groups if FLAG not in group.own for name in group.names]
    if text is None:
        if names and not any(names):
            _log.warning("the tensors have no names: Muon takes every matrix, embeddings and outer layers too")
        return lambda name, p: hidden_by_itself(name, p.shape)
    absent = [
        piece
        for piece in pieces(text)
        if not any(named_hidden(name, piece, expressions=expressions) for name in names if name)
    ]
    if absent or not pieces(text):
        raise _unmatched(text, absent, named=any(names))
    return lambda name, p: p.ndim >= 2 and named_hidden(name, text, expressions=expressions)


def _unmatched(text: object, absent: list[str], *, named: bool) -> SettingsError:
    problem = "the tensors have no names, so no hidden layer can be found"
    advice = "Give (name, parameter) pairs, as model.named_parameters() does, or leave it empty."
    if named:
        names = " or ".join(map(repr, absent))
        problem = f"no weight has {names} in its name" if names else "it contains no name"
        advice = "Look at the names in model.named_parameters(), or leave it empty."
    return SettingsError((Fault("muon_hidden_layers", text, problem, "", advice, {"muon_hidden_layers": None}),))


def _refuse_vectors(settings: Settings, parts: list[Group]) -> None:
    vectors = [
        f"{name or 'one'} of shape {tuple(p.shape)}"
        for part in parts
        for name, p in zip(part.names, part.params, strict=True)
        if p.ndim < 2
    ]
    if not vectors:
        return
    few = ", ".join(vectors[:3]) + (f" and {len(vectors) - 3} more" if len(vectors) > 3 else "")
    off = settings.options["MuonWithAuxAdam"] is False
    raise SettingsError(
        (
            Fault(
                "MuonWithAuxAdam",
                settings.options["MuonWithAuxAdam"],
                f"Muon can step only matrices, and these tensors are not matrices: {few}",
                "",
                "Turn it on, so that Adam takes them, or train matrices only."
                if off
                else "Take use_muon out of their groups.",
                {"MuonWithAuxAdam": True} if off else {},
            ),
        )
    )


def _adam_lr(settings: Settings, group: Group) -> float | None:
    """Find the rate of the auxiliary Adam for a group; None if the group uses its own or the general one."""
    part = str(group.own.get("name", "")).lower()
    rates = [settings.options[option] for option, names in TEXT_ENCODERS.items() if part in names]
    rate = next((rate for rate in (*rates, settings.options["muon_adam_lr"]) if rate is not None), None)
    return float(rate) if isinstance(rate, int | float) else None


def _named(part: Group, stepped_by: str, *, with_names: bool) -> Group:
    """Return the part with the name that curves and tables show, and with the names of its parameters as torch keeps them."""
    name = " ".join(text for text in (str(part.own.get("name", "")), stepped_by) if text)
    own = {key: value for key, value in part.own.items() if key != "param_names"}
    names = {"param_names": list(part.names)} if with_names else {}
    return Group(part.params, part.names, {**own, "name": name, **names})
