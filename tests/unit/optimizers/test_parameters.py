"""Parameters as people pass them: a model, nothing, the same tensor twice, groups with options of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.settings import SettingsError


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))


def used_up():
    given = model().parameters()
    list(given)
    return given


def told(params, key="ADAMW", **options):
    with pytest.raises(SettingsError) as caught:
        dw.build_optimizer(dw.Settings(key, **options), params)
    return str(caught.value)


WEIGHT = torch.nn.Parameter(torch.ones(2, 2))
WRONG = {
    "nothing": ([], "there are no parameters"),
    "empty group": ([{"params": []}], "there are no parameters"),
    "used up": (used_up(), "used up before"),
    "empty model": (torch.nn.Tanh(), "a Tanh, has no parameters"),
    "tensor": (WEIGHT, "Write [tensor]"),
    "group": ({"params": [WEIGHT]}, "Write [group]"),
    "dict": (model().state_dict(), "is a dict"),
    "text": ("model.parameters()", "of type str"),
    "number": (3, "of type int"),
    "none": (None, "of type NoneType"),
    "class": (torch.nn.Linear, "of type type"),
    "uncalled": (model().parameters, "Call it: model.parameters()"),
    "optimizer": (torch.optim.SGD([WEIGHT]), "is an optimizer"),
    "set": ({WEIGHT}, "no order"),
    "set in a group": ([{"params": {WEIGHT}}], "no order"),
    "texts": (["a", "b"], "number 0 of params is of type str"),
    "arrays": ([np.ones(3)], "of type ndarray"),
    "models": ([model()], "a Sequential, and a tensor is wanted"),
    "mixed": ([WEIGHT, {"params": [WEIGHT]}], "number 1 of params is a group"),
    "mixed otherwise": ([{"params": [WEIGHT]}, WEIGHT], "number 1 is of type Parameter"),
    "no params": ([{"lr": 1e-3}], "group 0 has no params, only lr"),
    "triple": ([("a", WEIGHT, 1)], "tuple of 3"),
    "computed": ([WEIGHT * 2], "computed from other tensors"),
    "twice": ([WEIGHT, WEIGHT], "twice, as number 0 and as number 1"),
    "twice by name": ([("a", WEIGHT), ("b", WEIGHT)], "twice, as 'a' and as 'b'"),
    "twice in groups": ([{"params": [WEIGHT]}, {"params": [WEIGHT]}], "number 0 of group 0 and as number 0 of group 1"),
}


@pytest.mark.parametrize("key", ["ADAMW", "MUON", "PRODIGY", "torch.optim:RAdam"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_parameters_is_told_with_what_to_write(case, key):
    params, words = WRONG[case]
    if case == "used up":
        params = used_up()
    text = told(params, key)
    assert text.startswith("params: ")
    assert words in text
    assert "Write" in text or "Give" in text or "Call" in text


@pytest.mark.parametrize("key", ["ADAMW", "MUON"])
def test_a_model_stands_for_its_parameters(key):
    one, two = model(), model()
    built = dw.build_optimizer(key, one), dw.build_optimizer(dw.Settings(key), two.named_parameters())
    shapes = [[[p.shape for p in group["params"]] for group in optimizer.param_groups] for optimizer in built]
    assert shapes[0] == shapes[1]
    whole = dw.build_optimizer("ADAMW", [{"params": one, "lr": 0.5}])
    assert (len(whole.param_groups[0]["params"]), whole.param_groups[0]["lr"]) == (4, 0.5)


def test_a_group_may_bring_options_by_their_names_here():
    pair = list(model().parameters())
    groups = [{"params": pair[:2], "beta2": 0.5, "weight_decay": 0.25}, {"params": pair[2:], "betas": (0.1, 0.2)}]
    first, second = dw.build_optimizer(dw.Settings("ADAMW", beta1=0.75), groups).param_groups
    assert (first["betas"], first["weight_decay"]) == ((0.75, 0.5), 0.25)
    assert second["betas"] == (0.1, 0.2)
    assert "beta2" not in first
    (kept,) = dw.build_optimizer("ADAMW", [{"params": pair, "comment": "mine"}]).param_groups
    assert kept["comment"] == "mine"


@pytest.mark.parametrize(
    ("key", "own", "words"),
    [
        ("ADAMW", {"d_coef": 0.5}, "ADAMW has no such option, and would ignore it in parameter group 0"),
        ("ADAMW", {"beta2": 1.5}, "beta2 in parameter group 0 = 1.5: must be"),
        ("ADAMW", {"fused_back_pass": True}, "it holds for the whole optimizer"),
        ("ADAMW", {"lr": "1e-3"}, "in parameter group 0 it is not a number"),
        ("ADAMW", {"betas": 0.9}, "beta1 and beta2"),
        ("ADAMW_8BIT", {"min_8bit_size": 16}, "reads it once for all parameter groups"),
        ("MUON", {"betas": (0.9, 0.99)}, "MUON has no such option"),
    ],
)
def test_an_option_that_a_group_cannot_have_is_refused(key, own, words):
    assert words in told([{"params": list(model().parameters()), **own}], key)


def test_the_arguments_beside_are_checked():
    for name in ("batch_size", "accumulation"):
        for value in (0, -4, 1.5, "2", None, True):
            with pytest.raises(SettingsError, match=f"{name}.*: must be a whole number, at least 1"):
                dw.build_optimizer(dw.Settings("ADAMW", lr_scaler="BOTH"), [WEIGHT], **{name: value})
    optimizer = dw.build_optimizer("ADAMW", [WEIGHT])
    for steps in (0, -1, "10", None):
        with pytest.raises(SettingsError, match="steps"):
            dw.build_schedule("ADAMW", optimizer, steps)
    with pytest.raises(SettingsError, match=r"optimizer: an optimizer is wanted, and this is a list"):
        dw.build_schedule("ADAMW", [WEIGHT], 10)


def test_a_rate_of_a_group_that_muon_does_not_use_is_told(caplog):
    vector, matrix = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(4, 4))
    dw.build_optimizer("MUON", [{"params": [("a.weight", matrix)], "lr": 0.5}])
    assert "is not used" not in caplog.text
    dw.build_optimizer("MUON", [{"params": [("a.weight", matrix)]}, {"params": [("a.bias", vector)], "lr": 0.5}])
    assert "the learning rate that a parameter group brings is not used" in caplog.text
