"""What a watch shows and keeps: the live plot, the figure, the store, and faults of either."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.store import StoreError
from diffopt_widgets.widgets.plot.live import LivePlot


@pytest.fixture
def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)


def publish(w):
    w._recorder.publish()


@pytest.mark.slow
def test_a_metric_that_comes_late_gets_a_panel_of_its_own(optimizer):
    with dw.watch(optimizer, measure="grad_norm") as w:
        assert [panel.key for panel in w.plot.panels] == ["loss", "eval_loss", "rate", "group_rate", "d", "grad_norm"]
        assert w.plot.log["grad_norm"]
        for step in range(500):
            optimizer.step()
            w.log(loss=step)
        publish(w)
        optimizer.step()
        w.log({"val/accuracy": 0.5})
    assert w.plot.panels[-1].key == "val/accuracy"
    assert [run["total"] for run in w.plot.runs] == [501]
    assert "val/accuracy" in [annotation.text for annotation in w.figure().layout.annotations]
    assert w.history.column("val/accuracy")[-1] == 0.5
    assert np.isnan(w.history.column("val/accuracy")[:-1]).all()


def test_the_plot_gets_each_row_once_at_most_ten_times_a_second(optimizer, monkeypatch):
    sent = []
    monkeypatch.setattr(LivePlot, "send", lambda self, content, buffers=None: sent.append(content))
    with dw.watch(optimizer) as w:
        w.plot  # noqa: B018  # made when it is first asked for
        for step in range(300):
            optimizer.step()
            w.log(loss=step)
        seconds = w.history.column("seconds")[-1]
    rows = [part for content in sent if content["k"] == "rows" for part in content["parts"]]
    assert [(part["start"], part["start"] + part["n"]) for part in rows][-1][1] == 300
    assert all(a["start"] + a["n"] == b["start"] for a, b in itertools.pairwise(rows))
    assert len(rows) <= 10 * seconds + 2


def test_a_second_watch_can_draw_in_the_first_one_s_plot(optimizer):
    with dw.watch(optimizer, name="first") as first:
        optimizer.step()
    plot = first.plot
    with dw.watch(optimizer, name="second", plot=plot) as second:
        optimizer.step()
    assert second.plot is plot
    assert [run["name"] for run in plot.runs] == ["first", "second"]


def test_an_estimating_optimizer_shows_its_schedule_too():
    weight = torch.nn.Parameter(torch.ones(3))
    with dw.watch(dw.build_optimizer(dw.Settings("PRODIGY"), [weight])) as w:
        pass
    assert w.plot.runs[0]["schedule"]


def test_html_in_a_name_is_text(optimizer):
    with dw.watch(optimizer, name="<b>run</b>") as w:
        optimizer.step()
        w.log({"<img src=x>": 1.0})
    text = w.figure().to_json()
    assert "<b>run" not in text
    assert "<img" not in text


@pytest.mark.slow
def test_a_script_shows_nothing_and_loads_no_widgets():
    code = """
import sys, torch, diffopt_widgets as dw
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.1)
with dw.watch(optimizer) as w:
    optimizer.step()
    w.log(loss=1.0)
print(len(w.history), [name for name in ("ipywidgets", "anywidget", "IPython", "plotly") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "1 []"


def test_a_plot_that_fails_is_told_once_and_the_run_is_kept(optimizer, monkeypatch, tmp_path):
    def broken(self, **_):
        raise OSError("the connection is closed")

    with dw.watch(optimizer, store=tmp_path / "runs.sqlite") as w:
        w.plot  # noqa: B018
        monkeypatch.setattr(LivePlot, "refresh", broken)
        with pytest.warns(UserWarning, match="trouble drawing; the training goes on. OSError: the connection") as told:  # noqa: PT031
            for step in range(3):
                optimizer.step()
                w.log(loss=step)
                publish(w)
        assert len(told) == 1
        monkeypatch.undo()
    (kept,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (kept.steps, kept.status) == (3, "done")


# ---------------------------------------------------------------------------------------------------- the store


def test_a_run_is_kept_with_what_it_was_made_with(optimizer, tmp_path):
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    path = tmp_path / "runs.sqlite"
    with dw.watch(optimizer, schedule, store=path, name="mine", about={"batch_size": 4}) as w:
        for step in range(3):
            w.log(loss=step, accuracy=0.5)
            optimizer.step()
            schedule.step()
    store = dw.RunStore(path)
    (kept,) = store.list()
    assert (kept.name, kept.status, kept.steps) == ("mine", "done", 3)
    loaded = store.load(kept.id)
    for name, values in w.history.to_columns().items():
        np.testing.assert_array_equal(loaded.history.to_columns()[name], values)
    about = loaded.about
    assert (about["optimizer"], about["scheduler"].rpartition(".")[2]) == ("torch.optim.sgd.SGD", "ExponentialLR")
    assert (about["options"]["lr"], about["batch_size"], about["parameters"]) == (0.1, 4, 3)


def test_what_is_published_is_in_the_store_while_the_run_goes_on(optimizer, tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    with dw.watch(optimizer, store=store) as w:
        for _ in range(4):
            optimizer.step()
        publish(w)
        w._writer.flush()
        (kept,) = store.list()
        assert (kept.steps, kept.status) == (3, "running")  # the last step may still get values


@pytest.mark.parametrize(("error", "status"), [(ValueError("broken"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_how_a_run_ended_is_kept(optimizer, tmp_path, error, status):
    with pytest.raises(type(error)), dw.watch(optimizer, store=tmp_path / "runs.sqlite"):  # noqa: PT012
        optimizer.step()
        raise error
    (kept,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (kept.status, kept.steps) == (status, 1)


def test_a_store_that_cannot_be_opened_is_refused_and_no_hook_is_left(optimizer, tmp_path):
    (tmp_path / "runs.sqlite").mkdir()
    with pytest.raises(StoreError):
        dw.watch(optimizer, store=tmp_path / "runs.sqlite")
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_an_end_that_cannot_be_kept_is_told_and_closing_again_keeps_it(optimizer, tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    with dw.watch(optimizer, store=folder / "runs.sqlite") as w, pytest.warns() as told:  # noqa: PT031
        optimizer.step()
        folder.rename(tmp_path / "gone")
        w.log(loss=1.0)
        w.close()
        w.close()
    texts = [str(warning.message) for warning in told]
    assert sum("is not being saved" in text for text in texts) == 1
    assert sum("has ended, but is not completely in its store; close() tries again" in text for text in texts) == 1
    (tmp_path / "gone").rename(folder)
    w.close()
    (kept,) = dw.RunStore(folder / "runs.sqlite").list()
    assert (kept.steps, kept.status) == (1, "done")
