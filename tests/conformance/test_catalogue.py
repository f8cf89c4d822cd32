"""The catalogue as text and data: help that teaches, legal advice and presets, rules that name real options."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import metadata

import pytest
from collecting import Faults

from diffopt_widgets import catalogue
from diffopt_widgets.catalogue import families, list_optimizers, options, shared, spec
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import TRAINING_DEFAULTS, TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import Standing, split_argument
from diffopt_widgets.settings import Settings, SettingsError, default_values, preset
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.panel import panel

KEYS = list_optimizers()
OPTIONS = [getattr(options, name) for name in options.__all__]
STANDARD = ("ADAGRAD", "ADAM", "ADAMW", "LAMB", "LARS", "LION", "RMSPROP", "SGD")

"""What adv_optm adds to them."""
WIKI_OPTIONS = {
    "adam_w_mode",
    "alpha",
    "amsgrad",
    "beta1",
    "beta2",
    "beta3",
    "bias_correction",
    "block_wise",
    "capturable",
    "centered",
    "clip_threshold",
    "d0",
    "d_coef",
    "dampening",
    "decay_rate",
    "decouple",
    "differentiable",
    "eps",
    "eps2",
    "foreach",
    "fsdp_in_use",
    "fused",
    "growth_rate",
    "initial_accumulator_value",
    "is_paged",
    "log_every",
    "lr_decay",
    "max_unorm",
    "maximize",
    "min_8bit_size",
    "momentum",
    "nesterov",
    "no_prox",
    "optim_bits",
    "percentile_clipping",
    "relative_step",
    "safeguard_warmup",
    "scale_parameter",
    "stochastic_rounding",
    "fused_back_pass",
    "use_bias_correction",
    "use_triton",
    "warmup_init",
    "weight_decay",
    "slice_p",
}

AUXILIARY = ("MUON", "MUON_ADV", "ADAMUON_ADV")
"""Optimizers with an Adam of their own, whose options OneTrainer keeps in muon_adam_config."""
SCHEDULE_FREE = {"SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", "PRODIGY_PLUS_SCHEDULE_FREE"}

MUON_OPTIONS = {
    "MuonWithAuxAdam": True,
    "muon_hidden_layers": None,
    "muon_adam_regex": False,
    "muon_te1_adam_lr": None,
    "muon_te2_adam_lr": None,
}
"""OneTrainer's options about who steps what in Muon's family. Its muon_adam_config is empty: the auxiliary Adam's defaults."""

BITS = {"optim_bits": 32, "min_8bit_size": 4096, "percentile_clipping": 100, "block_wise": True}
SMALL = {"min_8bit_size": 4096, "percentile_clipping": 100, "block_wise": True}
TORCH = {
    "foreach": False,
    "maximize": False,
    "capturable": False,
    "differentiable": False,
    "fused": True,
    "stochastic_rounding": False,
    "fused_back_pass": False,
}
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
SGD = {"momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False}
LAMB = {**ADAM, "bias_correction": True, "adam_w_mode": True, **SMALL, "block_wise": False, "max_unorm": 1.0}
LARS = {**SGD, "min_8bit_size": 4096, "percentile_clipping": 100, "max_unorm": 0.02}
RMSPROP = {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0, "centered": False, **SMALL}
ADAGRAD = {"lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0, "eps": 1e-10, **BITS}
AVERAGE = {"r": 0.0, "weight_lr_power": 2.0, "foreach": False}
BNB_ADEMAMIX = {
    "beta1": 0.9,
    "beta2": 0.999,
    "beta3": 0.9999,
    "eps": 1e-8,
    "alpha": 5,
    "weight_decay": 0.01,
    "min_8bit_size": 4096,
    "is_paged": False,
}
CAME = {
    "beta1": 0.9,
    "beta2": 0.999,
    "beta3": 0.9999,
    "eps": 1e-30,
    "eps2": 1e-16,
    "weight_decay": 0.01,
    "stochastic_rounding": False,
    "fused_back_pass": False,
}
INF = float("inf")
ADV = {
    "cautious_wd": False,
    "weight_decay": 0.0,
    "nnmf_factor": False,
    "stochastic_rounding": True,
    "compile": False,
    "fused_back_pass": False,
    "orthogonal_gradient": False,
}
ADEMAMIX = {"use_AdEMAMix": False, "beta3_ema": 0.9999, "alpha": 5}
ADV_ADAM = {**ADV, "use_atan2": False, **ADEMAMIX, "kourkoutas_beta": False}
SIMPLIFIED = {"Simplified_AdEMAMix": False, "alpha_grad": 100.0}
MUON_ADV = {
    **ADV,
    **SIMPLIFIED,
    **MUON_OPTIONS,
    "muon_adam_lr": 1e-6,
    "accelerated_ns": False,
    "ns_steps": 5,
    "low_rank_ortho": False,
    "ortho_rank": 128,
    "rms_rescaling": True,
    "normuon_variant": True,
    "approx_mars": False,
    "adam_beta1": 0.9,
    "adam_beta2": 0.99,
    "adam_eps": 1e-8,
    "adam_weight_decay": 0.0,
    "adam_use_bias_correction": True,
    "adam_use_atan2": False,
    "adam_cautious_mask": False,
    "adam_grams_moment": False,
    "adam_orthogonal_gradient": False,
    "adam_use_AdEMAMix": False,
    "adam_beta3_ema": 0.9999,
    "adam_alpha": 5.0,
    "adam_kourkoutas_beta": False,
    "adam_nnmf_factor": False,
}
ONETRAINER = {
    "ADAMW_ADV": {**ADV_ADAM, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8},
    "ADOPT_ADV": {**ADV_ADAM, **SIMPLIFIED, "beta1": 0.9, "beta2": 0.9999, "eps": 1e-6, "use_atan2": True},
    "LION_ADV": {**ADV, "beta1": 0.9, "beta2": 0.99, "clip_threshold": None, "auto_kappa_p": True},
    "PRODIGY_ADV": {
        **ADV_ADAM,
        **SIMPLIFIED,
        "beta1": 0.9,
        "beta2": 0.99,
        "beta3": None,
        "eps": 1e-8,
        "d0": 1e-6,
        "d_coef": 1.0,
        "growth_rate": INF,
        "slice_p": 11,
        "prodigy_steps": 0,
        "d_limiter": False,
    },
    "SIGNSGD_ADV": {**ADV, **SIMPLIFIED, "momentum": 0.95},
    "ADAGRAD": ADAGRAD,
    "ADAGRAD_8BIT": {**ADAGRAD, "optim_bits": 8, "fused_back_pass": False},
    "ADAM": {**ADAM, **TORCH},
    "ADAMW": {**ADAM, "weight_decay": 0.01, **TORCH},
    "ADAM_8BIT": {**ADAM, **BITS, "is_paged": False},
    "ADAMW_8BIT": {**ADAM, "weight_decay": 0.01, **BITS, "is_paged": False},
    "LAMB": {**LAMB, "optim_bits": 32},
    "LAMB_8BIT": LAMB,
    "LARS": {**LARS, "optim_bits": 32},
    "LARS_8BIT": LARS,
    "LION": {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "use_triton": False},
    "LION_8BIT": {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0, **SMALL, "is_paged": False},
    "RMSPROP": {**RMSPROP, "optim_bits": 32},
    "RMSPROP_8BIT": RMSPROP,
    "SGD": {**SGD, "foreach": False, "maximize": False, "differentiable": False},
    "SGD_8BIT": {**SGD, **SMALL},
    "SCHEDULE_FREE_ADAMW": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, **AVERAGE},
    "SCHEDULE_FREE_SGD": {"momentum": 0, "weight_decay": 0.01, **AVERAGE},
    "PRODIGY_PLUS_SCHEDULE_FREE": {
        "beta1": 0.9,
        "beta2": 0.99,
        "beta3": None,
        "weight_decay": 0.0,
        "weight_decay_by_lr": True,
        "use_bias_correction": False,
        "d0": 1e-6,
        "d_coef": 1.0,
        "prodigy_steps": 0,
        "use_speed": False,
        "eps": 1e-8,
        "split_groups": True,
        "split_groups_mean": False,
        "factored": True,
        "factored_fp32": True,
        "fused_back_pass": False,
        "use_stableadamw": True,
        "use_cautious": False,
        "use_grams": False,
        "use_adopt": False,
        "d_limiter": True,
        "stochastic_rounding": True,
        "use_schedulefree": True,
        "schedulefree_c": 0.0,
        "use_orthograd": False,
    },
    "DADAPT_ADA_GRAD": {
        "momentum": 0,
        "log_every": 0,
        "weight_decay": 0.0,
        "eps": 0.0,
        "d0": 1e-6,
        "growth_rate": INF,
    },
    "DADAPT_ADAM": {
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0,
        "log_every": 0,
        "decouple": False,
        "use_bias_correction": False,
        "d0": 1e-6,
        "growth_rate": INF,
        "fsdp_in_use": False,
    },
    "DADAPT_ADAN": {
        "beta1": 0.98,
        "beta2": 0.92,
        "beta3": 0.99,
        "eps": 1e-8,
        "weight_decay": 0.02,
        "no_prox": False,
        "log_every": 0,
        "d0": 1e-6,
        "growth_rate": INF,
    },
    "DADAPT_LION": {
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.0,
        "log_every": 0,
        "d0": 1e-6,
        "fsdp_in_use": False,
    },
    "DADAPT_SGD": {
        "momentum": 0.0,
        "weight_decay": 0,
        "log_every": 0,
        "d0": 1e-6,
        "growth_rate": INF,
        "fsdp_in_use": False,
    },
    "PRODIGY": {
        "beta1": 0.9,
        "beta2": 0.999,
        "beta3": None,
        "eps": 1e-8,
        "weight_decay": 0,
        "decouple": True,
        "use_bias_correction": False,
        "safeguard_warmup": False,
        "d0": 1e-6,
        "d_coef": 1.0,
        "growth_rate": INF,
        "fsdp_in_use": False,
        "slice_p": 11,
    },
    "MUON": {
        "momentum": 0.95,
        "weight_decay": 0.0,
        **MUON_OPTIONS,
        "muon_adam_lr": 3e-4,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_eps": 1e-10,
        "adam_weight_decay": 0.0,
    },
    "MUON_ADV": {
        **MUON_ADV,
        "beta1": 0.9,
        "nesterov": True,
        "beta2_normuon": 0.95,
    },
    "ADAMUON_ADV": {
        **MUON_ADV,
        "beta1": 0.95,
        "beta2": 0.95,
        "eps": 1e-8,
        "nesterov": False,
        "use_atan2": False,
    },
    "ADAFACTOR": {
        "eps": 1e-30,
        "eps2": 0.001,
        "clip_threshold": 1.0,
        "decay_rate": -0.8,
        "beta1": None,
        "weight_decay": 0.0,
        "scale_parameter": False,
        "relative_step": False,
        "warmup_init": False,
        "stochastic_rounding": True,
        "fused_back_pass": False,
    },
    "AdEMAMix": {**BNB_ADEMAMIX, "optim_bits": 32},
    "AdEMAMix_8BIT": BNB_ADEMAMIX,
    "ADOPT": {
        "beta1": 0.9,
        "beta2": 0.9999,
        "weight_decay": 0.0,
        "decoupled_decay": False,
        "fixed_decay": False,
        "cautious": False,
        "eps": 1e-6,
    },
    "ADABELIEF": {
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-16,
        "weight_decay": 0,
        "amsgrad": False,
        "decoupled_decay": True,
        "fixed_decay": False,
        "rectify": True,
        "degenerated_to_sgd": True,
    },
    "TIGER": {"beta1": 0.965, "weight_decay": 0.01, "decoupled_decay": True, "fixed_decay": False},
    "AIDA": {
        "beta1": 0.9,
        "beta2": 0.999,
        "k": 2,
        "xi": 1e-20,
        "weight_decay": 0.0,
        "decoupled_decay": False,
        "fixed_decay": False,
        "rectify": False,
        "n_sma_threshold": 5,
        "degenerated_to_sgd": True,
        "ams_bound": False,
        "r": 0.95,
        "adanorm": False,
        "adam_debias": False,
        "eps": 1e-8,
    },
    "YOGI": {
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.0,
        "decoupled_decay": True,
        "fixed_decay": False,
        "r": 0.95,
        "adanorm": False,
        "adam_debias": False,
        "initial_accumulator": 1e-6,
        "eps": 1e-3,
    },
    "CAME": {**CAME, "use_cautious": False},
    "CAME_8BIT": {**CAME, "min_8bit_size": 16384, "quant_block_size": 2048},
}
"""OneTrainer's own options and defaults, as of August 2026."""

ILLEGAL = {
    ("LARS", "momentum"): "raises",
    ("LARS_8BIT", "momentum"): "raises",
    ("SGD_8BIT", "momentum"): "raises",
    ("DADAPT_ADA_GRAD", "eps"): "raises",
    ("SCHEDULE_FREE_SGD", "momentum"): "raises",
    ("LION_ADV", "clip_threshold"): "raises; 0 is no clipping",
}
"""Defaults of OneTrainer's that cannot run."""

MORE = {
    ("AdEMAMix", "t_alpha"): "the paper never trains without it",
    ("AdEMAMix", "t_beta3"): "the paper never trains without it",
    ("AdEMAMix_8BIT", "t_alpha"): "the paper never trains without it",
    ("AdEMAMix_8BIT", "t_beta3"): "the paper never trains without it",
    ("ADABELIEF", "n_sma_threshold"): "it decides how long rectify waits",
    ("CAME", "clip_threshold"): "every update of the first steps is clipped by it",
    ("CAME_8BIT", "clip_threshold"): "every update of the first steps is clipped by it",
}
"""Options of a back end that OneTrainer does not show and we do, with the reason."""


NAMESAKES = {"alpha": 2, "clip_threshold": 2, "momentum": 2, "r": 2}
"""How many options share a name with another meaning: each is an Option of its own, called NAME_OF_WHAT."""


def all_uses(key):
    return (spec(key).lr, *spec(key).uses)


def words(text):
    return {word.strip(".,;:()").lower() for word in text.split()}


# ---------------------------------------------------------------------------------------------------- what there is


def test_all_optimizers_of_the_wiki_page_are_there():
    expected = {*STANDARD, *(f"{key}_8BIT" for key in STANDARD), "PRODIGY", "ADAFACTOR"}
    expected |= {f"{name}_ADV" for name in ("ADAMW", "ADOPT", "LION", "PRODIGY", "SIGNSGD")}
    expected |= {f"DADAPT_{name}" for name in ("ADA_GRAD", "ADAM", "ADAN", "LION", "SGD")}
    expected |= SCHEDULE_FREE
    expected |= {"AdEMAMix", "AdEMAMix_8BIT", "ADOPT", "ADABELIEF", "TIGER", "AIDA", "YOGI", "CAME", "CAME_8BIT"}
    expected |= {"MUON", "MUON_ADV", "ADAMUON_ADV"}
    assert set(KEYS) == expected == set(ONETRAINER)
    assert list(KEYS) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_option_that_onetrainer_shows_is_there(key):
    more = {name for owner, name in MORE if owner == key}
    names = {use.name for use in spec(key).uses}
    assert names - more == set(ONETRAINER[key]) | (ADAPTED if spec(key).steps_each_tensor else set())


ADAPTED = {"stochastic_rounding", "kahan_summation", "fused_back_pass", "percentile_clipping"}
LEFT_ALONE = {
    **{  # their package rounds
        key: {"stochastic_rounding"}
        for key in ("ADAMW_ADV", "ADOPT_ADV", "SIGNSGD_ADV", "LION_ADV", "MUON_ADV", "ADAMUON_ADV")
    },
    **{  # their eval mode would raise
        key: {"stochastic_rounding", "kahan_summation"} for key in ("SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD")
    },
}
"""What the adapters do not do for an optimizer that steps each tensor on its own."""


@pytest.mark.parametrize("key", KEYS)
def test_what_the_adapters_do_is_live_where_each_tensor_is_stepped_on_its_own_and_nowhere_else(key):
    ours = {
        use.name
        for use in spec(key).uses
        if use.argument is None and not use.by_groups and use.standing is Standing.LIVE
    }
    assert ours == (ADAPTED - LEFT_ALONE.get(key, set()) if spec(key).steps_each_tensor else set())


def test_on_other_optimizers_they_are_unavailable_for_the_true_reason():
    shown = replace(spec("PRODIGY"), uses=(*spec("PRODIGY").uses, *shared.ADAPTED))
    added = [use for use in shared.with_adapters(shown).uses if use.name in ADAPTED]
    assert len(added) == len(ADAPTED)
    for use in added:
        assert use.standing is Standing.UNAVAILABLE
        assert "over all tensors together" in use.reason


def test_an_option_that_the_back_end_takes_is_left_to_it():
    taken = replace(shared.FUSED_BACK_PASS, argument="fused_back_pass")
    entry = shared.with_adapters(replace(spec("LION"), uses=(taken,)))
    assert [use for use in entry.uses if use.name == "fused_back_pass"] == [taken]
    assert "fused_back_pass" not in entry.adapted({"fused_back_pass": True})


def test_every_option_of_onetrainer_is_there_and_what_is_more_has_a_reason():
    shown = {name for options in ONETRAINER.values() for name in options}
    added = {name for _, name in MORE}
    auxiliary = {name for key in AUXILIARY for name in (use.name for use in spec(key).uses) if name.startswith("adam_")}
    assert {option.name for option in OPTIONS} == WIKI_OPTIONS | shown | added | auxiliary | ADAPTED | {"lr"}
    assert shown >= WIKI_OPTIONS


def test_the_menu_has_every_optimizer_once_and_8_bit_beside_32():
    menu = [entry.key for entries in families().values() for entry in entries]
    assert sorted(menu) == list(KEYS)
    assert list(families())[:2] == ["Adam", "Finds its own rate"]
    for key in STANDARD:
        assert menu[menu.index(key) + 1] == f"{key}_8BIT"


def test_an_unknown_key_names_those_that_there_are():
    with pytest.raises(KeyError, match="PRODIGY"):
        spec("NOPE")


def test_importing_the_catalogue_loads_no_back_end():
    code = (
        "import sys, diffopt_widgets.catalogue, diffopt_widgets.settings\n"
        "heavy = {'torch', 'numpy', 'bitsandbytes', 'prodigyopt', 'plotly', 'ipywidgets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------------- texts


def test_help_teaches():
    faults = Faults()
    for option in (*OPTIONS, *TRAINING_OPTIONS):
        sentences = [sentence for sentence in option.help.replace("e.g.", "").split(". ") if sentence]
        with faults.of(option.name):
            assert len(option.help) > 100
            assert len(option.help) < 400
            assert 2 <= len(sentences) <= 5
            assert option.help.endswith(".")
            assert len(words(option.help) - words(option.title) - words(option.name.replace("_", " "))) > 15
    assert not faults, str(faults)


def test_no_help_is_given_twice():
    assert len({option.help for option in OPTIONS}) == len(OPTIONS)
    assert (
        len({option.title for option in OPTIONS}) >= len(OPTIONS) - 1
    )  # Prodigy and LAMB both call theirs bias correction


@pytest.mark.parametrize("key", KEYS)
def test_an_option_is_stated_once(key):
    faults = Faults()
    for use in all_uses(key):
        stated = [option for option in OPTIONS if option.name == use.name]
        may_differ = {name: getattr(use.option, name) for name in ("nullable", "null_words", "soft")}
        with faults.of(use.name):
            assert len(stated) == NAMESAKES.get(use.name, 1)
            assert use.option in [replace(option, **may_differ) for option in stated]
            assert bool(use.option.nullable) == bool(use.option.null_words)
    assert not faults, str(faults)


def test_every_option_is_used():
    assert {use.name for key in KEYS for use in all_uses(key)} == {option.name for option in OPTIONS}


@pytest.mark.parametrize("key", KEYS)
def test_an_optimizer_is_described(key):
    entry = spec(key)
    assert len(entry.summary) > 60
    assert entry.summary.endswith(".")
    assert r"\theta" in entry.formula
    assert entry.formula.count("{") == entry.formula.count("}")
    assert len(entry.links) >= 2
    assert all(link.url.startswith("https://") for link in entry.links)
    assert entry.links[-1].title == "code"
    assert entry.estimates_rate == (entry.family == "Finds its own rate")
    names = [use.name for use in entry.uses]
    assert len(set(names)) == len(names)
    assert not set(names) & set(TRAINING_DEFAULTS)


def test_summaries_differ():
    assert len({spec(key).summary for key in KEYS}) == len(KEYS)
    assert len({spec(key).title for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_use_is_sound(key):
    faults = Faults()
    for use in all_uses(key):
        with faults.of(use.name):
            check_use(spec(key), use)
    assert not faults, str(faults)


def check_use(entry, use):
    assert use.check(use.default) == use.default
    assert (use.standing is not Standing.LIVE) == bool(use.reason)
    elsewhere = use.by_groups or use.name in ADAPTED
    assert use.argument is not None or use.standing is Standing.UNAVAILABLE or elsewhere
    assert not use.note or use.note.endswith(".")
    assert not use.reason.endswith(".")
    if use.argument:
        split_argument(use.argument)
    if use.enabled_if:
        assert entry.use(use.enabled_if.option).check(use.enabled_if.value) == use.enabled_if.value
    if use.option.soft:
        low, high = use.option.soft
        assert low < high
        assert not use.option.log or low > 0
        for end in (low, high):
            number = int(end) if use.option.kind == "int" else end
            if use.domain is None:
                use.option.check(number)


def test_numbers_have_a_domain_and_a_slider():
    rates = {"lr", "eps", "eps2", "d0", "d_coef", "clip_threshold", "xi", "initial_accumulator"}
    rates |= {"muon_adam_lr", "adam_eps"}
    rates |= {name for name in MUON_OPTIONS if name.endswith("_lr")}
    faults = Faults()
    for option in OPTIONS:
        numeric = option.kind in {"float", "int"} and not option.choices
        with faults.of(option.name):
            assert (option.domain is not None) == numeric
            assert (option.soft is not None) == numeric
            assert option.log == (option.name in rates and option is not options.CLIP_THRESHOLD_OF_LION)
    assert not faults, str(faults)


# ---------------------------------------------------------------------------------------------------- advice, presets


@pytest.mark.parametrize("key", [key for key in KEYS if any(use.advice for use in all_uses(key))])
def test_advice_is_legal_and_has_a_reason(key):
    faults = Faults()
    for use in all_uses(key):
        with faults.of(use.name):
            if use.advice:
                assert use.check(use.advice.value) == use.advice.value
                Settings(key, **{use.name: use.advice.value})
                assert len(use.advice.reason) > 30
                assert use.advice.reason.endswith(".")
                assert use.advice.source
                assert use.advice.allows(use.advice.value)
                assert use.advice.by_mode or isinstance(use.advice.value, bool) == (use.option.kind == "bool")
    assert not faults, str(faults)


WIKI_ADVICE = {
    ("PRODIGY", "lr"): (1.0, "1"),
    ("PRODIGY", "beta2"): (0.99, "0.99 to 0.999"),
    ("PRODIGY", "weight_decay"): (0.01, "0.001 to 0.01"),
    ("PRODIGY", "use_bias_correction"): (True, "on, but try both"),
    ("PRODIGY", "safeguard_warmup"): (True, "on for short runs"),
    ("PRODIGY", "d_coef"): (1.0, "0.5 to 2"),
    ("ADAFACTOR", "lr"): (1e-4, "as for AdamW"),
    ("ADAFACTOR", "beta1"): (None, "empty"),
    ("ADAFACTOR", "weight_decay"): (0.01, "0 to 0.01"),
    ("ADAFACTOR", "scale_parameter"): (False, "on in adaptive mode, off in constant mode"),
    ("ADAFACTOR", "relative_step"): (False, "on in adaptive mode, off in constant mode"),
}
"""All that the page recommends: the value that a click sets, and the words (true is on, as the form says it)."""


def test_the_wiki_page_is_named_for_what_it_recommends_and_for_nothing_else():
    advised = {
        (key, use.name): (use.advice.value, use.advice.text())
        for key in KEYS
        for use in all_uses(key)
        if use.advice and "wiki" in use.advice.source.lower()
    }
    assert advised == WIKI_ADVICE


@pytest.mark.parametrize("key", [key for key in KEYS if key.startswith("DADAPT")])
def test_the_advice_on_d_adaptations_rate_is_its_packages(key):
    advice = spec(key).lr.advice
    if key == "DADAPT_SGD":
        assert advice.source == "measured on the bench"
        return
    assert (advice.value, advice.source) == (1.0, "dadaptation's README")
    assert "**Set the LR parameter to 1.0**" in metadata("dadaptation").get_payload()


@pytest.mark.parametrize("key", KEYS)
def test_presets_are_legal_settings(key):
    faults = Faults()
    for entry in spec(key).presets:
        with faults.of(entry.key):
            made = preset(key, entry.key)
            assert entry.values.keys() <= default_values(spec(key)).keys()
            assert {option: made.values()[option] for option in entry.values} == entry.values
            assert entry.why
            assert made.warnings() == () or entry.key in {"library", "onetrainer"}
    assert not faults, str(faults)


@pytest.mark.parametrize("key", KEYS)
def test_every_optimizer_has_the_three_presets(key):
    presets = spec(key).presets
    assert [entry.key for entry in presets[:3]] == ["library", "onetrainer", "recommended"]
    assert [entry.title for entry in presets[:3]] == ["Library defaults", "OneTrainer", "Recommended"]
    assert presets[0].values == {}
    assert key == "ADAFACTOR" or "lr" in presets[2].values
    assert len({entry.key for entry in presets}) == len(presets)


@pytest.mark.parametrize("key", KEYS)
def test_the_onetrainer_preset_is_onetrainers_table(key):
    made = preset(key, "onetrainer")
    for name, value in ONETRAINER[key].items():
        if (key, name) in ILLEGAL:
            with pytest.raises(SettingsError):
                Settings(key, **{name: value})
        elif spec(key).use(name).requires == "bfloat16":
            assert made.options[name] is False, "the bench's own weights are in 32 bits"
        elif spec(key).use(name).standing is not Standing.UNAVAILABLE:
            assert made.options[name] == value, name


@pytest.mark.parametrize("key", KEYS)
def test_the_onetrainer_preset_says_which_learning_rate_it_has(key):
    entry = spec(key).preset("onetrainer")
    assert "lr" not in entry.values
    assert "Its learning rate, 3e-6 for every optimizer, is left out" in entry.why


def test_adafactors_two_modes():
    adaptive, constant = preset("ADAFACTOR", "adaptive"), preset("ADAFACTOR", "constant")
    assert (adaptive.options["relative_step"], adaptive.options["scale_parameter"]) == (True, True)
    assert adaptive.schedule == "ADAFACTOR"
    assert (constant.options["relative_step"], constant.options["scale_parameter"]) == (False, False)
    assert constant.schedule != "ADAFACTOR"


# ---------------------------------------------------------------------------------------------------- rules


def names_read(rule):
    """The option names in a rule's condition, helpers included."""
    found = set()
    pending = [rule.broken]
    while pending:
        function = pending.pop()
        code = function.__code__
        found |= {constant for constant in code.co_consts if isinstance(constant, str) and constant.isidentifier()}
        pending += [
            helper
            for name in code.co_names
            if inspect.isfunction(helper := function.__globals__.get(name) or getattr(catalogue.shared, name, None))
            and helper is not function
        ]
    return found


@pytest.mark.parametrize("key", KEYS)
def test_rules_name_real_options_and_speak_in_sentences(key):
    values = default_values(spec(key))
    faults = Faults()
    for rule in spec(key).rules:
        with faults.of(rule.id):
            assert rule.options
            assert set(rule.options) <= set(values)
            assert set(rule.fix) <= set(values)
            assert names_read(rule) >= set(rule.options)
            assert rule.message[0].isupper()
            assert rule.message.endswith(".")
            assert rule.severity == "warning" or rule.fix
    assert not faults, str(faults)


BREAKING = {
    "compile-fused": {"compile": True, "fused_back_pass": True},
    "lr-near-1": {"lr": 1e-4},
    "lr-runs-away": {"lr": 1.0},
    "lr_scaler": {"lr_scaler": "BOTH"},
    "warmup": {"warmup": 10.0},
    "fsdp_in_use": {"fsdp_in_use": True},
    "kourkoutas-beta2": {"kourkoutas_beta": True, "beta2": 0.9},
    "two-ademamix": {"use_AdEMAMix": True, "Simplified_AdEMAMix": True},
    "atan2-simplified": {"use_atan2": True, "Simplified_AdEMAMix": True},
    "simplified-beta1": {"Simplified_AdEMAMix": True, "beta1": 0.0},
    "maximize": {"maximize": True},
    "fused-foreach": {"fused": True, "foreach": True},
    "nesterov-momentum": {"nesterov": True, "momentum": 0.0},
    "nesterov-dampening": {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    "log-at-zero": {"log_every": 10, "schedule": "COSINE_WITH_RESTARTS"},
    "schedule-at-zero": {"schedule": "COSINE_WITH_RESTARTS"},
    "adafactor-schedule": {"schedule": "ADAFACTOR"},
    "relative-step-schedule": {"relative_step": True, "schedule": "COSINE"},
    "relative-step-warmup": {"relative_step": True, "schedule": "ADAFACTOR", "warmup": 0.1},
    "schedule-relative-step": {"relative_step": False, "schedule": "ADAFACTOR"},
    "warmup-init": {"relative_step": False, "warmup_init": True},
    "falling-schedule": {"schedule": "COSINE"},
    "momentum-zero": {"momentum": 0.0},
    "beta1-zero": {"beta1": 0.0},
    "bias-correction-beta2": {"use_bias_correction": True, "beta2": 0.6},
    "prodigy-steps-few": {"prodigy_steps": 59},
    "d-coef-limiter": {"d_coef": 0.84},
    "d-coef-speed": {"use_speed": True, "d_coef": 0.25},
    "cautious-momentum": {"use_cautious": True, "use_schedulefree": False},
    "adopt-momentum": {"use_adopt": True, "use_schedulefree": False},
    "cautious-grams": {"use_cautious": True, "use_grams": True},
    "speed-decay": {"use_speed": True, "weight_decay": 0.01},
    "t_beta3-betas": {"t_beta3": 100, "beta1": 0.95, "beta3": 0.9},
    "fixed-decay": {"fixed_decay": True, "decoupled_decay": False, "weight_decay": 0.1},
    "fixed-decay-strong": {"fixed_decay": True, "decoupled_decay": True, "weight_decay": 0.01},
    "rectify-still": {"rectify": True, "n_sma_threshold": 5, "beta2": 0.5, "degenerated_to_sgd": False},
    "rectify-sgd": {"rectify": True, "n_sma_threshold": 5, "beta2": 0.5, "degenerated_to_sgd": True},
    "accelerated-steps": {"accelerated_ns": True, "ns_steps": 5},
    "adam-kourkoutas-beta2": {"adam_kourkoutas_beta": True, "adam_beta2": 0.9},
    "normuon-atan2": {"normuon_variant": True, "use_atan2": True},
    "rounding-32-bits": {"stochastic_rounding": True},
    "kahan-32-bits": {"kahan_summation": True, "stochastic_rounding": False},
    "kahan-rounding": {"kahan_summation": True, "stochastic_rounding": True},
    "kahan-kourkoutas_beta": {"kahan_summation": True, "stochastic_rounding": False, "kourkoutas_beta": True},
    "kahan-adam_kourkoutas_beta": {
        "kahan_summation": True,
        "stochastic_rounding": False,
        "adam_kourkoutas_beta": True,
    },
    "capturable-off-cuda": {"capturable": True},
    "paged-off-cuda": {"is_paged": True},
    "compile-no-compiler": {"compile": True},
    "muon-alone": {"MuonWithAuxAdam": False},
    "muon-expression": {"muon_hidden_layers": "(blocks", "muon_adam_regex": True},
}


POOR = {"device": "cpu", "compiler": False, "dtype": "float32"}
"""The environment of a run that is refused whatever can be."""


@pytest.mark.parametrize("key", KEYS)
def test_a_rule_breaks_where_it_should_and_its_fix_makes_it_hold(key):
    faults = Faults()
    for rule in spec(key).rules:
        with faults.of(rule.id):
            check_rule(key, rule)
    assert not faults, str(faults)


def check_rule(key, rule):
    assert BREAKING.keys() >= {rule.id}, "say here which values break it"
    values = BREAKING[rule.id]
    broken = {**default_values(spec(key)), **values, **POOR}
    assert rule.broken(broken)
    fixed = {**values, **rule.fix}
    assert not rule.broken({**broken, **rule.fix})
    if rule.severity == "error":
        with pytest.raises(SettingsError) as caught:
            Settings(key, **values)
        assert rule.message.rstrip(".") in str(caught.value)
        assert rule.fix in [fault.fix for fault in caught.value.faults]
    else:
        assert rule in Settings(key, **values).warnings(POOR)
    assert rule not in Settings(key, **fixed).warnings(POOR)


def test_every_rule_has_an_id_of_its_own():
    for key in KEYS:
        ids = [rule.id for rule in spec(key).rules]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("key", ["ADAGRAD", "AdEMAMix", "LAMB", "LARS", "RMSPROP"])
def test_states_have_8_or_32_bits_and_nothing_between(key):
    assert Settings(key, optim_bits=8).options["optim_bits"] == 8
    assert spec(key).use("optim_bits").allowed() == "8 or 32"
    for bits in (7, 16, 31, 33):
        with pytest.raises(SettingsError, match="Allowed: 8 or 32"):
            Settings(key, optim_bits=bits)
    control = panel(key)["controls"]["optim_bits"]
    assert control["kind"] == "choice"
    assert [choice["value"] for choice in control["choices"]] == ["8", "32"]
    assert "slider" not in control
    form = Form(Settings(key))
    form.slider("optim_bits").value = 8
    assert form.settings.options["optim_bits"] == 8


def test_only_adafactor_takes_its_schedule():
    for key in KEYS:
        if key == "ADAFACTOR":
            Settings(key, schedule="ADAFACTOR")
        else:
            with pytest.raises(SettingsError, match="belongs to the optimizer ADAFACTOR"):
                Settings(key, schedule="ADAFACTOR")


@pytest.mark.parametrize("key", [key for key in KEYS if spec(key).estimates_rate])
def test_optimizers_that_estimate_warn_about_scalers(key):
    assert "lr_scaler" in [rule.id for rule in Settings(key, lr_scaler="BATCH").warnings()]


def test_prodigy_warns_far_from_one_and_with_warmup():
    for lr, expected in ((0.05, True), (0.1, False), (1.0, False), (10.0, False), (11.0, True)):
        assert ("lr-near-1" in [rule.id for rule in Settings("PRODIGY", lr=lr).warnings()]) == expected
    (rule,) = Settings("PRODIGY", warmup=20).warnings()
    assert rule.fix == {"warmup": 0.0}


def test_arguments_put_tuples_together_and_pass_hidden_values():
    arguments = spec("ADAFACTOR").arguments(0.5, Settings("ADAFACTOR", beta1=0.8).options)
    assert arguments["betas"] == (0.8, 0.9999999999)
    assert arguments["momentum_dtype"] == "torch.float32"
    assert arguments["lr"] == 0.5
    assert "stochastic_rounding" not in arguments
    assert spec("DADAPT_ADAN").arguments(1.0, {})["betas"] == (0.98, 0.92, 0.99)


def test_catalogue_files_stay_small():
    for module in sys.modules.values():
        if getattr(module, "__name__", "").startswith("diffopt_widgets.catalogue."):
            source = inspect.getsource(module)
            assert source.count("\n") < 360, module.__name__
            ast.parse(source)


def test_option_constants_are_named_after_their_options():
    assert all(getattr(options, name).name.upper() == name.split("_OF_")[0] for name in options.__all__)
    assert all(isinstance(option, Option) for option in OPTIONS)
