"""One owner of how runs are shown: each change is made once, all that paint it are told, and nothing of it is lost."""

import threading
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.drawing.panels import PALETTE
from diffopt_widgets.records import History
from diffopt_widgets.runs.collection import Collection
from diffopt_widgets.runs.run import Run
from diffopt_widgets.runs.shown import Shown, ShownRuns
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import name_by_difference


def run_of(d_coef, name=""):
    return Run(RunPlan(dw.Settings("PRODIGY", d_coef=d_coef), "swiss_roll", 10), name)


def painted(shown):
    """What an observer of the runs has seen of their names and what is hidden."""
    seen = []
    shown.observe(lambda: seen.append([(one.name, one.visible) for one in shown.now.values()]))
    return seen


def test_a_change_is_told_once_when_it_is_made_and_what_changes_nothing_is_not_told():
    shown = ShownRuns()
    seen, others = painted(shown), painted(shown)
    shown.add(Shown("a", "one", "red"))
    shown.change("a", visible=True)
    shown.change("a", visible=False, name="two")
    shown.edit(lambda runs: runs.update(b=Shown("b", "three", "blue"), c=Shown("c", "four", "green")))
    shown.remove("b")
    assert seen == others
    assert seen == [
        [("one", True)],
        [("two", False)],
        [("two", False), ("three", True), ("four", True)],
        [("two", False), ("four", True)],
    ]


def test_what_was_read_stays_as_it_was():
    shown = ShownRuns()
    shown.add(Shown("a", "one", "red"))
    before = shown.now
    shown.change("a", name="two")
    assert (before["a"].name, shown.now["a"].name) == ("one", "two")
    with pytest.raises(FrozenInstanceError):
        before["a"].name = "three"
    with pytest.raises(TypeError):
        before["b"] = before["a"]


def test_a_change_that_fails_changes_and_tells_nothing():
    shown = ShownRuns()
    shown.add(Shown("a", "one", "red"))
    seen, before = painted(shown), shown.now
    for change, error in (
        (lambda: shown.add(Shown("a", "again", "red")), ValueError),
        (lambda: shown.change("b", name="x"), KeyError),
        (lambda: shown.change("a", size=1), TypeError),
        (lambda: shown.remove("b"), KeyError),
    ):
        with pytest.raises(error):
            change()
    assert (shown.now, seen) == (before, [])


@pytest.mark.slow
def test_of_changes_in_several_threads_none_is_lost():
    shown = ShownRuns()
    ready = threading.Barrier(8)

    def work(number):
        ready.wait()
        for i in range(200):
            shown.add(Shown(f"{number} {i}", "", "red"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown.now) == 8 * 200


@pytest.mark.slow
@given(st.lists(st.sampled_from(["add", "remove first", "remove last", "restore", "hide first"]), max_size=25))
def test_runs_come_back_as_they_were_shown_each_at_its_place(actions):
    collection, removed = Collection(), []
    for action in actions:
        runs = collection.runs
        if action == "add":
            collection.add(run_of(1.0, f"run {len(runs)}"))
        elif action == "restore":
            key = collection.restore()
            if not removed:
                assert key is None
            else:
                before, there = removed.pop()
                assert collection.shown.now[key] == before
                assert [one.key for one in collection.runs if one.key in there] == [
                    one for one in there if one in collection
                ]
        elif runs and action == "hide first":
            collection.shown.change(runs[0].key, visible=False)
        elif runs:
            gone = runs[0 if action == "remove first" else -1]
            removed.append((collection.shown.now[gone.key], [one.key for one in runs]))
            collection.remove(gone.key)
    assert [run.key for run in collection.runs] == list(collection.shown.now)
    assert collection.removed == (removed[-1][0].name if removed else "")


def test_compared_runs_are_named_by_what_sets_them_apart_and_a_given_name_stays():
    collection = Collection(compares=True)
    first, second = run_of(0.5), run_of(1.0)
    collection.add(first)
    seen = painted(collection.shown)
    collection.add(second)
    names = name_by_difference([first.plan, second.plan])
    assert seen == [[(name, True) for name in names]]  # at once
    collection.rename(first.key, "mine")
    collection.add(third := run_of(2.0, "of yesterday"), keep_name=True)
    assert [run.name for run in collection.runs] == ["mine", names[1], "of yesterday"]
    assert [one.name for one in collection.shown.now.values()] == [run.name for run in collection.runs]
    assert [one.details for one in collection.shown.now.values()] == [
        {"d_coef": "0.5"},
        {"d_coef": "1"},
        {"d_coef": "2"},
    ]
    collection.remove(third.key)
    assert collection.restore() == third.key
    assert collection.shown.now[third.key].name == "of yesterday"


def test_runs_stand_together_by_the_first_option_that_has_several_settings_each():
    collection = Collection(compares=True)
    for d_coef in (0.5, 1.0):
        for beta2 in (0.9, 0.99):
            collection.add(Run(RunPlan(dw.Settings("PRODIGY", d_coef=d_coef, beta2=beta2), "swiss_roll", 10)))
        groups = [one.group for one in collection.shown.now.values()]
        assert groups == (["d_coef 0.5"] * 2 + ["d_coef 1"] * 2 if d_coef == 1 else ["", ""])
    collection.add(Run(RunPlan(dw.Settings("PRODIGY", d_coef=2.0, beta2=0.9), "swiss_roll", 10)))
    groups = [one.group for one in collection.shown.now.values()]
    assert groups == [f"beta2 {beta2}" for beta2 in (0.9, 0.99, 0.9, 0.99, 0.9)]  # d_coef 2 would head a single one


def test_a_table_and_a_plot_of_one_collection_paint_the_same():
    collection = Collection()
    table, plot = dw.RunsTable(collection=collection), dw.LivePlot(shown=collection.shown)
    collection.add(run := run_of(1.0, "one"))
    run.end("stopped")
    plot.draw_run(run.key, run.history)
    plot.add_run("log", "from a log", History(("all",)))  # no row: it is no run of the bench
    plot._answer(None, {"k": "visible", "id": plot.runs[0]["id"], "visible": False}, [])
    assert (table.visible, plot.curves()[0].name) == ({run.key: False}, "from a log")
    table._handle_custom_msg({"k": "visible", "key": run.key, "visible": True}, [])
    table._handle_custom_msg({"k": "rename", "key": run.key, "name": "two"}, [])
    assert [(one["name"], one["visible"]) for one in plot.runs] == [("two", True), ("from a log", True)]
    plot.rename_run(run.key, "three")
    assert (table.names, run.name) == ({run.key: "three"}, "three")
    run.rename("four")
    table.show(run)
    assert [one["name"] for one in plot.runs] == ["four", "from a log"]
    table._handle_custom_msg({"k": "remove", "key": run.key}, [])
    assert [one["key"] for one in plot.runs] == ["log"]
    table._handle_custom_msg({"k": "restore"}, [])
    assert (table.rows[0]["name"], table.rows[0]["color"], plot.runs[0]["color"]) == ("four", *PALETTE[:2])
    assert not plot.has_run(run.key)  # whoever drew its curves draws them again
