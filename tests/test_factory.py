"""From settings to the real optimizer: what is built, and what is said where it cannot be."""

import importlib

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec


def weight():
    return torch.nn.Parameter(torch.linspace(-1, 1, 64 * 64).reshape(64, 64))


@pytest.mark.parametrize("key", list_optimizers())
def test_the_class_that_is_built_is_the_one_that_the_catalogue_names(key):
    module, _, name = spec(key).target.partition(":")
    optimizer = dw.build_optimizer(dw.Settings(key), [weight()])
    assert type(optimizer) is getattr(importlib.import_module(module), name)


NEEDS = [
    (key, use.name, use.requires)
    for key in list_optimizers()
    for use in spec(key).uses
    if use.requires and use.requires != "compiler"  # there is one here; see test_parity_adv
]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that must not be there")
@pytest.mark.parametrize(("key", "name", "need"), NEEDS)
def test_an_option_whose_device_or_process_group_is_missing_is_refused(key, name, need):
    words = {"cuda": "NVIDIA GPU", "distributed": "process group", "bfloat16": "bfloat16"}[need]
    with pytest.raises(dw.MissingBackend, match=f"{name} needs .*{words}.*To mend it") as caught:
        dw.build_optimizer(dw.Settings(key, **{name: not spec(key).use(name).default}), [weight()])
    assert caught.value.mend == {name: spec(key).use(name).default}


def test_parameter_groups_keep_what_they_bring():
    a, b = weight(), weight()
    optimizer = dw.build_optimizer(dw.Settings("ADAMW", lr=0.1), [{"params": [a]}, {"params": [b], "lr": 0.2}])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def test_a_missing_package_is_named_with_its_mend(monkeypatch):
    from diffopt_widgets.training import factory

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(factory.importlib, "import_module", missing)
    with pytest.raises(dw.MissingBackend, match=r'DADAPT_SGD needs dadaptation.*pip install --upgrade "dadaptation>='):
        dw.build_optimizer(dw.Settings("DADAPT_SGD"), [weight()])


def test_what_a_back_end_prints_stays_out_of_the_cell(capsys):
    dw.build_optimizer(dw.Settings("PRODIGY", decouple=True, weight_decay=0.01), [weight()])
    assert capsys.readouterr().out == ""
