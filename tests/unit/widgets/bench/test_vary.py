"""Rows of the bench in which options are varied."""

import asyncio

import pytest

import diffopt_widgets as dw
from diffopt_widgets.catalogue.values import ValueProblem
from diffopt_widgets.widgets.bench.run_bar import RunBar
from diffopt_widgets.widgets.bench.vary import Vary

PLAN = dw.RunPlan(dw.Settings("PRODIGY"), "swiss_roll", 3)


def varying(rows, seeds="1"):
    box = Vary(PLAN.settings)
    for place, (name, text) in enumerate(rows):
        box.fields[place].value, box.texts[place].value = name, text
    box.number.value = seeds
    return box


@pytest.mark.slow
def test_run_trains_every_combination_with_every_seed_and_judges_them():
    async def script():
        bench = dw.lab(PLAN.settings, task="swiss_roll", steps=3)
        bench.vary.fields[0].value, bench.vary.texts[0].value = "d_coef", "0.5, 2"
        bench.vary.number.value = "2"
        bench.bar.run.click()
        await bench.wait()
        return bench

    bench = asyncio.run(script())
    assert [(run.settings.options["d_coef"], run.plan.seed, run.status) for run in bench.runs] == [
        (d_coef, seed, "done") for d_coef in (0.5, 2.0) for seed in (0, 1)
    ]
    assert len(bench.verdict.runs) == 4
    bench.close()


def test_optimizers_are_varied_with_the_options_that_they_have():
    plans = varying([("optimizer", "ADAMW, PRODIGY"), ("d_coef", "0.5, 1")]).plans(PLAN)
    assert [(plan.settings.optimizer, plan.settings.options.get("d_coef")) for plan in plans] == [
        ("ADAMW", None),
        ("PRODIGY", 0.5),
        ("PRODIGY", 1.0),
    ]


def test_nothing_chosen_is_one_run_and_a_row_without_values_is_no_error():
    assert varying([]).plans(PLAN) == [PLAN]
    box = varying([("lr", "")])
    assert box.plans(PLAN) == [PLAN]
    assert "Write the values to try" in box.words.value


@pytest.mark.parametrize(
    ("rows", "seeds", "words"),
    [
        ([("d_coef", "0.5, x")], "1", "D coefficient: 'x' is not a number"),
        ([("lr", "0.1, 1"), ("lr", "0.2, 1")], "1", "Learning rate: it is varied in another row already"),
        ([("optimizer", "ADAMW")], "1", "Optimizer: two optimizers or more"),
        ([("optimizer", "adamw, ADAMW")], "1", "Optimizer: an optimizer stands there twice"),
        (
            [("lr", "1e-4 to 1e-2 in 999"), ("d_coef", "0.1 to 3 in 999"), ("beta1", "0 to 0.9 in 999")],
            "9",
            "up to 8,97",
        ),
        ([], "00000000199999", "Seeds: must be"),
        ([], "0", "Seeds: must be a whole number from 1 to 100"),
        ([], "9" * 5000, "Seeds: must be"),
        ([("lr", "1e-4 to 1e-2 in 100"), ("d_coef", "0.1 to 3 in 50")], "1", "These are up to 5,000 runs"),
    ],
)
def test_what_is_wrong_is_said_and_no_plan_is_made(rows, seeds, words):
    with pytest.raises(ValueProblem, match=words):
        varying(rows, seeds).plans(PLAN)


def test_run_is_off_while_a_row_is_wrong_and_on_again_when_it_is_corrected():
    box = Vary(PLAN.settings)
    bar = RunBar("swiss_roll", 3, vary=box)
    box.fields[0].value, box.texts[0].value = "d_coef", "1, "
    assert bar.run.disabled
    assert "D coefficient: two values" in bar.problem
    box.texts[0].value = "1, 2"
    assert not bar.run.disabled
    assert len(bar.plans(PLAN.settings)) == 2
    assert box.switch.description == "Varies: D coefficient"


def test_a_row_keeps_its_values_while_another_optimizer_is_looked_at():
    box = varying([("d_coef", "0.5, 2")])
    box.offer(dw.Settings("ADAMW"))
    assert (box.fields[0].value, box.texts[0].value) == ("d_coef", "0.5, 2")
    assert "has no such option" in box.problem
    box.offer(dw.Settings("PRODIGY"))
    assert box.problem == ""
    assert box.over == {"d_coef": [0.5, 2.0]}


def test_a_row_in_use_is_in_sight_whatever_stands_above_it():
    box = varying([("d_coef", "0.5, 1"), ("lr", "0.5, 1")])
    box.fields[0].value = ""
    assert [row.layout.display for row in box._rows] == [None, None, None]
    assert box.over == {"lr": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("accumulation", "1 to 3")], "Run trains 3 values of"),
        ([("optimizer", "ADAMW, PRODIGY"), ("d_coef", "0.5, 1, 2")], "varied only for the optimizers that have it"),
    ],
)
def test_what_run_will_train_is_said_as_it_is(rows, words):
    assert words in varying(rows).words.value
