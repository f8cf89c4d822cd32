"""The catalogue as text and data: help that teaches, legal advice and presets, rules that name real options."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import metadata
from itertools import product
from pathlib import Path

import pytest
from collecting import Faults

from diffopt_widgets import catalogue
from diffopt_widgets.catalogue import families, list_optimizers, options, shared, spec
from diffopt_widgets.catalogue.evidence import table
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import TRAINING_DEFAULTS, TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import Standing, split_argument
from diffopt_widgets.probe.values import changed_values
from diffopt_widgets.settings import Settings, SettingsError, default_values, preset
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.panel import panel

KEYS = list_optimizers()
SHARED = [getattr(options, name) for name in options.__all__]
OPTIONS = [
    *SHARED,
    *dict.fromkeys(
        use.option
        for key in KEYS
        for use in (spec(key).lr, *spec(key).uses)
        if use.name not in {option.name for option in SHARED}
    ),
]
"""Those that several optimizers share, and those that stand in the file of a single one."""
STANDARD = ("ADAGRAD", "ADAM", "ADAMW", "LAMB", "LARS", "LION", "RMSPROP", "SGD")

NAMESAKES = {
    "alpha": 2,
    "beta1": 2,
    "beta2": 4,
    "clip_threshold": 2,
    "eps": 3,
    "eps2": 2,
    "lr": 2,
    "momentum": 4,
    "r": 2,
}
"""How many options share a name with another meaning: each is an Option of its own, called NAME_OF_WHAT."""


def all_uses(key):
    return (spec(key).lr, *spec(key).uses)


def words(text):
    return {word.strip(".,;:()").lower() for word in text.split()}


# ---------------------------------------------------------------------------------------------------- what there is


ADAPTED = {"stochastic_rounding", "kahan_summation", "fused_back_pass", "percentile_clipping"}
LEFT_ALONE = {
    "adv_optm": {"stochastic_rounding"},  # it rounds by itself
    "schedulefree": {"stochastic_rounding", "kahan_summation"},  # its eval mode would raise
}
"""What the adapters do not do for a package's optimizers that step each tensor on their own."""


def test_keys_come_in_alphabetical_order():
    assert list(KEYS) == sorted(KEYS)


def test_every_file_of_a_family_has_its_line():
    folder = Path(catalogue.__file__).parent / "families"
    with_entries = {path.stem for path in folder.glob("*.py") if "\nENTRIES = (" in path.read_text("utf-8")}
    assert set(catalogue.FAMILIES) == with_entries, (
        "add the file to FAMILIES of catalogue/__init__.py, where its menu goes"
    )


@pytest.mark.parametrize("key", KEYS)
def test_what_the_adapters_do_is_live_where_each_tensor_is_stepped_on_its_own_and_nowhere_else(key):
    ours = {
        use.name
        for use in spec(key).uses
        if use.argument is None and not use.by_groups and use.standing is Standing.LIVE
    }
    assert ours == (ADAPTED - LEFT_ALONE.get(spec(key).package, set()) if spec(key).steps_each_tensor else set())


def test_on_other_optimizers_they_are_unavailable_for_the_true_reason():
    shown = replace(spec("PRODIGY"), uses=(*spec("PRODIGY").uses, *shared.ADAPTER_OPTIONS))
    added = [use for use in shared.with_adapters(shown).uses if use.name in ADAPTED]
    assert len(added) == len(ADAPTED)
    for use in added:
        assert use.standing is Standing.UNAVAILABLE
        assert "over all tensors together" in use.reason


def test_an_option_that_the_back_end_takes_is_left_to_it():
    taken = replace(shared.FUSED_BACK_PASS, argument="fused_back_pass")
    entry = shared.with_adapters(replace(spec("LION"), uses=(taken,)))
    assert [use for use in entry.uses if use.name == "fused_back_pass"] == [taken]
    assert "fused_back_pass" not in entry.adapter_options({"fused_back_pass": True})


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
    titles = Counter(title for title, _ in {(option.title, option.name) for option in OPTIONS})
    assert [title for title, names in titles.items() if names > 1] == ["Bias correction"]  # of Prodigy and of LAMB


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


@pytest.mark.parametrize("key", KEYS)
def test_the_notes_that_several_optimizers_share_are_true_of_each(key):
    entry, faults = spec(key), Faults()
    options = {name for use in entry.uses for name in (use.name, use.option.title.lower())}
    for use in entry.uses:
        seen = table()["cpu"].findings[key][use.name].words
        if "the result is the same to the bit" in use.note and "the same to the bit" not in seen:
            faults.append(f"{use.name}: the note says the same to the bit, the probe saw: {seen}")
        if (other := re.search(r"unless (\w+) is on", use.note)) and other[1] not in options:
            faults.append(f"{use.name}: the note speaks of {other[1]}, which {key} has not")
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
    rates |= {"muon_te1_adam_lr", "muon_te2_adam_lr"}
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


@pytest.mark.parametrize("key", [key for key in KEYS if key.startswith("DADAPT")])
def test_the_advice_on_d_adaptations_rate_is_its_packages(key):
    advice = spec(key).lr.advice
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
def test_every_optimizer_has_its_packages_own_values_and_recommended_ones(key):
    presets = spec(key).presets
    general = [(entry.key, entry.title) for entry in presets if entry.key != "onetrainer"]
    assert general[:2] == [("library", "Library defaults"), ("recommended", "Recommended")]
    assert presets[0].values == {}
    assert key == "ADAFACTOR" or "lr" in spec(key).preset("recommended").values
    assert len({entry.key for entry in presets}) == len(presets)


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
    "lr-runs-away": {"lr": 2.0},
    "momentum-runs-away": {"lr": 1.0, "momentum": 0.0},
    "lr_scaler": {"lr_scaler": "BOTH"},
    "warmup": {"warmup": 10.0},
    "fsdp_in_use": {"fsdp_in_use": True},
    "fsdp-not-in-use": {"fsdp_in_use": False},
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
    "restarts-safeguard": {"schedule": "COSINE_WITH_HARD_RESTARTS"},
    "relative-step-schedule": {"relative_step": True, "schedule": "COSINE"},
    "relative-step-warmup": {"relative_step": True, "schedule": "ADAFACTOR", "warmup": 0.1},
    "schedule-relative-step": {"relative_step": False, "schedule": "ADAFACTOR"},
    "warmup-init": {"relative_step": False, "warmup_init": True},
    "falling-schedule": {"schedule": "COSINE"},
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
    "warmup-run": {"warmup": 50},
    "capturable-off-cuda": {"capturable": True},
    "paged-off-cuda": {"is_paged": True},
    "compile-no-compiler": {"compile": True},
    "muon-alone": {"MuonWithAuxAdam": False},
    "muon-expression": {"muon_hidden_layers": "(blocks", "muon_adam_regex": True},
}


POOR = {"device": "cpu", "compiler": False, "dtype": "float32", "steps": 20}
"""The environment of a run that is refused whatever can be."""


def poor(rule):
    """Return the facts of a run under which a rule can be broken."""
    return {**POOR, "processes": 2} if rule.id == "fsdp-not-in-use" else POOR


def breaking(key, rule):
    """Values that break a rule: those stated above, or the first that are found among what its options can be set to."""
    if rule.id in BREAKING:
        return BREAKING[rule.id]
    uses = [use for use in (spec(key).lr, *spec(key).uses) if use.name in rule.options]
    defaults = default_values(spec(key))
    for values in product(*((use.default, *changed_values(spec(key), use)) for use in uses)):
        tried = dict(zip((use.name for use in uses), values, strict=True))
        if rule.broken({**defaults, **tried}):
            return tried
    raise AssertionError(f"{key}: say in BREAKING which values break the rule {rule.id}")


@pytest.mark.parametrize("key", KEYS)
def test_a_rule_breaks_where_it_should_and_its_fix_makes_it_hold(key):
    faults = Faults()
    for rule in spec(key).rules:
        with faults.of(rule.id):
            check_rule(key, rule)
    assert not faults, str(faults)


def check_rule(key, rule):
    values = breaking(key, rule)
    broken = {**default_values(spec(key)), **values, **poor(rule)}
    assert rule.broken(broken)
    fixed = {**values, **rule.fix}
    assert not rule.broken({**broken, **rule.fix})
    if rule.severity == "error":
        with pytest.raises(SettingsError) as caught:
            Settings(key, **values)
        assert rule.message.rstrip(".") in str(caught.value)
        assert rule.fix in [fault.fix for fault in caught.value.faults]
    else:
        assert rule in Settings(key, **values).warnings(poor(rule))
    assert rule not in Settings(key, **fixed).warnings(poor(rule))


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


def test_the_schedule_of_adafactor_is_told_to_do_nothing_elsewhere():
    for key in KEYS:
        told = [rule.id for rule in Settings(key, schedule="ADAFACTOR").warnings()]
        assert ("adafactor-schedule" in told) == (key != "ADAFACTOR")


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


@pytest.mark.parametrize(
    ("d0", "steps", "told"), [(1e-6, 50, True), (1e-6, 60, False), (1.0, 10, False), (1e-4, 20, True)]
)
def test_prodigy_plus_warns_of_few_steps_only_where_the_estimate_has_far_to_go(d0, steps, told):
    settings = Settings("PRODIGY_PLUS_SCHEDULE_FREE", d0=d0, prodigy_steps=steps)
    assert ("prodigy-steps-few" in [rule.id for rule in settings.warnings()]) == told
