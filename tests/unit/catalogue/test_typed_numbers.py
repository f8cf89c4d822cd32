"""Numbers as people type and paste them: taken where there is one reading, asked about where there are two."""

import pytest

import diffopt_widgets as dw
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import ValueProblem, parse_value
from diffopt_widgets.cli.main import main
from diffopt_widgets.widgets.bench.run_bar import RunBar

ONE = {
    "1e−3": 1e-3,
    "1e–3": 1e-3,
    "−0.5": -0.5,
    "1\u00a0000": 1000,
    "12\u202f000.5": 12000.5,
    "1 000 000": 1e6,
    "1'000": 1000,
    "1’000’000": 1e6,
    "10k": 10_000,
    "10 K": 10_000,
    "1.5M": 1.5e6,
    "3 × 10⁻⁴": 3e-4,
    "3x10^-4": 3e-4,
    "2·10^{−3}": 2e-3,
    "2*10**-3": 2e-3,
    "10⁻⁴": 1e-4,
    "1×10−4": 1e-4,
    "1 e −4": 1e-4,
    "\u200b0.9\ufeff": 0.9,
    "１０": 10,
    "1_000": 1000,
    "1.000": 1,
    "1.125": 1.125,
}
NONE = ("3×105", "1 00", "1 2", "10m", "1.000.000", "1'00", "1'000 000", "1e3k", "١", "5²", "10-4", "1,000", "0,5", "k")
WHOLE = {
    "1.500": 1500,
    "1.000.000": 1_000_000,
    "1.0": 1,
    "1e3": 1000,
    "2k": 2000,
    "1 000": 1000,
    "−7": -7,
    "12.345": 12345,
}


@pytest.mark.parametrize(("text", "value"), ONE.items())
def test_a_number_with_one_reading_is_taken(text, value):
    assert parse_value("float", text) == value
    if float(value).is_integer() and text != "1.000":
        assert parse_value("int", text) == value
        assert isinstance(parse_value("int", text), int)


@pytest.mark.parametrize(("text", "value"), WHOLE.items())
def test_points_in_a_whole_number_group_its_digits_where_nothing_else_is_meant(text, value):
    assert parse_value("int", text) == value


@pytest.mark.parametrize("text", NONE)
@pytest.mark.parametrize("kind", ["float", "int"])
def test_a_text_without_a_reading_is_refused(kind, text):
    if (kind, text) != ("int", "1.000.000"):
        with pytest.raises(ValueProblem, match="not a"):
            parse_value(kind, text)


def test_a_large_whole_number_keeps_all_its_digits():
    assert parse_value("int", "9 007 199 254 740 993") == 9007199254740993


@pytest.mark.parametrize(("text", "readings"), [("1.000", "1 or as 1000"), ("10.000", "10 or as 10000")])
def test_a_whole_number_with_two_readings_is_asked_about_everywhere(text, readings, capsys):
    bar = RunBar(steps=50)
    bar.fields["steps"].value = text
    assert f"{text!r} can be read as {readings}; write one of these" in bar.problem
    assert bar.values["steps"] == 50
    assert main(["run", "--optimizer", "PRODIGY", "--steps", text]) != 0
    assert readings in capsys.readouterr().err
    form = dw.Form("LION")
    form.type("percentile_clipping", text)
    assert readings in form.errors["percentile_clipping"]


def test_a_pasted_number_is_taken_everywhere():
    bar = RunBar()
    bar.fields["steps"].value = "1\u00a0000"
    assert (bar.problem, bar.values["steps"]) == ("", 1000)
    form = dw.Form("LION")
    form.type("lr", "3 × 10⁻⁴")
    assert form.settings.lr == 3e-4


def test_a_comma_for_thousands_is_told_how_to_be_written():
    with pytest.raises(ValueProblem, match="write 1000 without a comma, or a point before decimals"):
        parse_value("int", "1,000")


def test_steps_of_a_warm_up_are_counted_like_whole_numbers():
    warmup = TRAINING["warmup"].option
    assert [warmup.parse(text) for text in ("1.500", "0.1", "10.5", "100")] == [1500.0, 0.1, 10.5, 100.0]
    with pytest.raises(ValueProblem, match="can be read as 1 or as 1000"):
        warmup.parse("1.000")
