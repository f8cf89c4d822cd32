"""What packages and other trainers call an optimizer, an option or a schedule is taken, or answered with what to write."""

from __future__ import annotations

import json

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.catalogue.schema import split_argument
from diffopt_widgets.settings import SettingsError
from diffopt_widgets.settings.own_names import option_places
from diffopt_widgets.widgets.form.exchange import pasted_note, read_settings


def told(*args, **options):
    with pytest.raises(SettingsError) as caught:
        dw.Settings(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize("key", dw.list_optimizers())
def test_every_optimizer_is_found_by_its_class_and_its_key_in_any_spelling(key):
    module, _, name = dw.spec(key).target.partition(":")
    for text in (
        key.lower(),
        key.replace("_", "-"),
        key.replace("_", ""),
        name,
        f"{module}.{name}",
        f"{module}:{name}",
    ):
        assert dw.Settings(text) == dw.Settings(key), text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PagedAdamW8bit", dw.Settings("ADAMW_8BIT", is_paged=True)),
        ("paged_lion_8bit", dw.Settings("LION_8BIT", is_paged=True)),
        ("bitsandbytes.optim.PagedAdEMAMix8bit", dw.Settings("AdEMAMix_8BIT", is_paged=True)),
        ("SGDNesterov", dw.Settings("SGD", nesterov=True, momentum=0.9)),
        ("adamw_bnb_8bit", dw.Settings("ADAMW_8BIT")),
        ("adamw_torch_fused", dw.Settings("ADAMW", fused=True)),
        ("torch.optim.adamw.AdamW", dw.Settings("ADAMW")),
        ("torch.optim.RAdam", dw.Settings("torch.optim:RAdam")),
    ],
)
def test_names_of_other_trainers_mean_what_they_mean_there(name, meant):
    assert dw.Settings(name) == meant
    assert dw.Settings("ADAM").replace(name) == meant


def test_an_option_that_is_given_wins_over_the_name():
    assert dw.Settings("SGDNesterov", momentum=0.5).options["momentum"] == 0.5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DAdaptation", "write one of DADAPT_ADAM, DADAPT_ADAN, DADAPT_ADA_GRAD"),
        ("PagedAdamW32bit", "is_paged"),
        ("RAdam", "torch.optim:RAdam"),
        ("prodigy_plus", "PRODIGY_PLUS_SCHEDULE_FREE"),
        ("lion8", "LION_8BIT"),
        ("8bit_adam", "ADAM_8BIT or ADAMW_8BIT"),
        ("DAdaptAdanIP", "DADAPT_ADAN"),
    ],
)
def test_a_name_of_several_or_none_is_answered(name, words):
    assert words in told(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("radm", "Did you mean torch.optim:RAdam?"),
        ("Adadlta", "Did you mean torch.optim:Adadelta?"),
        ("torch.optim:nadam", "Did you mean torch.optim:NAdam?"),
        ("torch.optim.RADAM", "Did you mean torch.optim:RAdam?"),
        ("torch:NAdam", "Did you mean torch.optim:NAdam?"),
        ("AdamW32bit", "Did you mean ADAMW?"),
        ("lion_32bit", "Did you mean LION?"),
        ("adamw_anyprecision", "Did you mean ADAMW?"),
        ("galore_adamw_8bit", "it is not available here"),
        ("lomo", "it is not available here"),
    ],
)
def test_a_name_that_is_near_is_answered_with_the_one_that_was_meant(name, words):
    assert words in told(name)


def test_every_class_of_torch_is_taken_or_named_however_its_capitals_are():
    import torch

    classes = [name for name, cls in vars(torch.optim).items() if isinstance(cls, type)]
    assert len(classes) > 12
    for name in {*classes} - {"Optimizer"}:
        for text in (name, name.lower(), name.upper(), f"torch.optim.{name.lower()}"):
            try:
                taken = dw.Settings(text)
            except SettingsError as error:
                assert f"Did you mean torch.optim:{name}?" in str(error), text  # noqa: PT017  # or the other branch
            else:
                assert taken.spec.target.rpartition(":")[2].lower() == name.lower()
    assert "torch.optim:Optimizer" not in told("Optimizer")


def test_a_pasted_name_of_several_classes_says_which_one_it_was_taken_as():
    form = dw.Form("ADAMW")
    form.paste("RMSprop(params, lr=1e-3)")
    assert form.settings == dw.Settings("RMSPROP", lr=1e-3)
    assert form.notice == (
        "RMSprop is taken as RMSPROP, the class of bitsandbytes; torch.optim:RMSprop is torch's class."
    )
    for text in (dw.Settings("RMSPROP").to_json(), "AdamW(params)", "bnb.optim.RMSprop(params)"):
        assert pasted_note(text) == ""
    assert "transformers.optimization:Adafactor" in pasted_note('{"optimizer": "adafactor"}')


def test_a_class_is_taken_and_an_object_is_not():
    import torch

    assert dw.Settings(torch.optim.AdamW) == dw.Settings("ADAMW")
    assert "and this is an AdamW" in told(torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))]))


def tuples():
    for key in dw.list_optimizers():
        entry = dw.spec(key)
        indexed = {split_argument(use.argument)[0] for use in entry.uses if use.argument and "[" in use.argument}
        yield from ((key, name) for name in sorted(indexed))


@pytest.mark.parametrize(("key", "name"), list(tuples()))
def test_every_tuple_of_a_constructor_is_taken_as_its_options(key, name):
    """The values of the tuple arrive where the constructor has them."""
    entry = dw.spec(key)
    shown = [place for place in option_places(entry, name) if place]
    values = [0.75 + i / 16 for i in range(len(shown))]
    settings = dw.Settings(key, **{name: tuple(values)})
    assert [settings.options[place] for place in shown] == values
    assert list(entry.arguments(1.0, settings.options)[name][: len(values)]) == values
    assert dw.Settings(key).replace(**{name: values}) == settings


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("ADAFACTOR", {"eps": (1e-28, 1e-2)}, {"eps": 1e-28, "eps2": 1e-2}),
        ("ADABELIEF", {"weight_decouple": False}, {"decoupled_decay": False}),
        ("TIGER", {"beta": 0.9}, {"beta1": 0.9}),
        ("PRODIGY", {"d-coef": 0.5}, {"d_coef": 0.5}),
        ("ADAMW", {"betas": "(0.9, 0.99)"}, {"beta1": 0.9, "beta2": 0.99}),
        ("ADAMW", {"betas": "0.9,0.99"}, {"beta1": 0.9, "beta2": 0.99}),
        ("ADAMW", {"adam_epsilon": 1e-6}, {"eps": 1e-6}),
        ("PRODIGY", {"prodigy_decouple": False}, {"decouple": False}),
        ("PRODIGY", {"learning_rate": 0.5}, {"lr": 0.5}),
        ("PRODIGY", {"lr_scheduler": "cosine", "lr_warmup_steps": 20}, {"schedule": "COSINE", "warmup": 20}),
        (
            "PRODIGY",
            {"learning_rate_scheduler": "REX", "learning_rate_min_factor": 0.1},
            {"schedule": "REX", "min_factor": 0.1},
        ),
    ],
)
def test_names_of_packages_and_trainers_are_taken(key, given, meant):
    assert dw.Settings(key, **given) == dw.Settings(key, **meant)
    assert dw.Settings(key).replace(**given) == dw.Settings(key, **meant)


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("PRODIGY", {"betas": (0.9, 0.99, 0.999)}, "beta1 and beta2"),
        ("PRODIGY", {"betas": 0.9}, "beta1 and beta2"),
        ("PRODIGY", {"betas": (0.9, 2)}, "beta2 = 2: must be"),
        ("PRODIGY", {"betas": (0.9, 0.99), "beta1": 0.8}, "beta1 is also given as betas"),
        ("ADAM", {"momentum": 0.9}, "Did you mean beta1?"),
        ("TIGER", {"betas": (0.9, 0.99)}, "Did you mean beta1?"),
        ("PRODIGY", {"weight_decouple": True}, "Did you mean decouple?"),
        ("SCHEDULE_FREE_ADAMW", {"warmup_steps": 10}, "schedulefree has it, and it is not shown here"),
        ("PRODIGY", {"d_coef": "0.5"}, "write it without quotes"),
        ("ADAFACTOR", {"momentum_dtype": "x"}, "not shown here: the package keeps momentum in bfloat16"),
        ("ADAFACTOR", {"betas": (0.9, 0.999)}, "beta1"),
        ("ADAMW", {"lr_warmup_steps": 1}, "fraction of the run"),
        ("ADAMW", {"warmup_ratio": 2}, "whole run"),
        ("ADAMW", {"eps": (1e-8, 1e-3)}, "not a number"),
    ],
)
def test_what_cannot_be_taken_names_the_options(key, given, words):
    assert words in told(key, **given)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("cosine", "COSINE"), ("Linear", "LINEAR"), ("constant_with_warmup", "CONSTANT"), ("rex", "REX")],
)
def test_a_schedule_of_another_trainer_is_taken(name, meant):
    assert dw.Settings("ADAMW", schedule=name).schedule == meant


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cosine_with_restarts", "COSINE_WITH_HARD_RESTARTS or COSINE_WITH_RESTARTS"),
        ("cosine_with_min_lr", "min_factor"),
        ("polynomial", "LINEAR"),
    ],
)
def test_a_schedule_of_two_readings_is_asked_about(name, words):
    assert words in told("ADAMW", schedule=name)


def test_pasted_code_and_json_take_the_same_names():
    meant = dw.Settings("PRODIGY", beta1=0.9, beta2=0.99, schedule="COSINE")
    for text in (
        "dw.Settings('prodigyopt.Prodigy', betas=(0.9, 0.99), schedule='cosine')",
        "optimizer = Prodigy(params, betas=[0.9, 0.99], lr_scheduler='cosine')",
        "prodigyopt.Prodigy(model.parameters(), lr=1., betas=(0.9, 0.99), schedule='cosine')",
        json.dumps({"optimizer": "Prodigy", "betas": [0.9, 0.99], "schedule": "cosine"}),
    ):
        assert read_settings(text) == meant, text


def test_the_command_line_takes_them_and_says_so():
    from diffopt_widgets.cli.arguments import names_taken, read_plan

    plan, over = read_plan("prodigy", {"schedule": "cosine"}, ["betas=0.9,0.99", "d-coef=0.5,1"])
    assert plan.settings == dw.Settings("PRODIGY", schedule="COSINE", beta1=0.9, beta2=0.99, d_coef=0.5)
    assert over == {"d_coef": [0.5, 1.0]}
    assert names_taken(plan.settings, ["betas=0.9,0.99"]) == ["betas is taken as beta1 and beta2"]
    plan, over = read_plan("ADAFACTOR", {}, ["eps=(1e-28,1e-2)"])
    assert (plan.settings.options["eps"], plan.settings.options["eps2"], over) == (1e-28, 1e-2, {})
    with pytest.raises(SettingsError, match="beta1 and beta2"):
        read_plan("PRODIGY", {}, ["betas=0.9"])


@pytest.mark.parametrize("text", ["(0.9, abc)", {0.9, 0.99}, "0.9,x"])
@pytest.mark.parametrize("key", ["ADAFACTOR", "ADAMW"])
def test_several_values_that_cannot_be_read_are_faults(key, text):
    with pytest.raises(dw.SettingsError, match=r"betas = "):
        dw.Settings(key, betas=text)


def test_arrays_and_whole_numbers_of_numpy_are_read_like_pythons():
    assert dw.Settings("ADAMW", betas=np.array([0.8, 0.99])).options["beta1"] == 0.8
    with pytest.raises(dw.SettingsError, match="one step cannot be said"):
        dw.Settings("ADAMW", num_warmup_steps=np.int64(1))


def test_adams_epsilon_is_not_taken_for_adafactors():
    assert dw.Settings("ADAMW", adam_epsilon=1e-6).options["eps"] == 1e-6
    with pytest.raises(dw.SettingsError, match="has no such option"):
        dw.Settings("ADAFACTOR", adam_epsilon=1e-8)


def test_the_second_argument_of_a_pasted_constructor_is_its_rate():
    assert read_settings("torch.optim.AdamW(model.parameters(), 3e-4, weight_decay=0.1)").lr == 3e-4
    assert read_settings("Prodigy(params=model.parameters(), lr=0.5)").lr == 0.5
    with pytest.raises(SettingsError, match=r"\(0\.9, 0\.99\)"):
        read_settings("AdamW(parameters, 1e-3, (0.9, 0.99))")
