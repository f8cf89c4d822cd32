"""Optimizers without a parity test of their own: what Settings build, against the back end called by its arguments' names.

The arguments are found by their names alone, not by what the catalogue says of them, with every option off its default.
"""

import inspect
from itertools import islice
from pathlib import Path

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.optimizers.factory import build_optimizer, load_class
from diffopt_widgets.probe.model import walk
from diffopt_widgets.probe.values import changed_value

OTHERS = "".join(
    path.read_text("utf-8")
    for path in Path(__file__).parent.glob("test_*.py")
    if path.name not in {Path(__file__).name, "test_code.py"}
)
KEYS = [key for key in dw.list_optimizers() if f'"{key}"' not in OTHERS]
STEPS = 12
ALIASES = {
    "decoupled_decay": ("weight_decouple", "decoupled_weight_decay"),
    "no_prox": ("no_prox", "weight_decouple"),
    "bias_correction": ("bias_correction", "correct_bias"),
}
"""What packages call an option that has another name here."""


def options_of(key):
    """Every option that is passed on and can be changed here, off its default."""
    entry = dw.spec(key)
    passed_on = (u for u in entry.uses if u.argument and u.standing is not Standing.UNAVAILABLE and not u.requires)
    return {use.name: changed_value(entry, use) for use in passed_on}


def by_name(key, values):
    """The constructor's arguments for values by the names of the options."""
    arguments = {}
    signature = inspect.signature(load_class(dw.spec(key))).parameters
    for name, value in values.items():
        if name in {"beta1", "beta2", "beta3"} and "betas" in signature:
            betas = list(arguments.get("betas", signature["betas"].default))
            betas[int(name[-1]) - 1] = value
            arguments["betas"] = tuple(betas)
        else:
            known = [argument for argument in ALIASES.get(name, (name,)) if argument in signature]
            assert known, f"{key} has no argument {name!r}: say in ALIASES what its package calls it"
            arguments[known[0]] = value
    return arguments


def path(build):
    return torch.stack(list(islice(walk(lambda groups: (build(groups), None)), STEPS)))


@pytest.mark.parametrize("key", KEYS)
def test_our_settings_and_the_back_end_by_name_walk_the_same_path(key):
    values = options_of(key)
    settings = dw.Settings(key, lr=3e-3, **values)
    ours = path(lambda groups: build_optimizer(settings, groups))
    cls = load_class(dw.spec(key))

    def by_hand(groups):
        return cls([{"params": group["params"]} for group in groups], lr=3e-3, **by_name(key, values))

    assert torch.equal(ours, path(by_hand))
    assert torch.isfinite(ours).all()
    assert not torch.equal(ours[0], ours[-1])
    assert not torch.equal(ours, path(lambda groups: build_optimizer(dw.Settings(key, lr=3e-3), groups)))
