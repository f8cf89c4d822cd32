"""Values to try as a person writes them in one line."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import ValueProblem
from diffopt_widgets.runs.typed_values import read_axis

RATE = dw.spec("ADAMW").lr
GROWTH = dw.spec("PRODIGY").use("growth_rate")
BATCH = RUN_OPTIONS["batch_size"]


@given(st.lists(st.floats(1e-8, 1.0), min_size=2, max_size=6, unique=True), st.sampled_from([", ", ";", "; ", " , "]))
def test_what_is_listed_is_tried(values, comma):
    assert read_axis(RATE, comma.join(map(repr, values))) == values


@pytest.mark.parametrize("between", [" to ", "..", " ... ", "…", " … "])
def test_a_range_has_two_ends(between):
    assert read_axis(RATE, f"1e-4{between}1e-2") == dw.Range(1e-4, 1e-2)
    assert read_axis(RATE, f"1e-4{between}1e-2 in 7").points == 7


@pytest.mark.parametrize(
    ("use", "text", "words"),
    [
        (RATE, "", "two values or more"),
        (RATE, "0.1", "two values or more"),
        (RATE, ", ,", "two values or more"),
        (RATE, "0,01", r"Write 0\.01 for one number"),
        (RATE, "1e-3, x", "'x' is not a number"),
        (RATE, "1e-3, -1", "-1 is outside of what is allowed"),
        (RATE, "1e-3, 0.001", "0.001 stands there twice"),
        (RATE, "1e-2 to 1e-4", "begins with its smaller value"),
        (RATE, "1e-4 to x", "'x' is not a number"),
        (RATE, "1e-4 to 1e-2 in 1", "2 to 1,000 values"),
        (RATE, "1e-4 to 1e-2 in " + "9" * 5000, "2 to 1,000 values"),
        (RATE, "1,2; 3,4", r"write a point in a number"),
        (GROWTH, "1.02 to inf", "two finite ends"),
        (BATCH, "1,000", "Write 1000 for one number"),
        (BATCH, "to 5", "not a"),
        (TRAINING["schedule"], "COSINE to LINEAR", "not one of the choices"),
        (TRAINING["schedule"], "COSINE", "two values or more are needed, with commas between them$"),
    ],
)
def test_what_cannot_be_tried_is_said(use, text, words):
    with pytest.raises(ValueProblem, match=words):
        read_axis(use, text)


@given(st.text(max_size=30))
def test_any_text_is_taken_or_answered(text):
    for use in (RATE, BATCH, TRAINING["schedule"]):
        with contextlib.suppress(ValueProblem):
            assert read_axis(use, text)


def test_an_empty_value_is_written_as_it_is_offered():
    assert read_axis(BATCH, "16, 32, empty") == [16, 32, None]


def test_choices_are_taken_in_any_writing():
    assert read_axis(TRAINING["schedule"], "cosine, Constant") == ["COSINE", "CONSTANT"]
