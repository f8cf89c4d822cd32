"""Options whose value is a text, from the keyboard to the file and back: Muon's hidden layers."""

import ast
import json

import ipywidgets
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import LONGEST_VALUE, ValueProblem, format_value
from diffopt_widgets.cli.arguments import read_plan
from diffopt_widgets.interop.code import to_python
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.exchange import read_settings, write_settings
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.parsed import text_of
from diffopt_widgets.widgets.tables.differences import compare_settings

NAME = "muon_hidden_layers"
NAMES = Option("names", "Names", "text", "Pieces of names.", nullable=True, null_words="all of them")
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


def layers(text):
    return Settings("MUON", **{NAME: text})


@pytest.mark.slow
@given(TEXTS)
@example("blocks, attn")
@example(r"blocks\.\d{2}\.(q|k), 'a' \"b\"")
@example("inf")
@example("None")
@example("torch.float32")
@example("0")
def test_a_text_goes_out_and_comes_in_again_wherever_it_passes(text):
    if not text.strip().isprintable():
        with pytest.raises(SettingsError, match="single line"):
            layers(text)
        return
    settings = layers(text)
    value = settings.options[NAME]
    assert value is None or value == text.strip()
    assert (value is None) == (text.strip().lower() in {"", "none", "null"})
    assert Settings.from_json(settings.to_json()) == settings
    assert read_settings(write_settings(settings)) == settings
    assert read_settings(repr(settings)) == settings
    assert eval(repr(settings), {"Settings": Settings}) == settings  # noqa: S307  # our own
    assert NAMES.check(NAMES.parse(text_of(value))) == value
    draft = Draft.begin("MUON").put({NAME: text})
    assert (draft.settings, draft.errors) == (settings, {})
    assert Draft.begin(settings).texts[NAME] == text_of(value)
    assert settings.replace(lr=0.5).options[NAME] == value


@pytest.mark.parametrize("wrong", [1, 0.5, True, ["blocks"], b"blocks"])
def test_what_is_no_text_is_refused(wrong):
    with pytest.raises(SettingsError, match=f"{NAME}.*is not a text.*any text of one line, or empty"):
        layers(wrong)


def test_a_text_has_a_length_and_one_line():
    assert layers("a" * LONGEST_VALUE).options[NAME] == "a" * LONGEST_VALUE
    with pytest.raises(SettingsError, match="1,001 characters") as caught:
        layers("a" * (LONGEST_VALUE + 1))
    assert len(str(caught.value)) < 300
    for text in ("blocks\nattn", "blocks\tattn", "blocks\0attn"):
        with pytest.raises(SettingsError, match="single line"):
            layers(text)
    with pytest.raises(ValueProblem, match="a value is needed"):
        Option("name", "Name", "text", "A name.").parse(" ")


def test_the_form_shows_a_line_to_type_into_and_answers():
    form = Form("MUON")
    control = form.panel["controls"][NAME]
    assert (control["kind"], control["placeholder"], control["default"]) == ("text", "told by name and shape", "")
    assert "slider" not in control
    assert form.draft.parsed.greyed["muon_adam_regex"] == "only with muon_hidden_layers set"
    form.type(NAME, "blocks, (attn")
    assert form.settings.options[NAME] == "blocks, (attn"
    form.type("muon_adam_regex", "true")
    assert "not a regular expression" in form.errors[NAME]
    form.type(NAME, r"blocks\.\d, attn")
    assert not form.errors
    assert form.settings.options[NAME] == r"blocks\.\d, attn"
    form.type(NAME, "")
    assert form.settings == Settings("MUON", muon_adam_regex=True)


def test_a_plain_control_for_a_lesson_is_a_line_of_text():
    form = Form("MUON")
    line = form.slider(NAME)
    assert isinstance(line, ipywidgets.Text)
    assert line.placeholder == "told by name and shape"
    line.value = "blocks"
    assert form.settings.options[NAME] == "blocks"
    form.type(NAME, "attn")
    assert line.value == "attn"
    line.value = ""
    assert form.settings.options[NAME] is None


def test_commas_on_the_command_line_belong_to_the_text():
    plan, over = read_plan("MUON", {}, [f"{NAME}=blocks,attn", "lr=0.01,0.02"])
    assert plan.settings.options[NAME] == "blocks,attn"
    assert over == {"lr": [0.01, 0.02]}


def test_differences_show_the_text_and_what_empty_means():
    plans = [dw.RunPlan(Settings("MUON")), dw.RunPlan(layers("blocks"))]
    (line,) = [line for line in compare_settings(plans) if line.name == NAME]
    assert line.values == ("told by name and shape", "blocks")
    assert line.differs


@pytest.mark.slow
@given(TEXTS.filter(lambda text: text.strip().isprintable()))
def test_copied_code_holds_the_pieces_as_they_are(text):
    code = to_python(layers(text))
    ast.parse(code)
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if layers(text).options[NAME] is not None:
        assert repr(pieces) in code


def test_json_holds_a_text_as_a_text():
    assert json.loads(layers("inf").to_json())["options"][NAME] == "inf"
    assert format_value("blocks") == "blocks"
