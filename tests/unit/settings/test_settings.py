"""Settings: whatever is put in, either they are right or a SettingsError says what to do."""

from __future__ import annotations

import json
import pickle
import string

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING_DEFAULTS
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.catalogue.values import ValueProblem, format_value, parse_value
from diffopt_widgets.settings import Settings, SettingsError, default_values, preset
from diffopt_widgets.settings.own_names import tuple_places

KEYS = list_optimizers()
NAMES = sorted({use.name for key in KEYS for use in spec(key).uses} | set(TRAINING_DEFAULTS) | {"lr"})
WORDS = st.sampled_from(
    ["", "none", "inf", "-inf", "nan", "1e-4", ".9", "true", "COSINE", "NONE", "1,5", "1e999", "9" * 9999]
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, 10**5000, -(10**5000), -0.0]),
    st.floats(),
    st.text(),
    WORDS,
    st.binary(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.complex_numbers(),
    st.builds(object),
    st.just(np.ones(3)),
)
SEVERAL = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=5)
# `optimizer` is Settings' own first argument; every other name can be given as an option.
OTHER_NAMES = st.one_of(
    st.sampled_from(["self", "options", "cls", "key", "spec"]),
    st.text(st.sampled_from(string.ascii_letters + "_ <é\n"), max_size=20).filter(lambda name: name != "optimizer"),
)


def attempt(make):
    """What `make` gives, or the refusal; anything else that it raises fails the test."""
    try:
        return make(), None
    except (SettingsError, ValueProblem) as refusal:
        return None, refusal


@st.composite
def legal(draw):
    """Settings that are right: values inside the domains, rules kept or the draw thrown away."""
    key = draw(st.sampled_from(KEYS))
    values = {"schedule": draw(st.sampled_from([*SCHEDULES])), "warmup": draw(st.floats(0, 1000))}
    for use in (spec(key).lr, *spec(key).uses):
        option, domain = use.option, use.domain or use.option.domain
        if use.standing is Standing.UNAVAILABLE or not draw(st.booleans()):
            continue
        if option.kind == "bool":
            drawn = st.booleans()
        elif option.kind == "text":
            drawn = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)
        elif option.choices:
            drawn = st.sampled_from([int(choice) for choice in option.choices])
        elif option.kind == "int":
            drawn = st.integers(int(max(domain.low, -1e9)), int(min(domain.high, 1e9)))
        else:
            low, high = max(domain.low, -1e9), min(domain.high, 1e9)
            drawn = st.floats(low, high).filter(lambda value, domain=domain: value in domain)
            drawn = st.one_of(drawn, st.just(float("inf"))) if domain.infinite else drawn
        drawn = st.one_of(st.none(), drawn) if option.nullable else drawn
        values[use.name] = draw(drawn, use.name)
    try:
        return Settings(key, **values)
    except SettingsError as error:
        if all(fault.fix for fault in error.faults):
            for fault in error.faults:
                values.update(fault.fix)
            return Settings(key, **values)
        raise


@pytest.mark.slow
@given(st.one_of(st.sampled_from(KEYS), st.text(), ANYTHING), SEVERAL)
@settings(deadline=None, max_examples=300)
@example("PRODIGY", {"slice_p": 10**5000})
@example("PRODIGY", {"d_coef": 10**400})
@example("ADAM", {"fused": np.ones(3)})
def test_anything_gives_settings_or_a_settings_error(optimizer, values):
    made, error = attempt(lambda: Settings(optimizer, **values))
    if error is None:
        assert Settings.from_json(made.to_json()) == made
    else:
        assert error.faults
        assert str(error)


@pytest.mark.slow
@given(st.sampled_from(KEYS), st.dictionaries(OTHER_NAMES, ANYTHING, min_size=1, max_size=3))
@settings(deadline=None)
def test_unknown_options_are_refused_by_name(key, values):
    known = set(default_values(spec(key)))
    # A name of the optimizer's package or of another trainer's file, such as R, is told by the option that it means.
    unknown = {name for name in values.keys() - known if not tuple_places(spec(key), name)}
    for make in (lambda: Settings(key, **values), lambda: Settings(key).replace(**values)):
        _, error = attempt(make)
        assert unknown <= {fault.option for fault in error.faults} if error else not unknown


@pytest.mark.slow
@given(legal())
@settings(deadline=None, max_examples=200)
def test_settings_survive_json_pickle_and_replace(made):
    again = Settings.from_json(made.to_json())
    assert again == made
    assert hash(again) == hash(made)
    assert repr(again) == repr(made)
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.replace() == made
    assert made.replace(**made.values()) == made
    assert Settings(made.optimizer, **made.values()) == made
    namespace = {"Settings": Settings}
    assert eval(repr(made), namespace) == made  # noqa: S307


@given(st.text())
@settings(deadline=None)
@example("[]")
@example('{"optimizer": "PRODIGY"}')
@example('{"optimizer": "PRODIGY", "options": 3}')
@example('{"optimizer": "PRODIGY", "options": {"optimizer": 3}}')
@example('{"optimizer": "PRODIGY", "options": {"self": 3}, "cls": 1}')
@example('{"optimizer": ["PRODIGY"]}')
@example('{"format": 99, "optimizer": "PRODIGY"}')
@example('{"optimizer": "PRODIGY", "lr": NaN}')
@example('{"optimizer": "PRODIGY", "slice_p": ' + "9" * 4000 + "}")
@example("[" * 100_000)
def test_any_text_as_json_gives_settings_or_a_settings_error(text):
    _, error = attempt(lambda: Settings.from_json(text))
    assert error is None or str(error)


@pytest.mark.slow
@given(st.sampled_from(KEYS), st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), ANYTHING, max_size=4))
@settings(deadline=None)
def test_any_json_object_gives_settings_or_a_settings_error(key, values):
    try:
        text = json.dumps({"optimizer": key, **values}, default=str)
    except ValueError:  # an integer too long to write
        return
    _, error = attempt(lambda: Settings.from_json(text))
    assert error is None or str(error)


def test_settings_from_something_that_is_no_text():
    with pytest.raises(SettingsError, match="not JSON"):
        Settings.from_json(None)


def test_all_faults_are_reported_at_once():
    with pytest.raises(SettingsError) as caught:
        Settings("PRODIGY", lr=-1, schedule="SINE", warmup="long", d_coef=0, beta2=1.0, d_ceof=1, slice_p=1.5)
    named = [fault.option for fault in caught.value.faults]
    assert sorted(named) == sorted(["lr", "schedule", "warmup", "d_coef", "beta2", "d_ceof", "slice_p"])
    text = str(caught.value)
    assert text.count("\n") == 6
    assert "Did you mean d_coef?" in text
    assert "beta2 = 1: must be from 0 to below 1." in text
    assert all(schedule in text for schedule in SCHEDULES)


def test_an_unknown_optimizer_names_those_that_there_are():
    with pytest.raises(SettingsError) as caught:
        Settings("prodgy")
    assert str(caught.value) == "optimizer = prodgy: there is no such optimizer. Did you mean PRODIGY?"
    with pytest.raises(SettingsError) as caught:
        Settings("???")
    assert all(key in str(caught.value) for key in KEYS)


def test_an_unknown_option_names_those_that_there_are():
    with pytest.raises(SettingsError) as caught:
        Settings("SGD", weightdecay=0.1)
    assert str(caught.value) == "weightdecay = 0.1: SGD has no such option. Did you mean weight_decay?"
    with pytest.raises(SettingsError) as caught:
        Settings("SGD", xyz=0.1)
    assert all(use.name in str(caught.value) for use in spec("SGD").uses)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("cosin", "COSINE"), ("LINAER", "LINEAR"), ("rexx", "REX"), ("Cosine_With_Restart", "COSINE_WITH_RESTARTS")],
)
def test_a_choice_that_is_nearly_right_names_the_one_that_is_meant(written, meant):
    with pytest.raises(SettingsError) as caught:
        Settings("SGD", schedule=written)
    assert f"(did you mean {meant}?)." in str(caught.value)


def test_a_choice_that_is_far_from_all_gets_no_guess():
    with pytest.raises(SettingsError, match=r"'zzz' is not one of the choices\. Allowed: one of NONE"):
        Settings("SGD", lr_scaler="zzz")


def test_an_unknown_preset_names_those_that_there_are():
    with pytest.raises(SettingsError, match="adaptive, constant"):
        preset("ADAFACTOR", "fast")


def test_a_broken_rule_offers_its_fix_and_reads_as_a_sentence():
    with pytest.raises(SettingsError) as caught:
        Settings("DADAPT_SGD", warmup=10)
    (fault,) = caught.value.faults
    assert fault.fix == {"warmup": 0.0}
    assert ".." not in str(caught.value)
    Settings("DADAPT_SGD", **fault.fix)


@pytest.mark.parametrize("values", [{"lr": -1.0}, {"muon_hidden_layers": "(blocks", "muon_adam_regex": True}])
def test_an_error_comes_back_whole_from_another_process(values):
    with pytest.raises(SettingsError) as caught:
        Settings("MUON", **values)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.faults, again.fix) == (str(caught.value), caught.value.faults, caught.value.fix)


def test_numbers_of_numpy_are_numbers():
    made = Settings("PRODIGY", d_coef=np.float32(0.5), slice_p=np.int64(11))
    assert made.options["slice_p"] == 11
    assert type(made.options["slice_p"]) is int
    assert type(made.options["d_coef"]) is float


def test_minus_zero_is_zero():
    minus, plus = Settings("ADAM", weight_decay=-0.0), Settings("ADAM", weight_decay=0.0)
    assert minus == plus
    assert hash(minus) == hash(plus)


def test_settings_cannot_be_changed_in_place():
    made = Settings("PRODIGY")
    with pytest.raises(AttributeError):
        made.lr = 2.0
    with pytest.raises(TypeError):
        made.options["d_coef"] = 2.0


def test_replace_with_another_optimizer_keeps_the_schedule_only():
    made = Settings("ADAMW", lr=3e-4, schedule="COSINE", warmup=5, beta1=0.5).replace("LION", weight_decay=0.1)
    assert (made.optimizer, made.lr, made.schedule, made.warmup) == ("LION", 1e-4, "COSINE", 5)
    assert made.options == {**{use.name: use.default for use in spec("LION").uses}, "weight_decay": 0.1}


def test_what_is_not_given_is_the_back_ends_default():
    for key in KEYS:
        assert Settings(key).values() == default_values(spec(key))
        assert Settings(key).changed() == {}
        assert Settings(key) == preset(key, "library")


@given(st.sampled_from(["float", "int", "bool", "choice", "text"]), st.one_of(st.text(), WORDS), st.booleans())
@example("int", "9" * 300, False)
@example("int", "9" * 5000, False)
@example("int", "0" * 5000, False)
@example("int", "nan", False)
@example("int", "inf", False)
@example("float", "１e5", False)
def test_typed_text_is_read_or_refused_and_reads_back(kind, text, nullable):
    value, problem = attempt(lambda: parse_value(kind, text, nullable=nullable))
    if problem is not None:
        assert str(problem)
        return
    again = parse_value(kind, format_value(value), nullable=nullable)
    assert repr(again) == repr(value) or again == value  # nan is not equal to itself
    assert type(again) is type(value)


@pytest.mark.parametrize(("kind", "example"), [("int", "write 300 or 1e3"), ("float", "write 0.9 or 1e-4$")])
def test_text_that_is_no_number_is_answered_with_one_that_fits(kind, example):
    with pytest.raises(ValueProblem, match=example):
        parse_value(kind, "many")


def test_infinity_is_an_example_only_where_it_can_be_taken():
    with pytest.raises(ValueProblem, match=r"write 0.9, 1e-4 or inf$"):
        spec("PRODIGY").use("growth_rate").option.parse("many")
    with pytest.raises(ValueProblem, match=r"write 0.9 or 1e-4$"):
        spec("PRODIGY").lr.option.parse("many")


@given(st.one_of(st.floats(allow_nan=False), st.integers(-(10**300), 10**300), st.booleans(), st.none()))
@example(1e22)
@example(-0.0)
@example(5e-324)
def test_values_that_are_written_read_back(value):
    kinds = {bool: "bool", int: "int", float: "float", type(None): "float"}
    assert parse_value(kinds[type(value)], format_value(value), nullable=True) == value
