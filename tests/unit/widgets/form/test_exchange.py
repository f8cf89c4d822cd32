"""Settings as a text: what goes out comes in again, and whatever else is pasted is explained, never executed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.widgets.form.exchange import LONGEST_TEXT, read_settings, write_settings
from diffopt_widgets.widgets.form.starts import first_valid


@pytest.mark.parametrize("optimizer", list_optimizers())
def test_every_way_of_writing_settings_is_read_back(optimizer):
    settings = first_valid(spec(optimizer)).replace(schedule="COSINE", min_factor=0.1)
    for text in (write_settings(settings), settings.to_json(), repr(settings)):
        assert read_settings(text) == settings
        assert read_settings(f"\ufeff \n{text}\n") == settings
    assert len(write_settings(settings).splitlines()) < 60


@pytest.mark.parametrize(
    "text",
    [
        "Settings('PRODIGY', lr=1, d_coef=.5, growth_rate=float('inf'), beta3=None)",
        'dw.Settings("PRODIGY", lr=1.0, d_coef=5e-1)',
        "s = Settings(\n    optimizer='PRODIGY',\n    d_coef=0.5,\n)",
        "Settings('PRODIGY', d_coef=0.5, growth_rate=math.inf)  # as the paper has it",
        '{"optimizer": "PRODIGY", "lr": 1, "options": {"d_coef": 0.5, "growth_rate": "inf"}}',
        '{"optimizer": "PRODIGY", "d_coef": 0.5}',
    ],
)
def test_settings_written_by_hand_are_read(text):
    assert read_settings(text) == Settings("PRODIGY", lr=1.0, d_coef=0.5)


def test_every_fault_is_told_with_its_option_its_value_and_what_is_allowed():
    with pytest.raises(SettingsError) as caught:
        read_settings('{"optimizer": "PRODIGY", "options": {"d_coef": -1, "beta1": 2, "d_ceof": 1, "<b>": 0}}')
    told = [str(fault) for fault in caught.value.faults]
    assert told[0] == "d_coef = -1: must be above 0."
    assert told[1].startswith("beta1 = 2: ")
    assert told[2].endswith("Did you mean d_coef?")
    assert told[3].startswith("<b> = 0: ")


NONE = "The text holds no settings. Paste the text that Copy settings copied, or Settings(…)."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There is no text. Paste the text that Copy settings copied, or Settings(…)."),
        ("  \n ", "no text"),
        ("{", NONE),
        (Settings("PRODIGY").to_json()[:60], NONE),
        ("lr = 1", NONE),
        ("[" * 10_000, NONE),
        ("9" * 10_000, ""),
        ("[]", NONE),
        ("NaN", NONE),
        ('{"format": 99, "optimizer": "PRODIGY"}', "format 99"),
        ('{"optimizer": "PRODIGYY"}', "Did you mean PRODIGY"),
        ('{"optimizer": {"optimizer": "PRODIGY"}}', NONE),
        ('{"optimizer": "PRODIGY", "lr": 1e999}', "lr"),
        ('{"optimizer": "PRODIGY", "lr": NaN}', "lr"),
        ("x" * (LONGEST_TEXT + 1), "20,001 characters"),
        ("Settings()", "Settings('PRODIGY', lr=1.0)"),
        ("Settings('PRODIGY', 1.0)", "'1.0' is not name=value"),
        ("Settings('PRODIGY', lr=1, lr=2)", "'lr=2' is not name=value"),
        ("Settings('PRODIGY', lr=lr)", "'lr' is not a value"),
        ("Settings('PRODIGY', d_coef=-1)", "d_coef = -1: must be above 0."),
        ("Settings('PRODIGY', self=1)", "self"),
        (f"Settings('PRODIGY', lr={'-' * 500}1)", "is not a value"),
        ("Settings('PRODIGY', lr=1); open('x')", NONE),
        ("Settings('PRODIGY', **{'lr': 1})", "is not name=value"),
        ("Settings('PRODIGY', lr=1 if 1else 2)", "is not a value"),
        ("a.b('Settings')", NONE),
        ("Settings('PRODIGY', growth_rate=float('information'))", "is not a value"),
        ("Settings('PRODIGY', eps=float('-inf'))", "is not a value"),
    ],
    ids=range(28),
)
def test_what_is_no_settings_says_so(text, words):
    with pytest.raises(SettingsError, match=r".") as caught:
        read_settings(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_nothing_is_executed(tmp_path):
    made = tmp_path / "made"
    for value in (f"open({str(made)!r}, 'w')", f"__import__('os').mkdir({str(made)!r})", "lr", "[1]*9", "{}"):
        with pytest.raises(SettingsError):
            read_settings(f"Settings('PRODIGY', lr={value})")
    assert not made.exists()


LIKELY = [
    "Settings(",
    "dw.",
    "'PRODIGY'",
    "lr=",
    "d_coef=",
    "1.0",
    ",",
    ")",
    "float('inf')",
    '{"optimizer":',
    "}",
    "\0",
]


def read_or_explained(text):
    """The settings, or the options that faults were found with."""
    try:
        return read_settings(text)
    except SettingsError as error:
        return [fault.option for fault in error.faults if str(fault)]


@pytest.mark.slow
@given(st.text() | st.lists(st.sampled_from(LIKELY)).map("".join))
def test_any_text_is_read_or_explained(text):
    assert read_or_explained(text)


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_any_value_in_json_is_read_or_explained(value):
    found = read_or_explained(json.dumps({"optimizer": "PRODIGY", "options": {"d_coef": value}}))
    assert found == ["d_coef"] or found.options["d_coef"] > 0
