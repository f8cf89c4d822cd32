"""From settings to the real optimizer: what is built, and what is said where it cannot be."""

import importlib

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.optimizers.factory import load_class
from diffopt_widgets.settings import SettingsError


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
    if use.requires and not use.idle and use.requires != "compiler"  # there is one here; see test_parity_adv
]
IDLE = [(key, use.name) for key in list_optimizers() for use in spec(key).uses if use.idle]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that must not be there")
@pytest.mark.parametrize(("key", "name", "need"), NEEDS)
def test_an_option_whose_device_or_process_group_is_missing_is_refused(key, name, need):
    words = {"cuda": "NVIDIA GPU", "distributed": "process group"}[need]
    with pytest.raises(dw.MissingBackend, match=f"{name} needs .*{words}.*To fix it") as caught:
        dw.build_optimizer(dw.Settings(key, **{name: not spec(key).use(name).default}), [weight()])
    assert caught.value.fix == {name: spec(key).use(name).default}


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that must not be there")
@pytest.mark.parametrize(("key", "name"), IDLE)
def test_an_option_that_does_nothing_here_is_told_and_the_rest_runs(key, name, caplog):
    beside = {"stochastic_rounding": False} if "stochastic_rounding" in dw.Settings(key).options else {}
    settings = dw.Settings(key, **{**beside, name: True})
    rules = settings.warnings({"device": "cpu", "dtype": "float32", "compiler": True})
    rule = next(rule for rule in rules if rule.options[0] == name)
    assert rule.severity == "warning"
    assert "does nothing" in rule.message or "do nothing" in rule.message
    paths = [walked(dw.build_optimizer(s, [weight()]), 2) for s in (settings, settings.replace(**{name: False}))]
    assert torch.equal(*paths)
    assert f"{name} does nothing" in caplog.text


def test_parameter_groups_keep_what_they_bring():
    a, b = weight(), weight()
    optimizer = dw.build_optimizer(dw.Settings("ADAMW", lr=0.1), [{"params": [a]}, {"params": [b], "lr": 0.2}])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def two_rates(first, second):
    """A matrix and a vector in groups of their own, each with a learning rate."""
    matrix, vector = weight(), torch.nn.Parameter(torch.linspace(-1, 1, 64))
    return [{"params": [matrix], "lr": first}, {"params": [vector], "lr": second}]


def walked(optimizer, steps=12):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(steps):
        for p in params:
            p.grad = p.detach() + 0.1 * (step % 3)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params])


ESTIMATING = [key for key in list_optimizers() if spec(key).estimates_rate]


@pytest.mark.parametrize("key", ESTIMATING)
def test_rates_by_group_are_what_the_back_end_makes_of_them(key):
    """What the catalogue says of an optimizer's rates is seen in the back end, built by hand."""
    entry = spec(key)
    arguments = entry.arguments(1.0, dw.Settings(key).options)

    def by_hand(first, second):
        return walked(load_class(entry)(two_rates(first, second), **arguments))

    if entry.rates == "one":
        with pytest.raises(RuntimeError, match="different lr values"):
            by_hand(1.0, 0.5)
    else:
        assert torch.equal(by_hand(1.0, 1.0), by_hand(1.0, 0.5)) == (entry.rates == "first")


@pytest.mark.parametrize("key", ESTIMATING)
def test_rates_that_would_raise_or_be_ignored_are_refused_before_the_first_step(key):
    if spec(key).rates == "each":
        dw.build_optimizer(dw.Settings(key), two_rates(1.0, 0.5))
        return
    with pytest.raises(SettingsError, match=r"one learning rate.* 1 and 0\.5.*PRODIGY_ADV") as caught:
        dw.build_optimizer(dw.Settings(key), two_rates(1.0, 0.5))
    assert [fault.option for fault in caught.value.faults] == ["lr"]
    dw.build_optimizer(dw.Settings(key), two_rates(0.5, 0.5))
    with pytest.raises(SettingsError):
        dw.build_optimizer(
            dw.Settings(key), [two_rates(1.0, 0.5)[1], {"params": [weight()]}]
        )  # 0.5, and that of Settings
    if spec(key).rates == "one":
        dw.build_optimizer(dw.Settings(key), two_rates(1.0, 0.0))  # a group that stands still is taken


def test_a_missing_package_is_named_with_its_fix(monkeypatch):
    from diffopt_widgets.optimizers import factory

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(factory.importlib, "import_module", missing)
    with pytest.raises(dw.MissingBackend, match=r'DADAPT_SGD needs dadaptation.*pip install --upgrade "dadaptation>='):
        dw.build_optimizer(dw.Settings("DADAPT_SGD"), [weight()])


def test_what_a_back_end_prints_stays_out_of_the_cell(capsys):
    dw.build_optimizer(dw.Settings("PRODIGY", decouple=True, weight_decay=0.01), [weight()])
    assert capsys.readouterr().out == ""


def test_a_schedule_goes_on_with_a_group_that_is_added_and_without_one_that_is_taken_away():
    """Each by the schedule's share of its own rate; torch's own schedule raises."""
    settings = dw.Settings("ADAMW", lr=0.1, schedule="LINEAR")
    optimizer = dw.build_optimizer(settings, [weight()])
    schedule = dw.build_schedule(settings, optimizer, 10)

    def rates(steps):
        for _ in range(steps):
            optimizer.step()
            schedule.step()
        return [group["lr"] for group in optimizer.param_groups]

    assert rates(2) == [pytest.approx(0.08)]
    optimizer.add_param_group({"params": [weight()], "lr": 0.5})
    optimizer.add_param_group({"params": [weight()], "lr": torch.tensor(0.25)})
    assert [float(rate) for rate in rates(3)] == pytest.approx([0.05, 0.25, 0.125])
    assert [float(rate) for rate in schedule.get_last_lr()] == pytest.approx([0.05, 0.25, 0.125])
    optimizer.param_groups.pop(0)
    assert [float(rate) for rate in rates(1)] == pytest.approx([0.2, 0.1])


def test_a_schedule_is_restored_after_groups_have_changed():
    settings = dw.Settings("ADAMW", lr=0.1, schedule="LINEAR")
    states, optimizers = [], []
    for _ in range(2):
        optimizer = dw.build_optimizer(settings, [weight()])
        schedule = dw.build_schedule(settings, optimizer, 10)
        optimizer.add_param_group({"params": [weight()], "lr": 0.5})
        if states:
            optimizer.load_state_dict(states[0])
            schedule.load_state_dict(states[1])
        else:
            optimizer.step()
            schedule.step()
            states = [optimizer.state_dict(), schedule.state_dict()]
        optimizer.step()
        schedule.step()
        optimizers.append(optimizer)
    found = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    assert found == [pytest.approx([0.08, 0.4])] * 2


@pytest.mark.parametrize("key", ["PRODIGY_ADV", "PRODIGY_PLUS_SCHEDULE_FREE"])
def test_a_back_end_that_needs_parameters_in_each_group_is_told_of_an_empty_one_in_words(key):
    with pytest.raises(SettingsError, match="a parameter group has no parameters"):
        dw.build_optimizer(dw.Settings(key), [{"params": []}, {"params": [weight()]}])
