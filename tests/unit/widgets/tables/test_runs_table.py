"""The table of runs without a browser: its traits, its messages, and what it does with the page's wishes."""

import asyncio
import threading

import ipywidgets
import pytest
from wires import keep_messages, kept

import diffopt_widgets as dw
from diffopt_widgets.drawing.panels import PALETTE
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.runs.collection import UNDO_STEPS
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.widgets.tables.differences import compare_settings
from diffopt_widgets.widgets.tables.run_row import LONGEST_NAME

NASTY = '<img src=x onerror="alert(1)">'


@pytest.fixture
def wire(monkeypatch):
    """Widgets made in this test have a page; `wire(table)` gives and forgets what went out to it."""
    keep_messages(monkeypatch)

    def take(table):
        messages = [data for _, data, _ in kept(table.comm)]
        kept(table.comm).clear()
        return messages

    return take


def run_of(name="", *, steps=10, taken=0, status="done", **options):
    run = Run(
        RunPlan(dw.Settings("PRODIGY", **options), "swiss_roll", steps), name, status=status, history=History(("all",))
    )
    step(run, taken)
    return run


def step(run, count=1):
    first = len(run.history) + 1
    run.history.extend(
        StepRecord(n, 0.1 * n, loss=1 / n, lr=(1.0,), applied_lr=(1e-3,)) for n in range(first, first + count)
    )


class Heard(list):
    """Callbacks that write down what they are called with."""

    def all(self):
        names = ("rename", "visible", "remove", "restore", "repeat", "continue")
        return {f"on_{name}": lambda *values, name=name: self.append((name, *values)) for name in names}


def page(table, kind, run=None, **content):
    """Do what a person would do in the page."""
    table._handle_custom_msg({"k": kind, **({"key": run.key} if run else {}), **content}, [])


@pytest.mark.slow
def test_it_shows_what_a_sweep_returns_with_no_wiring():
    runs = dw.sweep(
        dw.Settings("PRODIGY"), {"d_coef": [0.5, 1.0]}, task="swiss_roll", steps=5, executor=None, progress=False
    )
    table = dw.RunsTable(runs)
    assert list(table.names.values()) == ["PRODIGY · d_coef 0.5", "PRODIGY · d_coef 1"]
    assert [row["color"] for row in table.rows] == list(PALETTE[:2])
    assert [row["status"] for row in table.rows] == ["done", "done"]
    first = table.rows[0]
    for name in ("final_loss", "best_loss", "eval_after", "applied_plateau", "steps_per_second", "state_bytes"):
        assert first[name] == getattr(runs[0], name) is not None
    assert table.offers == {"repeat": False, "continue": False, "stop": False}
    assert table.runs == tuple(runs)
    page(table, "rename", runs[0], name="half")
    page(table, "visible", runs[0], visible=False)
    page(table, "remove", runs[1])
    assert (runs[0].name, table.visible) == ("half", {runs[0].key: False})
    page(table, "restore")
    assert table.runs == tuple(runs)


def test_it_is_an_ordinary_widget():
    table = dw.RunsTable(layout={"width": "300px"})
    assert table.layout.width == "300px"
    assert ipywidgets.VBox([table]).children == (table,)
    seen = []
    table.observe(lambda change: seen.append([row["name"] for row in change["new"]]), "rows")
    table.add(run_of("a"))
    table.add(run_of("b"))
    assert seen == [["a"], ["a", "b"]]
    with pytest.raises(TypeError, match="on_click"):
        dw.RunsTable(on_click=print)
    with pytest.raises(Exception, match="read-only"):
        table.rows = []


def test_the_first_message_holds_everything():
    state = dw.RunsTable([run_of("a"), run_of("b", d_coef=0.5)], on_repeat=print).get_state()
    assert [row["name"] for row in state["rows"]] == ["a", "b"]
    assert state["offers"] == {"repeat": True, "continue": False, "stop": False}
    assert [line["name"] for line in state["comparison"]["lines"] if any(line["unusual"])] == ["d_coef"]
    assert "export default withKernel({ initialize, render })" in state["page_code"]
    assert ".dwr" in state["_css"]


def test_what_a_person_does_is_done_and_then_told():
    heard = Heard()
    table = dw.RunsTable(**heard.all())
    a, b = run_of("a", status="stopped"), run_of("b")
    for run in (a, b):
        table.add(run)
    page(table, "rename", a, name="  my\nrun ")
    page(table, "visible", b, visible=False)
    page(table, "repeat", b)
    page(table, "continue", a)
    page(table, "remove", a)
    assert (a.name, table.visible, table.removed) == ("my run", {b.key: False}, "my run")
    page(table, "restore")
    assert heard == [
        ("rename", a.key, "my run"),
        ("visible", b.key, False),
        ("repeat", b.key),
        ("continue", a.key),
        ("remove", a.key),
        ("restore", a.key),
    ]


def test_what_code_does_is_not_told():
    heard = Heard()
    table = dw.RunsTable([a := run_of("a")], **heard.all())
    table.add(b := run_of("b"), "#123456", differs="x", visible=False)
    table.rename(a.key, "c")
    table.set_visible(b.key, True)
    table.set_differs(a.key, "y")
    table.remove(a.key)
    assert table.restore() == a.key
    assert table.restore() is None
    assert heard == []
    assert [(row["name"], row["differs"], row["visible"]) for row in table.rows] == [("c", "y", True), ("b", "x", True)]
    assert table.rows[1]["color"] == "#123456"


def test_a_callback_may_set_the_table_from_code_without_a_loop():
    heard = []

    def renamed(key, name):
        heard.append(name)
        table.rename(key, name.upper())

    table = dw.RunsTable([run := run_of("a")], on_rename=renamed)
    page(table, "rename", run, name="b")
    assert (heard, run.name, table.names) == (["b"], "B", {run.key: "B"})


def test_removals_are_undone_one_after_the_other_each_at_its_place():
    runs = [run_of(name) for name in "abcd"]
    table = dw.RunsTable(runs)
    for i in (1, 0, 3):
        table.remove(runs[i].key)
    assert ([run.name for run in table.runs], table.removed) == (["c"], "d")
    table.add(new := run_of("new"))
    seen = []
    while table.restore():
        seen.append(("".join(run.name for run in table.runs if run is not new), table.removed))
    assert seen == [("cd", "a"), ("acd", "b"), ("abcd", "")]


def test_a_run_that_comes_back_keeps_its_colour_and_whether_it_is_shown():
    runs = [run_of(name) for name in "ab"]
    table = dw.RunsTable(runs)
    table.set_visible(runs[0].key, False)
    row = table.rows[0]
    table.remove(runs[0].key)
    table.add(run_of("c"))
    assert table.rows[-1]["color"] == PALETTE[2]
    table.restore()
    assert table.rows[0] == row


@pytest.mark.slow
def test_removed_runs_are_not_kept_for_ever():
    runs = [run_of(f"{i}") for i in range(UNDO_STEPS + 3)]
    table = dw.RunsTable(runs)
    for run in runs:
        table.remove(run.key)
    back = 0
    while table.restore():
        back += 1
    assert back == UNDO_STEPS


def test_a_removed_run_that_is_added_anew_cannot_come_back_twice():
    table = dw.RunsTable([run := run_of("a")])
    table.remove(run.key)
    table.add(run)
    assert (table.removed, table.restore(), len(table.rows)) == ("", None, 1)
    with pytest.raises(ValueError, match="in the table already"):
        table.add(run)


@pytest.mark.parametrize(
    ("status", "reason"),
    [("running", "still running"), ("paused", "it is paused"), ("waiting", "it waits for its turn")],
)
def test_a_run_that_has_not_ended_is_neither_removed_nor_continued(status, reason):
    heard = Heard()
    table = dw.RunsTable([run := run_of("a", status=status)], **heard.all())
    assert (table.rows[0]["cannot_remove"], table.rows[0]["cannot_continue"]) == (reason, reason)
    page(table, "remove", run)
    page(table, "continue", run)
    assert (table.runs, heard) == ((run,), [])


def test_continue_says_why_it_cannot():
    why = {
        run.name: dw.RunsTable([run]).rows[0]["cannot_continue"]
        for run in (
            run_of("done"),
            run_of("failed", status="failed"),
            run_of("stopped", status="stopped"),
            run_of("elsewhere", status="stopped", taken=3),
        )
    }
    assert why["done"] == "a finished run's schedule has ended"
    assert why["failed"] == "a failed run would fail again"
    assert why["stopped"] == ""
    assert "not kept" in why["elsewhere"]


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 10_000, "x" * (LONGEST_NAME + 1)])
def test_a_name_that_cannot_be_is_refused_with_the_reason(wire, text):
    heard = Heard()
    table = dw.RunsTable([run := run_of("a")], **heard.all())
    wire(table)
    page(table, "rename", run, name=text)
    (message,) = wire(table)
    assert message["content"]["k"] == "named"
    assert ("at most" if text.strip() else "needs a name") in message["content"]["wrong"]
    assert (run.name, heard, table.notice) == ("a", [], "")
    with pytest.raises(ValueError, match="name"):
        table.rename(run.key, text)


def test_a_name_is_text_whatever_it_holds(wire):
    table = dw.RunsTable([run := run_of("a")])
    wire(table)
    for name in (NASTY, "x" * LONGEST_NAME, "\ud800half", "名前 🎛"):
        page(table, "rename", run, name=name)
        assert run.name == name.encode("utf-8", "replace").decode()
        run.name.encode()
        assert wire(table)[-1]["content"] == {"k": "named", "key": run.key, "wrong": ""}


def test_while_a_run_trains_only_its_own_row_is_sent(wire):
    runs = [run_of(name, status="running", steps=1000) for name in "abc"]
    table = dw.RunsTable(runs)
    wire(table)
    step(runs[1])
    table.show(runs[1])
    (message,) = wire(table)
    assert message["method"] == "custom"
    assert message["content"] == {"k": "row", "row": table.rows[1]}
    assert table.rows[1]["progress"] == 1 / 1000
    assert table.get_state("rows")["rows"][1]["progress"] == 1 / 1000  # what a reloaded page gets
    for _ in range(10):
        table.show(runs[1])
    assert wire(table) == []


def test_a_change_of_status_sends_the_whole_table_so_that_lost_rows_are_fixed(wire):
    runs = [run_of(name, status="running") for name in "ab"]
    table = dw.RunsTable(runs)
    wire(table)
    runs[0].end("done")
    table.show(runs[0])
    (message,) = wire(table)
    assert message["method"] == "update"
    assert [row["status"] for row in message["state"]["rows"]] == ["done", "running"]


def test_what_changes_nothing_sends_nothing(wire):
    runs = [run_of(name, taken=5) for name in "ab"]
    table = dw.RunsTable(runs)
    wire(table)
    table.rename(runs[0].key, "a")
    table.set_visible(runs[0].key, True)
    table.set_differs(runs[0].key, table.rows[0]["differs"])
    table.show(runs[0])
    table.show(run_of("not in the table"))
    assert wire(table) == []


def test_adding_and_hiding_send_one_message_each(wire):
    table = dw.RunsTable([run_of("a")])
    wire(table)
    table.add(run := run_of("b"))
    assert len(wire(table)) == 1
    table.set_visible(run.key, False)
    (message,) = wire(table)
    assert set(message["state"]) == {"rows", "comparison"}


def test_an_observer_that_renames_meanwhile_leaves_nothing_unsent(wire):
    runs = [run_of(name, status="running") for name in "ab"]
    table = dw.RunsTable(runs)
    wire(table)
    table.observe(lambda _: table.rename(runs[0].key, "observed"), "rows")
    step(runs[1])
    table.show(runs[1])
    rows = [message["content"]["row"] for message in wire(table)]
    assert [row["key"] for row in rows] == [runs[1].key, runs[0].key]
    assert rows == [table.rows[1], table.rows[0]]


def test_numbers_that_are_not_finite_can_be_sent():
    run = run_of("a", taken=2)
    run.record_evaluation(after=float("nan"))
    run.history.extend([StepRecord(3, 0.3, loss=float("inf"), lr=(1.0,), applied_lr=(float("nan"),))])
    row = dw.RunsTable([run]).rows[0]
    assert (row["eval_after"], row["final_loss"]) == (None, None)


def test_a_failing_callback_is_told_above_the_table():
    def fail(key):
        raise RuntimeError("no room")

    table = dw.RunsTable([run := run_of("a")], on_remove=fail)
    page(table, "remove", run)
    assert "RuntimeError: no room" in table.notice
    assert table.runs == ()
    page(table, "dismiss")
    assert table.notice == ""


@pytest.mark.parametrize(
    "content",
    [None, [], "x", {}, {"k": "explode"}, {"k": "remove", "key": "gone"}, {"k": "rename", "key": ["a"], "name": "b"}],
)
def test_nonsense_and_late_wishes_from_the_page_change_nothing(content):
    heard = Heard()
    table = dw.RunsTable([run_of("a")], **heard.all())
    before = table.get_state()
    table._handle_custom_msg(content, [])
    assert (table.get_state(), heard) == (before, [])


def test_unknown_keys_are_named():
    table = dw.RunsTable()
    for call in (table.remove, lambda key: table.rename(key, "x"), lambda key: table.set_visible(key, True)):
        with pytest.raises(KeyError, match="no run with the key 'nobody'"):
            call("nobody")


def test_the_comparison_is_of_the_runs_that_are_shown():
    runs = [run_of("a", d_coef=0.5), run_of("b"), run_of("c", d_coef=2.0)]
    table = dw.RunsTable(runs)
    table.set_visible(runs[0].key, False)
    assert table.comparison["keys"] == [runs[1].key, runs[2].key]
    (line,) = (line for line in table.comparison["lines"] if any(line["unusual"]))
    assert (line["title"], line["values"], line["unusual"]) == ("D coefficient", ("1", "2"), (True, True))
    table.set_visible(runs[1].key, False)
    assert table.comparison["lines"] == []
    table.remove(runs[2].key)
    table.restore()
    table.set_visible(runs[1].key, True)
    assert table.comparison["keys"] == [runs[1].key, runs[2].key]


def differing(*plans):
    return {line.name: (line.values, line.unusual) for line in compare_settings(plans) if line.differs}


def test_the_value_that_stands_apart_is_marked():
    plans = [RunPlan(dw.Settings("PRODIGY", d_coef=value)) for value in (1.0, 1.0, 0.5)]
    assert differing(*plans) == {"d_coef": (("1", "1", "0.5"), (False, False, True))}
    plans = [RunPlan(dw.Settings("PRODIGY"), steps=steps, batch_size=size) for steps, size in ((5, None), (6, 32))]
    assert differing(*plans) == {
        "steps": (("5", "6"), (True, True)),
        "batch_size": (("the task's own", "32"), (True, True)),
    }
    assert differing(plans[0]) == {}


def test_an_option_that_one_optimizer_lacks_differs_only_where_it_was_changed():
    found = differing(RunPlan(dw.Settings("PRODIGY", d_coef=0.5)), RunPlan(dw.Settings("SGD", lr=0.1)))
    assert found["d_coef"] == (("0.5", None), (True, False))
    assert found["optimizer"][0] == ("PRODIGY", "SGD")
    assert found["lr"][0] == ("1", "0.1")
    assert "growth_rate" not in found
    assert "momentum" not in found


def test_every_setting_of_every_run_has_a_line_with_a_title():
    plans = [RunPlan(dw.Settings(key)) for key in ("PRODIGY", "SGD", "ADAFACTOR")]
    lines = {line.name: line for line in compare_settings(plans)}
    assert set(lines) == {name for plan in plans for name in plan.flat()}
    assert all(line.title != line.name for line in lines.values())
    assert lines["nesterov"].values == (None, "off", None)


def test_a_run_that_another_thread_adds_can_be_shown_at_once():
    failures = []

    def add(table):
        try:
            run = run_of("from a thread")
            table.add(run)
            table.show(run)
        except Exception as error:  # noqa: BLE001  # it is looked at in the other thread
            failures.append(error)

    async def script():
        table = dw.RunsTable()
        thread = threading.Thread(target=add, args=(table,))
        thread.start()
        thread.join()  # the loop is busy until then, as while a cell runs
        while not table.rows:
            await asyncio.sleep(0)
        return [row["name"] for row in table.rows]

    assert asyncio.run(asyncio.wait_for(script(), 60)) == ["from a thread"]
    assert failures == []


def test_a_run_whose_curve_was_removed_from_the_plot_is_not_in_the_table():
    bench = dw.lab(dw.Settings("SGD"))
    run = run_of("gone")
    bench.add(run)
    bench.plot.remove_run(run.key)
    bench.table.show(run)
    assert run not in bench.runs
    assert bench.table.rows == []
    with pytest.raises(KeyError, match="no run with the key"):
        bench.table.set_visible(run.key, False)


def evaluated(lr, loss):
    plan = RunPlan(dw.Settings("SGD", lr=lr), "swiss_roll", 4)
    run = Run(plan, f"SGD · lr {lr}", status="done", history=History(("all",)), eval_after=loss)
    step(run, 4)
    return run


def marked(table):
    return [bool(row["best"]) for row in table.rows]


def test_the_best_run_is_marked_in_words_when_all_have_ended():
    last = Run(RunPlan(dw.Settings("SGD", lr=0.3), "swiss_roll", 4), history=History(("all",)))
    last.begin()
    step(last, 4)
    table = dw.RunsTable([evaluated(0.1, 0.5), evaluated(0.2, 0.25), last])
    assert marked(table) == [False, False, False]
    assert table.outcome == ""
    last.record_evaluation(after=0.7)
    last.end("done")
    table.show(last)
    assert marked(table) == [False, True, False]
    assert table.rows[1]["best"] == "lowest evaluation loss of 3 runs"
    assert table.outcome.startswith("Best: lr 0.2, evaluation loss 0.25; worst: lr 0.3, 0.7.")
    assert table.outcome == str(table.verdict)
    still = table.still()
    assert "lr 0.2 – best" in still.html
    assert still.html.count("– best") == 1
    for text in (still.html, " ".join(still.text.split())):
        assert "worst: lr 0.3, 0.7." in text
        assert "learning rate 0.1, 0.2 and 0.3; all with SGD" in text


def test_the_best_of_those_that_are_compared_is_marked():
    runs = [evaluated(0.1, 0.1), evaluated(0.2, 0.25), evaluated(0.3, 0.5)]
    table = dw.RunsTable(runs)
    assert marked(table) == [True, False, False]
    table.compare(runs[1:])
    assert marked(table) == [False, True, False]
    table.remove(runs[2].key)
    assert (marked(table), table.outcome) == ([False, False], "")
    table.compare(None)
    assert marked(table) == [True, False]


def test_runs_that_cannot_be_compared_have_no_best_and_a_run_that_never_began_is_told_so():
    table = dw.RunsTable([evaluated(0.1, 0.5), run_of(status="stopped"), run_of("longer", steps=20, taken=20)])
    assert marked(table) == [False, False, False]
    assert table.outcome == "Not compared: the runs have different lengths, 4, 10 and 20 steps."
    assert "not started" in table.still().html
