"""What has rows prints as a short table and becomes a pandas frame: a history, the runs of a store, an optimizer's options."""

from __future__ import annotations

import builtins
import math

import pytest
from IPython.lib.pretty import pretty

import diffopt_widgets as dw
from diffopt_widgets.catalogue.tables import LONGEST_CELL, WIDTH, text_table


def history(steps, groups=("all",)):
    made = dw.History(groups)
    rates = (0.5,) * len(groups)
    made.extend(dw.StepRecord(i, 0.1 * i, 1 / i, rates, rates) for i in range(1, steps + 1))
    return made


@pytest.fixture
def store(tmp_path):
    made = dw.RunStore(tmp_path / "runs.sqlite")
    made.begin("first\n\x1b[31m try", history(20), {"optimizer": "PRODIGY"}).end("done")
    made.begin("n" * 200, history(3)).end("failed", "It diverged.")
    return made


def test_a_history_prints_its_first_and_last_steps():
    lines = str(history(1000)).splitlines()
    assert lines[0] == "History of 1,000 steps"
    assert lines[1].split() == ["step", "loss", "lr", "applied_lr", "seconds"]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3", "…", "998", "999", "1000"]
    assert lines[2].split() == ["1", "1", "0.5", "0.5", "0.1"]
    assert len(str(history(7)).splitlines()) == 9, "so few rows are all shown"
    assert str(history(0)) == "History without a step yet"


def test_the_runs_of_a_store_print_as_lines_that_stay_lines(store):
    head, failed, done = str(store.list()).splitlines()
    assert head.split()[:4] == ["id", "name", "status", "steps"]
    assert "done" in done
    assert "first  [31m try" in done, "no character that a terminal would obey"
    assert "failed" in failed
    assert max(map(len, (head, failed, done))) <= WIDTH
    assert repr(store.list()) == str(store.list()) == str(store.search(""))
    assert str(store.search("nothing of this")) == "no runs"
    assert store.list()[0].status == "failed"


def test_many_runs_are_cut_and_say_so(store):
    summaries = type(store.list())(store.list() * 100)
    assert str(summaries).splitlines()[-1] == "and 170 more; to_frame() has all of them"


def test_a_spec_prints_its_options():
    printed = str(dw.spec("LION_8BIT"))
    for use in (dw.spec("LION_8BIT").lr, *dw.spec("LION_8BIT").uses):
        assert any(line.startswith(use.name) for line in printed.splitlines())
    assert "not available" in printed
    assert "\n" not in repr(dw.spec("LION_8BIT"))


@pytest.mark.parametrize("key", dw.list_optimizers())
def test_every_spec_prints_within_the_width_and_frames_every_option(key):
    entry = dw.spec(key)
    assert all(len(line) <= WIDTH for line in str(entry).splitlines()[2:-1])
    assert list(entry.to_frame().index) == [use.name for use in (entry.lr, *entry.uses)]


def test_a_notebook_shows_the_table_and_a_list_one_line_each(store):
    for shown in (history(3), dw.spec("ADAMW"), store.list()):
        assert pretty(shown) == str(shown)
    assert pretty([history(3)]) == "[History(3 steps: loss, lr, applied_lr, seconds)]"


def test_frames_have_a_row_each(store):
    frame = store.list().to_frame()
    assert list(frame["status"]) == ["failed", "done"]
    assert list(frame["optimizer"]) == ["", "PRODIGY"]
    assert list(frame.index) == [run.id for run in store.list()]
    assert list(history(3).to_frame().columns) == ["loss", "lr", "applied_lr", "seconds"]
    assert list(history(3, ("a", "b")).to_frame().columns) == [
        *("loss", "lr[a]", "lr[b]", "applied_lr[a]", "applied_lr[b]", "seconds")
    ]


def test_without_pandas_every_frame_says_what_to_install(store, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == "pandas":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    run = dw.Run(dw.RunPlan("ADAMW"))
    things = (history(1), store.list(), dw.spec("ADAMW"), run, store.load(store.list()[0].id))
    monkeypatch.setattr(builtins, "__import__", without)
    for thing in things:
        with pytest.raises(ImportError, match="pip install pandas"):
            thing.to_frame()


def test_cells_are_cut_and_columns_that_do_not_fit_are_named():
    wide = text_table([f"column{i}" for i in range(40)], [["x" * 100] + [1.0] * 39])
    assert wide.splitlines()[1].startswith("x" * (LONGEST_CELL - 1) + "…")
    assert max(map(len, wide.splitlines()[:2])) <= WIDTH
    assert wide.splitlines()[2].endswith(", column39")
    assert text_table(["a", "b"], [[math.nan, None]]).split() == ["a", "b"]
