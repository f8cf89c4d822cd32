"""The draft of the form: nothing typed is lost, nothing typed raises, and there is always something valid to run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.schedules import TRAINING_DEFAULTS
from diffopt_widgets.settings import Settings, SettingsError, default_values, preset
from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.parsed import text_of

LIKELY = ["1e-4", ".9", "0", "-1", "1", "inf", "none", "", "true", "False", "1e999", "0,5", "COSINE", "<b>x</b>", "９"]
TEXTS = st.one_of(st.sampled_from(LIKELY), st.text(max_size=20), st.floats().map(repr), st.integers().map(str))


def names(optimizer):
    return list(default_values(spec(optimizer)))


@pytest.mark.parametrize("optimizer", list_optimizers())
def test_every_optimizer_starts_without_an_error(optimizer):
    draft = Draft.begin("PRODIGY").choose(optimizer)
    assert draft.errors == {}
    assert draft.settings == Draft.begin(optimizer).settings == draft.last_good
    assert draft.last_good.optimizer == optimizer


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_sequence_keeps_every_text_and_something_valid(data):
    draft = Draft.begin("PRODIGY")
    typed = {}
    for _ in range(data.draw(st.integers(1, 12), label="steps")):
        match data.draw(st.sampled_from(["type", "type", "type", "choose", "load", "fix", "reset", "advise"])):
            case "type":
                name = data.draw(st.sampled_from(names(draft.optimizer)))
                text = data.draw(TEXTS)
                draft = draft.type(name, text)
                typed["" if name in TRAINING_DEFAULTS else draft.optimizer, name] = text
            case "choose":
                draft = draft.choose(data.draw(st.sampled_from(list_optimizers())))
            case "load":
                key = data.draw(st.sampled_from([preset.key for preset in draft.spec.presets]))
                draft = draft.load(key)
                typed = {
                    (owner, name): typed[owner, name] for owner, name in typed if owner not in {draft.optimizer, ""}
                }
            case command:
                name = data.draw(st.sampled_from(names(draft.optimizer)))
                before = draft.texts
                draft = getattr(draft, command)(name)
                moved = {other for other in before if before[other] != draft.texts[other]}
                typed = {
                    (owner, other): text
                    for (owner, other), text in typed.items()
                    if owner not in {draft.optimizer, ""} or other not in moved
                }
        assert Settings(draft.last_good.optimizer, **draft.last_good.values()) == draft.last_good
        assert draft.last_good.optimizer == draft.optimizer
        assert (draft.settings is None) == bool(draft.errors)
        for (owner, name), text in typed.items():
            shown = draft.choose(owner or draft.optimizer)
            assert shown.texts[name] == text


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.sampled_from(list_optimizers()), st.data())
def test_a_text_is_right_exactly_when_settings_take_it(optimizer, data):
    name = data.draw(st.sampled_from(names(optimizer)))
    draft = Draft.begin(optimizer).type(name, data.draw(TEXTS))
    if draft.errors:
        assert draft.settings is None
    else:
        assert Settings(optimizer, **draft.values) == draft.settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lr", "1e-4", 1e-4),
        ("lr", "0.0001", 1e-4),
        ("lr", "1E-4", 1e-4),
        ("lr", ".9", 0.9),
        ("lr", " 0.9 ", 0.9),
        ("lr", "\t0.9\n", 0.9),
        ("lr", "+1", 1.0),
        ("lr", "1_000", 1000.0),
        ("slice_p", "1e3", 1000),
        ("slice_p", "5.", 5),
        ("growth_rate", "inf", float("inf")),
        ("growth_rate", "+Infinity", float("inf")),
        ("beta3", "None", None),
        ("beta3", "none", None),
        ("beta3", "", None),
        ("beta3", "  ", None),
        ("decouple", "False", False),
        ("schedule", " COSINE ", "COSINE"),
    ],
)
def test_values_are_read_as_people_write_them(name, text, value):
    draft = Draft.begin("PRODIGY").type(name, text)
    assert draft.errors == {}
    assert draft.settings.values()[name] == value
    assert draft.texts[name] == text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("lr", "", "a number is needed here, such as 1e-4"),
        ("lr", "None", "a number is needed here"),
        ("lr", "1e999", "1e999 is too large for a number"),
        ("lr", "-1e999", "-1e999 is too large for a number"),
        ("lr", "-1", "Must be above 0."),
        ("lr", "inf", "inf is not a finite number. Allowed: above 0."),
        ("lr", "nan", "nan is not a finite number. Allowed: above 0."),
        ("lr", "0,5", "write a point, not a comma"),
        ("lr", "5²", "'5²' is not a number"),
        ("lr", "٣", "'٣' is not a number"),
        ("lr", "−1", "Must be above 0."),
        ("lr", "1\0", "'1\\x00' is not a number"),
        ("lr", "\0", "'\\x00' is not a number"),
        ("lr", "<b>1</b>", "'<b>1</b>' is not a number"),
        ("lr", "9" * 10_000, "… (10000 characters) is too large"),
        ("lr", "x" * 10_000, "… (10000 characters)' is not a number"),
        ("slice_p", "1.5", "'1.5' is not a whole number. Allowed: a whole number, at least 1."),
        ("slice_p", "9" * 10_000, "is too large"),
        ("slice_p", "inf", "'inf' is not a whole number"),
        ("beta3", "1", "Must be from 0 to below 1, or empty (√beta2)."),
        ("decouple", "maybe", "'maybe' is neither true nor false"),
        ("schedule", "cosin", "'cosin' is not one of the choices"),
    ],
    ids=range(22),
)
def test_what_cannot_be_used_is_marked_where_it_stands_in_a_short_sentence(name, text, words):
    draft = Draft.begin("PRODIGY").type(name, text)
    assert list(draft.errors) == [name]
    assert words in draft.errors[name]
    assert "Allowed: " in draft.errors[name] or draft.errors[name].startswith("Must be ")
    assert "inf" not in draft.errors[name] or text == "inf"  # no control here takes it
    assert len(draft.errors[name]) < 250
    assert draft.texts[name] == text
    assert draft.last_good == Draft.begin("PRODIGY").last_good


def test_a_wrong_text_keeps_the_last_right_value_and_lets_the_others_change():
    draft = Draft.begin("PRODIGY").type("d_coef", "0.5").type("d_coef", "0.5x").type("lr", "2")
    assert list(draft.errors) == ["d_coef"]
    assert "'0.5x' is not a number" in draft.errors["d_coef"]
    assert draft.texts["d_coef"] == "0.5x"
    assert draft.settings is None
    assert (draft.last_good.options["d_coef"], draft.last_good.lr) == (0.5, 2.0)
    assert draft.type("d_coef", "0.7").settings.options["d_coef"] == 0.7


def test_several_faults_are_marked_at_once():
    draft = Draft.begin("PRODIGY").type("d_coef", "-1").type("beta1", "one").type("warmup", "")
    assert set(draft.errors) == {"d_coef", "beta1", "warmup"}


def test_options_are_kept_for_each_optimizer_and_the_schedule_goes_along():
    draft = Draft.begin("ADAM").type("beta1", "0.80").type("lr", "oops").type("schedule", "COSINE")
    other = draft.choose("ADAMW")
    assert (other.texts["beta1"], other.texts["schedule"]) == ("0.9", "COSINE")
    assert other.errors == {}
    back = other.type("beta1", "0.7").choose("ADAM")
    assert (back.texts["beta1"], back.texts["lr"], back.texts["schedule"]) == ("0.80", "oops", "COSINE")
    assert back.last_good.optimizer == "ADAM"
    assert back.last_good.options["beta1"] == 0.8


def test_a_clash_between_options_is_marked_and_fixed():
    draft = Draft.begin("SGD").type("nesterov", "true").type("momentum", "0")
    (marked,) = draft.errors
    assert marked in {"nesterov", "momentum"}
    assert draft.parsed.related == {"nesterov", "momentum"} - {marked}
    assert draft.fix(marked).errors == {}


def test_a_warning_leaves_the_settings_valid_and_offers_its_fix():
    draft = Draft.begin("PRODIGY").type("lr", "1e-4")
    assert draft.settings == Settings("PRODIGY", lr=1e-4)
    assert "learning rate" in draft.parsed.warnings["lr"]
    assert draft.fix("lr").last_good.lr == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list_optimizers())
def test_presets_say_what_they_load(optimizer):
    for offered in spec(optimizer).presets:
        loaded = Draft.begin(optimizer).type("lr", "123").load(offered.key)
        assert loaded.settings == preset(optimizer, offered.key)
        assert offered.key in loaded.parsed.presets
        assert all(preset(optimizer, key) == loaded.settings for key in loaded.parsed.presets)


def test_library_defaults_put_everything_back():
    draft = Draft.begin("PRODIGY").type("schedule", "REX").type("d_coef", "3").type("lr", "x").load("library")
    assert draft.parsed.changed == frozenset()
    assert "library" in draft.parsed.presets
    assert draft.type("d_coef", "x").parsed.presets == []


def test_showing_settings_leaves_texts_that_already_say_them():
    draft = Draft.begin("PRODIGY").type("d_coef", "5e-1").type("beta1", "x")
    shown = draft.show(draft.last_good.replace(lr=2.0))
    assert (shown.texts["d_coef"], shown.texts["lr"], shown.texts["beta1"]) == ("5e-1", "2", "0.9")
    assert shown.errors == {}


@pytest.mark.slow
def test_recommended_and_default_values_are_one_call_away():
    for optimizer in list_optimizers():
        draft = Draft.begin(optimizer)
        for use in (draft.spec.lr, *draft.spec.uses):
            if use.advice:
                advised = draft.texts[use.name] if use.advice.by_mode else text_of(use.advice.value)
                assert draft.advise(use.name).texts[use.name] == advised
            assert draft.type(use.name, "?").reset(use.name).texts[use.name] == text_of(use.default)


def test_greyed_controls_say_why_and_a_wrong_one_is_never_greyed():
    draft = Draft.begin("PRODIGY")
    assert "cycles" in draft.parsed.greyed["cycles"]
    assert "cycles" not in draft.type("schedule", "COSINE_WITH_RESTARTS").parsed.greyed
    assert "cycles" not in draft.type("cycles", "many").parsed.greyed


def test_what_is_not_there_is_named():
    draft = Draft.begin("PRODIGY")
    with pytest.raises(KeyError, match="PRODIGY has no option 'd_cof'; there are lr"):
        draft.type("d_cof", "1")
    with pytest.raises(KeyError):
        draft.choose("NO_SUCH")
    with pytest.raises(KeyError):
        draft.load("no such")
    with pytest.raises(SettingsError, match="no such optimizer"):
        Draft.begin("NO_SUCH")


def test_an_option_of_the_form_is_the_catalogue_s_own():
    assert Draft.begin("ADAM").use("beta1") is spec("ADAM").use("beta1")


def test_a_choice_under_another_programs_name_is_shown_as_its_control_has_it():
    draft = Draft.begin("PRODIGY").type("schedule", "constant_with_warmup").type("lr_scaler", "both")
    assert (draft.texts["schedule"], draft.texts["lr_scaler"], draft.errors) == ("CONSTANT", "BOTH", {})
