"""OneTrainer's optimizers as a view over the catalogue: every option that it shows, with its own defaults as a preset.

The catalogue may hold more; what this file says of OneTrainer holds for its own optimizers alone.
"""

from __future__ import annotations

import pytest

from diffopt_widgets.catalogue import list_optimizers, onetrainers, spec
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.settings import Settings, SettingsError, preset

KEYS = onetrainers()
STANDARD = ("ADAGRAD", "ADAM", "ADAMW", "LAMB", "LARS", "LION", "RMSPROP", "SGD")
ADAPTED = {"stochastic_rounding", "kahan_summation", "fused_back_pass", "percentile_clipping"}
"""What the bench's own adapters do for every optimizer that steps each tensor on its own."""
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


def test_all_of_onetrainers_optimizers_are_there_and_no_other_claims_to_be():
    expected = {*STANDARD, *(f"{key}_8BIT" for key in STANDARD), "PRODIGY", "ADAFACTOR"}
    expected |= {f"{name}_ADV" for name in ("ADAMW", "ADOPT", "LION", "PRODIGY", "SIGNSGD")}
    expected |= {f"DADAPT_{name}" for name in ("ADA_GRAD", "ADAM", "ADAN", "LION", "SGD")}
    expected |= SCHEDULE_FREE
    expected |= {"AdEMAMix", "AdEMAMix_8BIT", "ADOPT", "ADABELIEF", "TIGER", "AIDA", "YOGI", "CAME", "CAME_8BIT"}
    expected |= {"MUON", "MUON_ADV", "ADAMUON_ADV"}
    assert set(KEYS) == expected == set(ONETRAINER)
    assert len(KEYS) == 43
    assert set(list_optimizers()) >= expected


@pytest.mark.parametrize("key", KEYS)
def test_every_option_that_onetrainer_shows_is_there(key):
    more = {name for owner, name in MORE if owner == key}
    names = {use.name for use in spec(key).uses}
    assert names - more == set(ONETRAINER[key]) | (ADAPTED if spec(key).steps_each_tensor else set())


def test_no_option_of_the_page_is_left_out_and_what_is_more_has_a_reason():
    shown = {name for options in ONETRAINER.values() for name in options}
    added = {name for _, name in MORE}
    auxiliary = {name for key in AUXILIARY for name in (use.name for use in spec(key).uses) if name.startswith("adam_")}
    assert {use.name for key in KEYS for use in spec(key).uses} == WIKI_OPTIONS | shown | added | auxiliary | ADAPTED
    assert shown >= WIKI_OPTIONS


WIKI_ADVICE = {
    ("PRODIGY", "lr"): (1.0, "1"),
    ("PRODIGY", "beta2"): (0.99, "0.99 to 0.999"),
    ("PRODIGY", "weight_decay"): (0.01, "0.001 to 0.01"),
    ("PRODIGY", "use_bias_correction"): (True, "on, but try both"),
    ("PRODIGY", "safeguard_warmup"): (True, "on"),
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
        for use in (spec(key).lr, *spec(key).uses)
        if use.advice and "wiki" in use.advice.source.lower()
    }
    assert advised == WIKI_ADVICE


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
def test_the_onetrainer_preset_comes_second_under_its_name(key):
    second = spec(key).presets[1]
    assert (second.key, second.title) == ("onetrainer", "OneTrainer")


@pytest.mark.parametrize("key", KEYS)
def test_the_onetrainer_preset_says_which_learning_rate_it_has(key):
    entry = spec(key).preset("onetrainer")
    assert "lr" not in entry.values
    assert "Its learning rate, 3e-6 for every optimizer, is left out" in entry.why
