"""The live plot without a browser: what goes over the wire, and what comes back when the page asks."""

from __future__ import annotations

import re
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import comm
import numpy as np
import pytest
from histories import NASTY, append
from jupyter_client.session import Session
from wires import KeptComm, keep_messages, kept

from diffopt_widgets.drawing.curves import smooth
from diffopt_widgets.drawing.panels import PALETTE, metric_panel
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.plot.wire import BLOCK, EXACT_ROWS, MESSAGE_BYTES


class Wire:
    """A plot's messages, and the page's side of the conversation."""

    def __init__(self, plot):
        self.plot = plot

    def take(self, kind: str = "rows") -> list[tuple[dict[str, Any], list[bytes]]]:
        """Custom messages of a kind since the last call; all others are let go."""
        messages = kept(self.plot.comm)
        found = [(data["content"], [bytes(b) for b in buffers]) for _, data, buffers in messages if "content" in data]
        messages.clear()
        return [(content, buffers) for content, buffers in found if content["k"] == kind]

    def sizes(self) -> list[int]:
        """Bytes on the wire of every message since the last call: header, parent, content, buffers, signature."""
        session = Session(key=b"key")
        parent = session.msg("execute_request", {})
        messages = kept(self.plot.comm)
        sizes = []
        for kind, data, buffers in messages:
            content = {"comm_id": self.plot.comm.comm_id, "data": data}
            message = session.msg(kind, content, parent=parent)
            frames = session.serialize(message, ident=f"comm-{self.plot.comm.comm_id}".encode())
            sizes.append(sum(map(len, frames)) + sum(memoryview(b).nbytes for b in buffers))
        messages.clear()
        return sizes

    def say(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """What the page sends."""
        content = {"content": {"data": {"method": "custom", "content": message}}, "buffers": buffers or []}
        self.plot._handle_msg(content)


def pieces(messages) -> list[tuple[dict[str, Any], list[bytes]]]:
    """Every part of messages with its own buffers; rows have their columns, steps and values one after the other."""
    found = []
    for content, buffers in messages:
        left = list(buffers)
        told: dict[str, Any] = {}
        for part in content["parts"]:
            if "blocks" in part or "average" in part:
                count = 3 if "blocks" in part else 2
                found.append((part, [left.pop(0) for _ in range(count)]))
                continue
            told = {**told, **part}
            columns, n = told["columns"], told["n"]
            counted = told["offset"] is not None
            steps = told["start"] + np.arange(n) + told["offset"] if counted else np.frombuffer(left.pop(0), np.float64)
            values = np.frombuffer(left.pop(0), np.float32).reshape(len(columns), n)
            apart = np.concatenate([values[[i] * len(names)] for i, names in enumerate(columns)])
            flat = [name for names in columns for name in names]
            found.append(({**told, "columns": flat}, [steps.astype(np.float64).tobytes(), apart.tobytes()]))
        assert not left
    return found


def rows(messages) -> dict[int, dict[int, dict[str, float]]]:
    """Values by run, row and column, as the page keeps them."""
    found: dict[int, dict[int, dict[str, float]]] = {}
    for part, (first, second) in pieces(messages):
        steps = np.frombuffer(first, np.float64)
        values = np.frombuffer(second, np.float32).reshape(len(part["columns"]), part["n"])
        assert len(steps) == part["n"]
        for j in range(part["n"]):
            row = dict(zip(part["columns"], values[:, j].tolist(), strict=True))
            found.setdefault(part["id"], {})[part["start"] + j] = {"step": float(steps[j]), **row}
    return found


def long_history(count: int, groups=("text_encoder", "unet")) -> History:
    """A history of many rows at once, without making a record for each."""
    history = History(groups)
    append(history, 1, d=1e-6, d_hat=1e-6)
    steps = np.arange(2, count + 1)
    random = np.random.default_rng(count).random
    history.extend_columns(
        steps, {name: random((count - 1, *history.column(name).shape[1:])) for name in history.names()}
    )
    return history


@pytest.fixture
def kept_comms(monkeypatch):
    keep_messages(monkeypatch)


@pytest.fixture
def plot(kept_comms):
    return LivePlot()


@pytest.fixture
def wire(plot):
    return Wire(plot)


@pytest.fixture
def history():
    return History(("text_encoder", "unet"))


def number(plot, key):
    return next(run["id"] for run in plot.runs if run["key"] == key)


# The wire


@pytest.mark.slow
@pytest.mark.parametrize("length", [1_000, 1_000_000])
def test_an_update_is_under_two_kilobytes_at_any_length(plot, wire, length):
    history = long_history(length)
    plot.add_run("a", "PRODIGY d_coef 0.5", history, schedule=True)
    wire.say({"k": "hello"})
    wire.take()
    append(history, 10, d=1e-3, d_hat=1e-3)
    plot.refresh(final=True)
    sizes = wire.sizes()
    assert len(sizes) == 1
    assert sizes[0] < 2000


def test_only_new_rows_are_sent(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 3, d=0.25)
    plot.refresh(final=True)
    assert rows(wire.take()) == {
        number(plot, "a"): {
            i: {
                "step": i + 1.0,
                "loss": i + 1.0,
                "lr[text_encoder]": 0.5,
                "lr[unet]": 0.5,
                "applied_lr[text_encoder]": pytest.approx(1e-3),
                "applied_lr[unet]": pytest.approx(1e-3),
                "d": 0.25,
                "seconds": pytest.approx(0.1 * (i + 1)),
            }
            for i in range(3)
        }
    }
    append(history, 2)
    plot.refresh(final=True)
    assert sorted(rows(wire.take())[number(plot, "a")]) == [3, 4]
    plot.refresh(final=True)
    assert wire.take() == []


@pytest.mark.parametrize(
    ("new", "estimates", "limit"), [(1, True, 1300), (4, True, 1900), (10, False, 2000), (10, True, 3000)]
)
def test_an_update_of_eight_runs_at_once_is_one_message(plot, wire, new, estimates, limit):
    others = {"d": 2e-3, "d_hat": 1.1e-3} if estimates else {}
    histories = [History(("text_encoder", "unet")) for _ in range(8)]
    for i, history in enumerate(histories):
        append(history, 1000 + i, **others)
        plot.add_run(str(i), f"d_coef {i}", history, schedule=True)
    plot.refresh(final=True)
    wire.take()
    for history in histories:
        steps = range(len(history) + 1, len(history) + 1 + new)
        applied = 1e-3 if estimates else 0.5
        history.extend(StepRecord(s, 0.1 * s, 1 / s, (0.5,) * 2, (applied,) * 2, **others) for s in steps)
    plot.refresh(final=True)
    [size] = wire.sizes()
    assert size < limit


def test_what_rows_of_a_message_have_in_common_is_told_once(plot, wire):
    histories = [History(("unet",)) for _ in range(4)]
    for i, history in enumerate(histories):
        plot.add_run(str(i), str(i), history)
        append(history, 3 + i)
    plot.refresh(final=True)
    wire.take()
    for history in histories[:2]:
        append(history, 2)
    histories[2].extend([StepRecord(s, 0.1, 1.0, (1.0,), (1.0,)) for s in (50, 70)])
    append(histories[3], 1)
    plot.refresh(final=True)
    sent = wire.take()
    [(content, _)] = sent
    assert [sorted(set(part) - {"id", "start"}) for part in content["parts"]] == [
        ["columns", "n", "offset"],
        [],
        ["columns", "offset"],
        ["columns", "n", "offset"],
    ]
    found = [[row["step"] for row in run.values()] for run in rows(sent).values()]
    assert found == [[4, 5], [5, 6], [50, 70], [7]]


def test_steps_that_leave_some_out_are_sent_as_they_are(plot, wire, history):
    plot.add_run("a", "a", history)
    history.extend([StepRecord(s, 0.1 * s, 1.0, (1.0, 2.0), (1.0, 1.0)) for s in (5, 7, 9)])
    plot.refresh(final=True)
    found = rows(wire.take())[number(plot, "a")]
    assert [row["step"] for row in found.values()] == [5, 7, 9]
    assert found[1]["lr[unet]"] == 2.0


def test_calls_in_quick_succession_are_one_message(plot, wire, history):
    plot.add_run("a", "a", history)
    plot.refresh(final=True)
    wire.take()
    for _ in range(50):
        append(history, 1)
        plot.refresh()
    assert len(wire.take()) <= 5  # a machine that takes half a second for this may send as many
    plot.refresh(final=True)
    wire.take()
    wire.say({"k": "resync", "id": number(plot, "a"), "from": 0, "to": None})
    assert len(rows(wire.take())[number(plot, "a")]) == 50


def test_the_page_gets_every_run_when_it_says_hello(plot, wire):
    for key in "ab":
        history = History(("unet",))
        plot.add_run(key, key, history)
        append(history, 5)
    plot.end_run("b")
    wire.take()
    wire.say({"k": "hello"})
    kept = rows(wire.take())
    assert {run: sorted(found) for run, found in kept.items()} == {number(plot, key): [0, 1, 2, 3, 4] for key in "ab"}


def test_hello_is_answered_with_the_runs_too(plot, wire, history):
    plot.add_run("a", "a", history)
    wire.take()
    wire.say({"k": "hello"})
    states = [data["state"] for _, data, _ in kept(plot.comm) if data["method"] == "update"]
    assert any("runs" in state for state in states)


def test_a_gap_is_answered_with_its_rows(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 100)
    plot.end_run("a")
    wire.take()
    wire.say({"k": "resync", "id": number(plot, "a"), "from": 20, "to": 30})
    assert sorted(rows(wire.take())[number(plot, "a")]) == list(range(20, 30))
    wire.say({"k": "resync", "id": number(plot, "a"), "from": 95, "to": 10_000})
    assert sorted(rows(wire.take())[number(plot, "a")]) == list(range(95, 100))
    wire.say({"k": "resync", "id": number(plot, "a"), "from": -5, "to": 3})
    assert sorted(rows(wire.take())[number(plot, "a")]) == [0, 1, 2]
    for odd in ({"from": 100, "to": None}, {"id": 99, "from": 0, "to": None}):
        wire.say({"k": "resync", "id": number(plot, "a"), **odd})
        assert wire.take() == []


def test_a_long_run_is_sent_as_the_extremes_of_its_blocks_and_its_last_rows(plot, wire):
    history = long_history(EXACT_ROWS + BLOCK + 7)
    history._columns["loss"][3 * BLOCK + 5] = np.nan
    history._columns["loss"][3 * BLOCK + 6] = 1e300  # more than float32 can hold
    history._columns["d"][:BLOCK] = np.nan
    plot.add_run("a", "a", history)
    wire.take()
    wire.say({"k": "hello"})
    [(blocks, buffers), (tail, _), (average, means)] = pieces(wire.take())
    assert (blocks["start"], blocks["n"], tail["start"], tail["n"]) == (0, EXACT_ROWS + BLOCK, EXACT_ROWS + BLOCK, 7)
    count = blocks["n"] // BLOCK
    steps = np.frombuffer(buffers[0], np.float64).reshape(2, count)
    assert steps[:, 1].tolist() == [BLOCK + 1, 2 * BLOCK]
    shape = (len(blocks["blocks"]), 2, count)
    values = np.frombuffer(buffers[1], np.float32).reshape(shape)
    places = np.frombuffer(buffers[2], np.uint8).reshape(shape)
    found = dict(zip(blocks["blocks"], zip(values, places, strict=True), strict=True))
    with np.errstate(over="ignore"):
        whole = history.column("loss").astype(np.float32)
    loss = whole[3 * BLOCK : 4 * BLOCK]
    (least, most), (low, high) = found["loss"]
    assert (least[3], most[3]) == (np.nanmin(loss), loss[np.isfinite(loss)].max())
    assert (loss[low[3]], loss[high[3]]) == (least[3], most[3])
    assert np.isnan(found["d"][0][:, 0]).all()
    assert np.isfinite(found["d"][0][:, 1:]).all()
    # The average is told of every block, the last one too.
    assert (average["average"], average["beta"]) == ("loss", plot.smoothing)
    extremes = np.frombuffer(means[0], np.float32).reshape(2, count + 1)
    direct = smooth(whole.astype(np.float64), plot.smoothing).astype(np.float32)
    assert extremes[:, 3].tolist() == [
        np.nanmin(direct[3 * BLOCK : 4 * BLOCK]),
        np.nanmax(direct[3 * BLOCK : 4 * BLOCK]),
    ]
    direct = direct[-7:]
    assert extremes[:, -1].tolist() == [direct.min(), direct.max()]


def test_the_page_gets_the_rows_in_sight_and_averages_of_another_weight(plot, wire):
    history = long_history(3 * EXACT_ROWS)
    plot.add_run("a", "a", history)
    wire.take()
    run = number(plot, "a")
    wire.say({"k": "detail", "id": run, "from": 256, "to": EXACT_ROWS + 512})
    [(first, (steps, _)), (second, _)] = pieces(wire.take())
    assert np.frombuffer(steps, np.float64)[0] == 257
    assert (first["start"], first["n"], second["start"], second["n"]) == (256, EXACT_ROWS, EXACT_ROWS + 256, 256)
    for odd in ({"from": -10, "to": 5}, {"from": 3 * EXACT_ROWS - 5, "to": 10**9}):
        wire.say({"k": "detail", "id": run, **odd})
        assert [part["n"] for part, _ in pieces(wire.take())] == [5]
    wire.say({"k": "detail", "id": run, "from": 10, "to": 5})
    assert wire.take() == []
    wire.say({"k": "average", "id": run, "name": "loss", "beta": 0.5})
    [(average, _)] = pieces(wire.take())
    assert (average["average"], average["beta"], average["n"]) == ("loss", 0.5, len(history))
    for odd in ({"name": "none", "beta": 0.5}, {"name": "loss", "beta": 1}):
        wire.say({"k": "average", "id": run, **odd})
        assert wire.take() == []


def test_the_rows_of_many_runs_share_a_message_only_as_far_as_they_fit(plot, wire):
    for key in "abc":
        plot.add_run(key, key, long_history(EXACT_ROWS))
    wire.take()
    wire.say({"k": "hello"})
    sent = wire.take()
    sizes = [sum(map(len, buffers)) for _, buffers in sent]
    assert [len(content["parts"]) for content, _ in sent] == [1, 1, 1]
    assert max(sizes) <= MESSAGE_BYTES
    for key in "abc":
        plot.remove_run(key)
        plot.add_run(key, key, long_history(1000))
    wire.take()
    wire.say({"k": "hello"})
    assert [len(content["parts"]) for content, _ in wire.take()] == [3]


@pytest.mark.slow
def test_a_million_rows_of_eight_runs_open_with_under_half_a_megabyte_each(plot, wire):
    history = long_history(1_000_000)
    for key in "abcdefgh":
        plot.add_run(key, key, history)
    wire.take()
    wire.say({"k": "hello"})
    assert sum(len(buffer) for _, buffers in wire.take() for buffer in buffers) < 8 * 500_000


def test_the_end_tells_the_true_number_of_rows(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 7)
    plot.refresh(final=True)
    append(history, 1)
    assert plot.runs[0]["total"] is None
    plot.end_run("a")
    assert plot.runs[0]["total"] == 8
    assert max(rows(wire.take())[number(plot, "a")]) == 7


def test_a_column_that_appears_late_and_values_that_are_not_finite(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 1)
    append(history, 1, d=float("inf"))
    append(history, 1, d=1e300)
    append(history, 1, d=None)
    plot.refresh(final=True)
    sent = [row["d"] for row in rows(wire.take())[number(plot, "a")].values()]
    np.testing.assert_array_equal(sent, [np.nan, np.inf, np.inf, np.nan])


def test_a_column_without_a_value_among_new_rows_is_not_sent(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 3, eval_loss=0.5)
    plot.refresh(final=True)
    assert "eval_loss" in pieces(wire.take())[-1][0]["columns"]
    append(history, 3)
    plot.refresh(final=True)
    columns = pieces(wire.take())[-1][0]["columns"]
    assert "eval_loss" not in columns
    assert "loss" in columns
    wire.say({"k": "hello"})
    [values] = rows(wire.take()).values()
    assert [values[step].get("eval_loss") for step in (2, 3)] == [0.5, pytest.approx(np.nan, nan_ok=True)]


def test_a_panel_that_comes_later_gets_the_rows_that_were_sent_without_its_column(plot, wire, history):
    plot.add_run("a", "a", history)
    plot.add_run("b", "b", History(("unet",)))
    append(history, 3, metrics={"val/acc": 0.5})
    plot.refresh(final=True)
    assert "val/acc" not in rows(wire.take())[number(plot, "a")][0]
    before = number(plot, "a"), number(plot, "b")
    plot.add_panel(metric_panel("val/acc"))
    sent = rows(wire.take())[number(plot, "a")]
    assert {row: values["val/acc"] for row, values in sent.items()} == {0: 0.5, 1: 0.5, 2: 0.5}
    assert number(plot, "a") != before[0]  # another run to the page, which asks for whatever of it gets lost
    assert number(plot, "b") == before[1]
    assert plot._panels[-1]["columns"] == [{"name": "val/acc", "dash": "solid", "schedule": False}]
    with pytest.raises(ValueError, match="already a panel with the key 'val/acc'"):
        plot.add_panel(metric_panel("val/acc"))


def test_what_a_run_tells_the_page_of_itself(plot, history):
    plot.add_run("a", "a", history, details={"d_coef": "0.5"}, group="d_coef 0.5", samples_per_step=64)
    assert plot.runs[0]["details"] == {"d_coef": "0.5"}
    assert (plot.runs[0]["group"], plot.runs[0]["samples_per_step"]) == ("d_coef 0.5", 64)
    with pytest.raises(ValueError, match="samples_per_step is -1; it must be above 0"):
        plot.add_run("b", "b", history, samples_per_step=-1)
    assert not plot.has_run("b")


def test_a_key_that_is_used_again_is_another_run(plot, wire, history):
    plot.add_run("a", "a", history)
    before = number(plot, "a")
    plot.remove_run("a")
    assert plot.runs == []
    plot.add_run("a", "a", History(("unet",)))
    assert number(plot, "a") != before


def test_the_bundle_is_sent_as_text_where_buffers_are_dropped(plot, wire):
    wire.say({"k": "bundle"})
    [(content, _)] = wire.take("bundle")
    assert 400_000 < len(content["data"]) < 700_000


def test_two_plots_share_one_bundle(kept_comms):
    assert LivePlot()._bundle is LivePlot()._bundle


# Runs


def test_colours_stay_with_their_run(plot):
    for key in "abc":
        plot.add_run(key, key, History(("unet",)))
    plot.add_run("own", "own", History(("unet",)), color="hotpink")
    plot.remove_run("a")
    assert {run["key"]: run["color"] for run in plot.runs} == {"b": PALETTE[1], "c": PALETTE[2], "own": "hotpink"}
    plot.add_run("d", "d", History(("unet",)))
    assert plot.runs[-1]["color"] == PALETTE[0]


def test_the_legend_hides_a_run_here_too(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 2)
    seen = []
    plot.observe(lambda change: seen.append(change.new[0]["visible"]), "runs")
    wire.say({"k": "visible", "id": number(plot, "a"), "visible": False})
    assert seen == [False]
    assert plot.curves() == []
    plot.set_visible("a", True)
    plot.rename_run("a", NASTY)
    assert [curve.name for curve in plot.curves()] == [NASTY]


def test_mistakes_are_named(plot, history):
    plot.add_run("a", "a", history)
    with pytest.raises(ValueError, match="already a run with the key 'a'"):
        plot.add_run("a", "again", history)
    with pytest.raises(KeyError, match="no run with the key 'z'; it has 'a'"):
        plot.end_run("z")


@pytest.mark.slow
def test_whatever_the_page_does_nothing_piles_up_here(plot, wire, history):
    """Of a page that is hidden, slow or gone nothing is kept: the history is all that grows."""
    plot.add_run("a", "a", history)
    append(history, 10_000)
    plot.refresh(final=True)
    wire.take()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(1000):
        plot.refresh(final=True)
        wire.say({"k": "resync", "id": number(plot, "a"), "from": 9_000, "to": None})
        wire.take()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000


class CountedComm(KeptComm):
    """Counts what it is given and lets it go, as a kernel whose page is gone."""

    count = 0
    bytes = 0

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):  # noqa: ARG002
        self.count += 1
        self.bytes += sum(memoryview(buffer).nbytes for buffer in buffers or ())


@pytest.mark.slow
def test_with_no_page_ten_minutes_are_ten_messages_a_second_and_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", CountedComm)
    monkeypatch.setattr("ipywidgets.widgets.widget.Comm", CountedComm, raising=False)
    clock = iter(range(60_001))
    monkeypatch.setattr("diffopt_widgets.widgets.plot.live.time.monotonic", lambda: next(clock) / 100)
    plot, history = LivePlot(), long_history(60_000)
    length, history._length = len(history), 0  # rows that come, without memory that grows for them
    plot.add_run("a", "a", history, schedule=True)
    before = plot.comm.count
    tracemalloc.start()
    kept = []
    for row in range(length):
        history._length = row + 1
        plot.refresh()
        if row in (1_000, length - 1):
            kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert 5000 < plot.comm.count - before <= 6000
    assert plot.comm.bytes < 60_000 * 100
    assert kept[1] - kept[0] < 500_000  # the messages were 6 MB


def test_an_echo_comes_back_behind_the_answer_to_what_was_asked_before(plot, wire, history):
    plot.add_run("a", "a", history)
    append(history, 5)
    plot.refresh(final=True)
    kept(plot.comm).clear()
    wire.say({"k": "resync", "id": number(plot, "a"), "from": 0, "to": None})
    wire.say({"k": "echo", "q": 7})
    contents = [data["content"] for _, data, _ in kept(plot.comm)]
    assert [content["k"] for content in contents] == ["rows", "echo"]
    assert contents[-1]["q"] == 7


@pytest.fixture
def _quick_switches():
    """Threads take turns as often as Python can, so that a race is met soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_switches")
def test_a_page_that_is_answered_in_another_thread_meets_the_training_nowhere(plot, wire, history):
    """As where ipykernel 7 answers in a subshell, or somebody trains in a thread."""
    plot.add_run("a", "a", history)
    ended = threading.Event()

    def page():
        shown = False
        while not ended.is_set():
            run = number(plot, "a")
            wire.say({"k": "visible", "id": run, "visible": (shown := not shown)})
            wire.say({"k": "resync", "id": run, "from": 0, "to": None})
            wire.say({"k": "detail", "id": run, "from": 0, "to": 10})
            wire.say({"k": "hello"})

    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(page)
        try:
            for i in range(500):
                append(history, 1, metrics={f"metric {i // 10}": 1.0})
                plot.refresh(final=True)
                plot.add_run(str(i), str(i), History(("unet",)))
                plot.end_run("a")
                assert plot.runs[0]["total"] == len(history)
                plot.resume_run("a")
                plot.remove_run(str(i))
        finally:
            ended.set()
        answering.result()
    assert sorted(rows(wire.take())[number(plot, "a")]) == list(range(len(history)))


def test_the_page_s_module_stands_alone(plot):
    assert not re.search(r"^import ", plot.page_code, flags=re.MULTILINE)
    assert re.findall(r"^export .*", plot.page_code, flags=re.MULTILINE) == ["export default () => {"]
