"""The bench without a browser: form, bar, session, plots and table meet as they should."""

import asyncio
import dataclasses
import gc
import sys
import weakref
from html import escape

import pytest
from shared.running import assert_same, until

import diffopt_widgets as dw
from diffopt_widgets.catalogue.values import short
from diffopt_widgets.execution import driver, session
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.probe.doctor import accelerators
from diffopt_widgets.runs import collection
from diffopt_widgets.runs.run import Run
from diffopt_widgets.runs.space import vary
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.tasks import get_task
from diffopt_widgets.widgets.bench.other_session import OtherSession
from diffopt_widgets.widgets.bench.rest import _everything
from diffopt_widgets.widgets.form.panel import menu


def in_kernel(script, **options):
    """Run `script(bench)` on an event loop, as in a notebook."""

    async def main():
        bench = dw.lab(**options)
        await script(bench)
        return bench

    return asyncio.run(main())


def on_row(bench, run, kind, **content):
    """Do in the table what a person would do in the page."""
    bench.table._handle_custom_msg({"k": kind, "key": run.key, **content}, [])


def page_fixes(bench, name):
    """Click on the fix beside a control of the form."""
    bench.form._handle_custom_msg({"k": "fix", "name": name, "page": "p", "n": 1}, [])


def others(bench):
    """Lines of a bench on what trains in other benches."""
    return [child for child in bench.children if isinstance(child, OtherSession)]


async def click_run(bench):
    bench.bar.run.click()
    await bench.wait()


@pytest.mark.slow
def test_a_click_on_run_trains_with_the_settings_of_the_form():
    async def script(bench):
        bench.form.settings = dw.Settings("PRODIGY", schedule="COSINE", d_coef=0.5)
        await click_run(bench)

    bench = in_kernel(script, task="swiss_roll", steps=20)
    (run,) = bench.runs
    assert run.status == "done", run.trace
    assert run.settings == dw.Settings("PRODIGY", schedule="COSINE", d_coef=0.5)
    assert run.plan.steps == 20
    assert bench.bar.progress.value == 1.0
    assert "loss" in bench.bar.words.value
    assert not bench.bar.run.disabled
    assert bench.plot.has_run(run.key)
    strip = bench.samples.strips[run.key].value
    assert strip.count("<img") == len(run.samples) + 1
    assert strip.rindex("real examples") > strip.rindex("step")  # what was wanted comes last


@pytest.mark.slow
def test_clicks_on_run_that_were_on_their_way_start_nothing():
    async def script(bench):
        for _ in range(20):
            bench.bar.run.click()
        await bench.wait()
        assert not bench.bar.run.disabled

    assert [run.status for run in in_kernel(script, task="swiss_roll", steps=3).runs] == ["done"]


@pytest.mark.slow
def test_a_closed_bench_stops_its_runs_and_closes_every_widget():
    async def script(bench):
        bench.bar.fields["steps"].value = "100000"
        bench.bar.run.click()
        (run,) = bench.runs
        await until(lambda: len(run.history) > 5)
        inside = list(_everything(bench))
        bench.close()
        await bench.wait()
        assert (run.status, [part for part in inside if part.comm is not None]) == ("stopped", [])

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_runs_stack_and_their_names_say_what_differs():
    async def script(bench):
        for beta in (0.9, 0.5):
            bench.form.settings = dw.Settings("ADAMW", beta1=beta)
            await click_run(bench)
        bench.bar.run.click()
        await bench.wait()

    bench = in_kernel(script, task="swiss_roll", steps=5)
    assert [run.name for run in bench.runs] == ["ADAMW · beta1 0.9", "ADAMW · beta1 0.5", "ADAMW · beta1 0.5 (2)"]
    assert [trace.name for trace in bench.figure().data if trace.showlegend] == [run.name for run in bench.runs]
    assert [run["details"] for run in bench.plot.runs] == [{"beta1": "0.9"}, {"beta1": "0.5"}, {"beta1": "0.5"}]
    assert [run["group"] for run in bench.plot.runs] == ["", "", ""]  # no heading over a single setting
    assert bench.plot.runs[0]["samples_per_step"] == get_task("swiss_roll").batch_size


@pytest.mark.slow
def test_a_run_can_be_renamed_hidden_and_removed():
    async def script(bench):
        for _ in range(2):
            await click_run(bench)
        first, second = bench.runs
        on_row(bench, first, "rename", name="mine")
        assert first.name == "mine"
        on_row(bench, second, "visible", visible=False)
        on_row(bench, first, "remove")
        assert bench.runs == [second]
        assert not bench.plot.has_run(first.key)
        assert bench.figure().data == ()
        bench.table._handle_custom_msg({"k": "restore"}, [])
        assert bench.runs == [first, second]
        assert {trace.name for trace in bench.figure().data if trace.showlegend} == {"mine"}
        on_row(bench, first, "remove")
        bench.form.settings = dw.Settings("SGD", lr=0.1)
        await click_run(bench)

    bench = in_kernel(script, task="swiss_roll", steps=3)
    assert len(bench.runs) == 2


@pytest.mark.slow
def test_the_place_of_d_goes_with_the_last_run_that_has_it():
    async def script(bench):
        bench.form.settings = dw.Settings("PRODIGY")
        await click_run(bench)
        [run] = bench.runs
        bench.form.settings = dw.Settings("SGD", lr=0.1)
        assert "d" in bench.plot.expected
        on_row(bench, run, "remove")
        assert "d" not in bench.plot.expected
        bench.form.settings = dw.Settings("DADAPT_ADAM")
        assert "d" in bench.plot.expected
        bench.form.settings = dw.Settings("ADAM")
        assert "d" not in bench.plot.expected
        bench.table._handle_custom_msg({"k": "restore"}, [])
        assert "d" in [panel.key for panel in bench.plot.shown_panels()]

    in_kernel(script, task="swiss_roll", steps=3)


@pytest.mark.slow
def test_a_given_name_stays_when_more_runs_come():
    async def script(bench):
        await click_run(bench)
        on_row(bench, bench.runs[0], "rename", name="<b>baseline</b>")
        bench.form.settings = dw.Settings("SGD", lr=0.1)
        await click_run(bench)

    bench = in_kernel(script, task="swiss_roll", steps=3)
    assert bench.runs[0].name == "<b>baseline</b>"
    strip = bench.samples.strips[bench.runs[0].key].value
    assert "&lt;b&gt;baseline" in strip
    assert "<b>baseline" not in strip


def test_wrong_text_in_the_form_disables_run_and_says_why():
    async def script(bench):
        bench.form.type("lr", "fast")
        assert bench.bar.run.disabled
        assert "correct Learning rate in the form" in bench.bar.words.value
        bench.form.type("lr", "1e-3")
        assert not bench.bar.run.disabled
        assert "Ready" in bench.bar.words.value

    in_kernel(script)


def test_the_code_to_copy_knows_the_run():
    async def script(bench):
        bench.form.settings = dw.Settings("ADAMW", lr=0.001, schedule="LINEAR", lr_scaler="BOTH")
        bench.bar.fields["steps"].value = "77"
        bench.bar.fields["batch_size"].value = "16"
        bench.bar.fields["accumulation"].value = "4"
        assert "/ 77" in bench.form.code
        assert "lr=0.008," in bench.form.code

    in_kernel(script)


@pytest.mark.parametrize(("field", "text"), [("steps", "many"), ("seed", "-1"), ("batch_size", "1e999"), ("steps", "")])
def test_wrong_text_in_the_run_bar_disables_run_and_stays(field, text):
    async def script(bench):
        bench.bar.fields[field].value = text
        assert bench.bar.run.disabled
        assert bench.bar.fields[field].value == text
        bench.bar.fields[field].value = "7"
        assert not bench.bar.run.disabled

    in_kernel(script)


@pytest.mark.slow
def test_pause_resume_and_stop_by_their_buttons():
    async def script(bench):
        bench.bar.run.click()
        while not bench.runs or len(bench.runs[0].history) < 3:
            await asyncio.sleep(0.005)
        run = bench.runs[0]
        assert bench.bar.run.disabled
        bench.bar.pause.click()
        while run.status != "paused":
            await asyncio.sleep(0.005)
        assert bench.bar.pause.description == "Resume"
        bench.bar.pause.click()
        while run.status != "running":
            await asyncio.sleep(0.005)
        bench.bar.stop.click()
        await bench.wait()
        assert run.status == "stopped"
        assert "Stopped after" in bench.bar.words.value
        assert not bench.bar.run.disabled

    in_kernel(script, task="swiss_roll", steps=100_000)


@pytest.mark.slow
def test_a_failing_run_is_told_in_the_run_bar():
    async def script(bench):
        bench.form.settings = dw.Settings("SGD", lr=1e20)
        await click_run(bench)
        assert "the loss was no longer a finite number" in bench.bar.failure.value
        assert "Traceback" in bench.bar.failure.value
        assert len(bench.runs[0].history) > 0
        bench.bar.fields["steps"].value = "x"  # a fault elsewhere, fixed, takes nothing away
        bench.bar.fields["steps"].value = "50"
        assert "the loss was no longer a finite number" in bench.bar.failure.value
        bench.form.settings = dw.Settings("SGD", lr=0.1)
        await click_run(bench)
        assert bench.bar.failure.value == ""

    in_kernel(script, task="swiss_roll", steps=100)


@pytest.mark.slow
def test_a_run_can_be_started_named_and_hidden_while_another_prepares(monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 1e9)  # however slow the machine, nothing is told before the end

    async def script(bench):
        first, second = (Run(bench.bar.plan(dw.Settings("SGD", lr=rate))) for rate in (0.1, 0.2))
        bench.start([first])
        while not first.history.groups:
            await asyncio.sleep(0)
        assert not bench.plot.has_run(first.key)  # it is prepared, and the plot has not heard of it
        bench.start([second])
        on_row(bench, second, "visible", visible=False)
        await bench.wait()
        assert [run.status for run in bench.runs] == ["done", "done"]
        assert [trace.name for trace in bench.figure().data if trace.showlegend] == ["SGD · lr 0.1"]
        assert not bench.table.visible[second.key]

    in_kernel(script, task="swiss_roll", steps=60)


@pytest.mark.slow
def test_what_the_back_end_printed_is_shown():
    async def script(bench):
        bench.form.settings = dw.Settings("DADAPT_ADAN", log_every=1)
        await click_run(bench)
        assert "Output of the back end" in bench.bar.output.value
        assert "d_hat" in bench.bar.output.value

    in_kernel(script, task="swiss_roll", steps=3)


@pytest.mark.slow
def test_what_the_second_plot_shows_is_said():
    async def script(bench):
        bench.form.settings = dw.Settings("PRODIGY")
        await click_run(bench)
        assert dw.spec("PRODIGY").rate_words in bench.applied.value

    in_kernel(script, task="swiss_roll", steps=3)


@pytest.mark.slow
def test_the_wikis_figure_is_one_button(monkeypatch):
    from diffopt_widgets.runs.comparisons import Comparison, comparisons
    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.widgets.bench import bench as module

    original = comparisons()[0]
    assert original.title == "D coefficient under cosine"
    assert original.plan == RunPlan(dw.Settings("PRODIGY", lr=1.0, schedule="COSINE"), "digits", 300)
    assert dict(original.over) == {"d_coef": (0.5, 1.0, 1.2)}
    plan = RunPlan(original.plan.settings, "swiss_roll", 5)  # the same on a task that takes a moment
    short = Comparison(original.key, original.title, original.look_for, plan, original.over, original.measured)
    monkeypatch.setattr(module, "comparisons", lambda: (short,))

    async def script(bench):
        bench.menu.choose("d_coef")
        await bench.wait()

    bench = in_kernel(script)
    assert [run.name for run in bench.runs] == [f"PRODIGY · d_coef {text}" for text in ("0.5", "1", "1.2")]
    assert all(run.status == "done" for run in bench.runs)
    assert bench.plot.log["loss"]  # where the ends of the curves are apart
    assert bench.plot.log["eval_loss"]
    assert bench.figure().layout.title.text.startswith("<b>3 runs on swiss_roll</b><br>PRODIGY")
    assert "float32" in bench.plot.svg()
    assert bench.plot.log["rate"]


@pytest.mark.slow
def test_places_are_kept_for_evaluations_on_the_way_unless_the_runs_are_too_short():
    async def script(bench):
        assert "eval_loss" not in bench.plot.expected
        bench.bar.fields["steps"].value = "100"
        assert "eval_loss" in bench.plot.expected
        bench.bar.fields["steps"].value = "3"
        await click_run(bench)
        assert "eval_loss" not in bench.plot.expected

    in_kernel(script, task="swiss_roll", steps=3)


def test_without_an_event_loop_the_bench_says_what_to_do():
    bench = dw.lab(task="swiss_roll", steps=3)
    bench.bar.run.click()
    assert "use train()" in bench.bar.words.value


@pytest.mark.slow
def test_a_run_can_be_repeated_and_a_stopped_one_goes_on(monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 0)  # after each step it is told,
    monkeypatch.setattr(session, "SLICE_SECONDS", 0)  # and the loop asked whether to stop

    async def script(bench):
        bench.bar.run.click()
        while not bench.runs or len(bench.runs[0].history) < 5:
            await asyncio.sleep(0)
        bench.bar.stop.click()
        await bench.wait()
        (run,) = bench.runs
        assert run.status == "stopped"
        taken = len(run.history)
        bench.table._receive(None, {"k": "continue", "key": run.key}, None)
        await bench.wait()
        assert run.status == "done"
        assert taken < len(run.history) == 60
        assert bench.runs == [run]
        assert bench.plot.curves()[0].history is run.history
        assert bench.plot.runs[0]["total"] == 60
        bench.bar.fields["steps"].value = "7"
        bench.table._receive(None, {"k": "repeat", "key": run.key}, None)
        bench.bar.stop.click()
        await bench.wait()
        assert [run.plan.steps for run in bench.runs] == [60, 60]

    in_kernel(script, task="swiss_roll", steps=60)


@pytest.mark.slow
def test_a_removed_run_comes_back_to_its_place_with_its_colour():
    async def script(bench):
        for lr in (0.1, 0.2, 0.3):
            bench.form.settings = dw.Settings("SGD", lr=lr)
            await click_run(bench)

    bench = in_kernel(script, task="swiss_roll", steps=3)
    before = bench.table.rows
    middle = bench.runs[1]
    bench.table._receive(None, {"k": "remove", "key": middle.key}, None)
    assert middle not in bench.runs
    assert not bench.plot.has_run(middle.key)
    assert middle.key not in bench.samples.strips
    bench.table._receive(None, {"k": "restore"}, None)
    assert bench.table.rows == before
    assert bench.runs[1] is middle
    assert bench.plot.has_run(middle.key)
    assert middle.key in bench.samples.strips


@pytest.mark.slow
def test_a_failed_run_offers_its_fix_as_a_button():
    async def script(bench):
        bench.form.settings = dw.Settings("SGD", lr=1e20, schedule="COSINE")
        await click_run(bench)
        assert bench.runs[0].status == "failed"
        assert bench.bar.fix.layout.display is None
        assert bench.bar.fix.description == "Set Learning rate to 0.03"
        bench.bar.fix.click()
        assert bench.form.settings == dw.Settings("SGD", lr=0.03, schedule="COSINE")
        on_row(bench, bench.runs[0], "rename", name="too fast")
        assert (bench.bar.failure.value, bench.bar.progress.alert) == ("", "")  # what was fixed is not told again
        bench.form.undo()
        assert bench.form.settings.lr == 1e20
        bench.form.settings = dw.Settings("SGD", lr=0.1)
        await click_run(bench)
        assert bench.bar.fix.layout.display == "none"
        assert not bench.bar.failure.value

    in_kernel(script, task="swiss_roll", steps=50)


def shown_uses(bench):
    """Buttons that use the rate which a run found."""
    return [button for button in bench._findings._buttons if button.layout.display is None]


@pytest.mark.slow
def test_the_rate_that_a_run_found_is_used_by_a_button():
    async def script(bench):
        bench.bar.fields["seed"].value = "3"
        await click_run(bench)
        found = bench.runs[0].applied_plateau
        assert f"reached {short(found)} (" in bench._findings.line.value
        first, second = shown_uses(bench)
        assert first.description.endswith("in AdamW")
        assert "8-bit" in second.description
        first.click()
        await bench.wait()
        (eight,) = shown_uses(bench)
        assert "8-bit" in eight.description
        eight.click()
        await bench.wait()
        assert shown_uses(bench) == []

    bench = in_kernel(script, settings=dw.Settings("PRODIGY", schedule="COSINE"), task="swiss_roll", steps=40)
    source, *users = bench.runs
    assert [run.settings.optimizer for run in users] == ["ADAMW", "ADAMW_8BIT"]
    for run in users:
        assert run.status == "done"
        assert run.plan == dataclasses.replace(source.plan, settings=run.settings)
        assert run.settings == dw.with_rate_of(source, run.settings.optimizer)
    assert bench.form.settings == users[-1].settings


@pytest.mark.slow
def test_where_no_rate_was_found_the_line_says_why_and_offers_nothing():
    async def script(bench):
        assert bench._findings.line.value == ""
        await click_run(bench)
        assert "No rate to use in AdamW: it took 5 steps" in bench._findings.line.value
        assert shown_uses(bench) == []
        bench.form.settings = dw.Settings("ADAMW", lr=1e-3)
        await click_run(bench)
        assert bench._findings.line.value == ""

    in_kernel(script, settings=dw.Settings("PRODIGY"), task="swiss_roll", steps=5)


@pytest.mark.slow
def test_observations_stand_below_the_status_of_a_run_that_ended():
    async def script(bench):
        await click_run(bench)
        assert "<summary>1 observation</summary>" in bench._findings.line.value
        assert "d did not leave d0 (1e-6) in 40 steps" in bench._findings.line.value
        bench.form.settings = dw.Settings("PRODIGY")
        await click_run(bench)
        assert "observation" not in bench._findings.line.value

    in_kernel(script, settings=dw.Settings("PRODIGY", lr=3e-6), task="swiss_roll", steps=40)


@pytest.mark.slow
def test_the_fix_of_a_run_is_tried_with_weights_of_the_same_precision():
    async def script(bench):
        bench.bar.fields["dtype"].value = "bfloat16"
        bench.form.settings = dw.Settings("SGD", lr=1e20, stochastic_rounding=True)
        await click_run(bench)
        bench.bar.fields["dtype"].value = "float32"
        bench.bar.fix.click()
        assert bench.form.settings == dw.Settings("SGD", lr=0.03, stochastic_rounding=True)
        assert bench.bar.fields["dtype"].value == "bfloat16"
        assert "Press Run to try again" in bench.bar.words.value
        assert not bench.bar.run.disabled

    in_kernel(script, task="swiss_roll", steps=50)


def test_a_run_that_would_be_refused_cannot_be_started():
    async def script(bench):
        bench.form.settings = dw.Settings("MUON", MuonWithAuxAdam=False)
        assert bench.bar.run.tooltip == "This run would be refused: see Auxiliary Adam in the form."
        bench.form.settings = dw.Settings("ADAM", capturable=True)
        bench.bar.fields["device"].value = "cuda"
        assert "Capturable" not in bench.bar.run.tooltip
        bench.bar.fields["device"].value = "cpu"
        assert bench.bar.run.disabled
        assert bench.bar.run.tooltip == "This run would be refused: see Capturable in the form."
        page_fixes(bench, "capturable")
        assert not bench.bar.run.disabled
        for device in {"cuda", "mps"} - set(accelerators()):
            bench.bar.fields["device"].value = device
            assert f"Device: there is no device '{device}' here; there is " in bench.bar.run.tooltip
        bench.bar.fields["device"].value = "cpu"
        assert not bench.bar.run.disabled

    in_kernel(script, task="swiss_roll", steps=3)


@pytest.mark.slow
def test_a_run_hidden_in_the_legend_is_hidden_in_table_and_samples():
    bench = in_kernel(click_run, task="swiss_roll", steps=3)
    key = bench.runs[0].key
    bench.plot._answer(None, {"k": "visible", "id": bench.plot.runs[0]["id"], "visible": False}, [])
    assert bench.table.visible == {key: False}
    assert bench.samples.strips[key].layout.display == "none"


@pytest.mark.slow
def test_a_back_end_that_cannot_be_imported_is_told_and_breaks_nothing(monkeypatch):
    async def script(bench):
        bench.form.choose("ADAM_8BIT")
        bench.form.type("beta1", "0.8")
        assert bench.bar.run.disabled
        assert "bitsandbytes is not installed. To fix it: pip install --upgrade" in bench.bar.run.tooltip
        bench.start([Run(dw.RunPlan(bench.form.settings, "swiss_roll", 3))])  # as a ready comparison does
        await bench.wait()
        (run,) = bench.runs
        assert run.status == "failed"
        assert "ADAM_8BIT needs bitsandbytes" in run.message
        assert "pip install --upgrade" in bench.bar.failure.value
        bench.form.choose("ADAMW")
        await click_run(bench)
        assert bench.runs[1].status == "done"
        monkeypatch.undo()  # it is installed meanwhile
        bench.form.choose("ADAM_8BIT")
        assert bench.form.settings.options["beta1"] == 0.8
        assert bench.form.menu == menu()
        assert not bench.bar.run.disabled

    for name in [name for name in sys.modules if name.split(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # what import then raises for
    in_kernel(script, task="swiss_roll", steps=3)


@pytest.mark.slow
def test_a_new_bench_offers_what_trains_in_another_and_takes_it_over():
    async def script(bench):
        bench.bar.fields["steps"].value = "100000"
        bench.bar.run.click()
        (run,) = bench.runs
        await until(lambda: len(run.history) > 5)
        again = dw.lab(task="swiss_roll")  # the cell is run again
        (offer,) = others(again)
        assert "ADAMW trains in another bench of this notebook: step" in offer.words.value
        assert again.bar.stop.disabled
        offer.take_over.click()
        assert again.runs == [run]
        assert offer.layout.display == "none"
        assert not again.bar.stop.disabled
        steps = len(run.history)
        await until(lambda: len(run.history) > steps and again.plot.has_run(run.key))
        again.bar.stop.click()
        await again.wait()
        assert run.status == "stopped"
        assert bench.bar.words.value == again.bar.words.value

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


@pytest.mark.slow
def test_a_row_has_a_stop_of_its_own_and_its_run_continues_beside_the_others():
    async def script(bench):
        runs = of_rates(0.1, 0.05, steps=100_000)
        bench.start(runs)
        await until(lambda: all(bench.plot.has_run(run.key) and len(run.history) for run in runs))
        assert [row["status"] for row in bench.table.rows] == ["running", "running"]
        on_row(bench, runs[0], "stop")
        await until(lambda: runs[0].ended)
        assert "2 runs: 1 running, 1 stopped · " in bench.bar.words.value
        assert bench.bar.progress.said == f"{runs[0].name}: {runs[0].message}"
        taken = len(runs[0].history)
        on_row(bench, runs[0], "continue")
        await until(lambda: len(runs[0].history) > taken)
        assert [row["status"] for row in bench.table.rows] == ["running", "running"]
        bench.stop(runs[1])
        bench.stop(runs[0])
        await bench.wait()
        assert bench.bar.stop.disabled
        on_row(bench, runs[1], "stop")  # a click that was on its way
        with pytest.raises(ValueError, match="not in progress here"):
            bench.stop(runs[1])

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_a_comparison_is_closed_and_taken_up_from_its_store(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")

    async def closed(bench):
        bench.start(of_rates(0.1, 0.05, steps=400))
        await until(lambda: all(len(run.history) for run in bench.runs))
        bench.bar.pause.click()
        await until(lambda: {run.status for run in bench.runs} == {"paused"})
        assert "2 runs: all paused · " in bench.bar.words.value
        session = bench._session
        bench.close()
        await session.wait()

    async def taken_up(bench):
        bench.start([store.load(told.id) for told in store.list()])
        await bench.wait()
        assert str(bench.verdict).startswith("Best: lr 0.1")

    in_kernel(closed, task="swiss_roll", store=store)
    assert {told.status for told in store.list()} == {"stopped"}
    for run in in_kernel(taken_up, task="swiss_roll", store=store).runs:
        assert_same(run, run_to_end(Run(run.plan), progress=False))
    assert [told.status for told in store.list()] == ["done", "done"]


@pytest.mark.slow
def test_each_failure_of_a_comparison_is_told_once_and_its_back_ends_are_heard():
    async def script(bench):
        alerts = []
        bench.bar.progress.observe(lambda change: alerts.append(change["new"]), "alert")
        plans = [RunPlan(dw.Settings("SGD", lr=rate), "swiss_roll", 60) for rate in (1e20, 1e30)]
        plans.append(RunPlan(dw.Settings("DADAPT_ADAN", log_every=1), "swiss_roll", 60))
        bench.start([Run(plan) for plan in plans])
        await bench.wait()
        assert [run.status for run in bench.runs] == ["failed", "failed", "done"]
        for run in bench.runs[:2]:
            assert sum(text.startswith(run.name) for text in alerts) == 1
        assert any(escape(f"{run.name}: {run.message}") in bench.bar.failure.value for run in bench.runs[:2])
        assert f"{bench.runs[2].name}:\n" in bench.bar.output.value
        bench.bar.fix.click()
        on_row(bench, bench.runs[2], "rename", name="quiet")
        assert (bench.bar.failure.value, bench.bar.progress.alert) == ("", "")

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_or_stops_it_there_and_the_offer_goes_when_nothing_trains():
    async def script(bench):
        bench.bar.fields["steps"].value = "100000"
        bench.bar.run.click()
        bench.start([Run(bench.runs[0].plan)])
        first, second = bench.runs
        await until(lambda: len(first.history) > 5)
        again = dw.lab(task="swiss_roll")
        (offer,) = others(again)
        assert "and 1 more waits" in offer.words.value
        offer.stop.click()
        await bench.wait()
        assert (first.status, second.status) == ("stopped", "stopped")
        assert offer.layout.display == "none"
        assert again.runs == []
        assert others(dw.lab(task="swiss_roll")) == []

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


@pytest.mark.slow
def test_a_run_that_is_taken_over_is_saved_where_it_began(tmp_path):
    async def script(bench):
        bench.bar.fields["steps"].value = "100000"
        bench.bar.run.click()
        (run,) = bench.runs
        await until(lambda: len(run.history) > 5)
        again = dw.lab(task="swiss_roll")  # without a store
        (offer,) = others(again)
        offer.take_over.click()
        on_row(again, run, "rename", name="mine")
        again.bar.stop.click()
        await again.wait()
        (told,) = dw.RunStore(tmp_path / "runs.sqlite").list()
        assert (told.name, told.status, told.steps) == ("mine", "stopped", len(run.history))

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll", store=tmp_path / "runs.sqlite")


@pytest.mark.slow
def test_a_bench_that_trains_itself_does_not_take_over_another():
    async def script(bench):
        bench.bar.fields["steps"].value = "100000"
        bench.bar.run.click()
        again = dw.lab(bench.form.settings, task="swiss_roll", steps=100_000)
        again.bar.run.click()
        (offer,) = others(again)
        offer.take_over.click()
        assert "has runs in progress itself" in again.bar.words.value
        assert len(again.runs) == 1
        again.bar.stop.click()
        bench.bar.stop.click()
        await again.wait()
        await bench.wait()

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


def of_rates(*rates, steps=20):
    plan = dw.RunPlan(dw.Settings("SGD"), "swiss_roll", steps, device="cpu")
    return [Run(plan) for plan in vary(plan, {"lr": list(rates)})]


def saved(bench):
    """What a saved notebook shows below the picture of the bench."""
    return bench.table.still().html


@pytest.mark.slow
def test_a_comparison_ends_with_its_verdict_and_its_progress_is_that_of_all_its_runs():
    async def script(bench):
        seen = []
        bench.bar.progress.observe(lambda _: seen.append((bench.bar.progress.value, bench.bar.progress.words)), "words")
        bench.start(of_rates(1e-4, 0.1, 0.05))
        await bench.wait()
        values = [value for value, _ in seen]
        assert values == sorted(values)
        assert all(f", {100 * value:.0f} %: {round(60 * value)} of 60 steps" in words for value, words in seen[:-1])
        assert all(words.startswith("3 runs: ") for _, words in seen[:-1])
        assert any("running" in words for _, words in seen)

    bench = in_kernel(script, task="swiss_roll")
    best = min(bench.runs, key=lambda run: run.eval_after)
    words = str(bench.verdict)
    assert words.startswith(
        f"Best: {best.name.removeprefix('SGD · ')}, evaluation loss {best.eval_after:.3g}; worst: lr "
    )
    assert words.endswith("How much seeds alone change is not known: all have seed 0.")
    assert escape(words) in bench.bar.words.value
    assert bench.bar.progress.words == bench.bar.progress.said == bench.table.outcome == words
    assert (bench.bar.progress.value, bench.bar.progress.outcome) == (1, "done")
    assert [row["key"] for row in bench.table.rows if row["best"]] == [best.key]
    assert escape(words) in saved(bench)


@pytest.mark.slow
def test_what_a_comparison_trains_with_is_said_until_the_forms_own_run_begins():
    async def script(bench):
        task = bench.bar.about.value
        bench.form.type("lr", "fast")
        bench.form.type("lr", "0.3")
        typed = bench.form.settings
        assert bench.form.aside == {}
        bench.start(of_rates(0.1, 0.05))
        for now in range(2):  # while it trains, and after it
            for place in (bench.bar.about.value, bench.applied.value, *([saved(bench)] * now)):
                assert "learning rate 0.1 and 0.05; all with SGD, schedule Constant, " in place
                assert "Swiss roll, 20 steps, device cpu, seed 0" in place
            assert bench.form.aside["unused"]
            assert "their runs have other settings" in bench.form.aside["words"]
            await bench.wait()
        best = bench.verdict.best_runs[0]
        assert f"{best.name}, the best," in bench.form.aside["button"]
        bench.form._receive(None, {"k": "take", "page": "p", "n": 1}, [])
        assert bench.form.settings == best.settings
        assert bench.form.aside == {
            "words": f"These are the settings of {best.name}, one of the runs that the plots show.",
            "button": "",
            "unused": False,
        }
        bench.form.undo()
        assert bench.form.settings == typed
        assert bench.form.aside["unused"]
        await click_run(bench)
        assert bench.form.aside == {}
        assert bench.bar.about.value == task
        assert "all with SGD" not in bench.applied.value
        assert len(bench.runs) == 3
        assert bench.bar.progress.words == bench.runs[-1].message

    in_kernel(script, settings=dw.Settings("SGD", lr=0.2), task="swiss_roll", steps=20)


def test_a_ready_comparison_is_named_and_a_typed_text_that_is_wrong_survives_it():
    async def script(bench):
        bench.form.type("lr", "fast")
        bench.menu.choose("rounding")
        assert "“Rounding” has settings of its own" in bench.form.aside["words"]
        assert "Rounding: stochastic_rounding off and on; all with" in bench.applied.value
        bench.form.take_offered()
        bench.form.undo()
        assert bench.form.draft.texts["lr"] == "fast"
        bench.bar.stop.click()
        await bench.wait()

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


@pytest.mark.slow
def test_a_comparison_that_is_stopped_says_which_runs_count():
    async def script(bench):
        runs = [*of_rates(0.1), *of_rates(0.05, 0.2, steps=100_000)]
        _, second, third = runs
        bench.start(runs)
        await until(lambda: runs[0].ended and len(second.history) > 2 and len(third.history) > 2)
        assert "3 runs: 2 running, 1 done · " in bench.bar.words.value
        bench.bar.stop.click()
        await bench.wait()
        assert [run.status for run in runs] == ["done", "stopped", "stopped"]
        assert bench.bar.progress.words.startswith("Not compared: the runs have different lengths")
        bench.table._receive(None, {"k": "remove", "key": third.key}, None)
        bench.table._receive(None, {"k": "remove", "key": second.key}, None)
        assert bench.form.aside == {}
        bench.table._receive(None, {"k": "restore"}, None)
        assert bench.form.aside != {}

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_stopped_runs_that_continue_end_their_comparison():
    async def script(bench):
        runs = of_rates(0.1, 0.05, steps=300)
        bench.start(runs)
        await until(lambda: len(runs[0].history) > 2)
        bench.bar.stop.click()
        await bench.wait()
        assert "Did not finish: lr 0.1 and lr 0.05." in bench.bar.words.value
        for run, other in (runs, runs[::-1]):
            on_row(bench, run, "continue")
            await until(lambda: run.status == "running")  # noqa: B023  # it is awaited at once
            assert bench.bar.progress.words.startswith(f"2 runs: 1 running, 1 {other.status}, ")
            await bench.wait()
        assert bench.bar.words.value.count("Best: lr ") == 1

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_two_comparisons_have_their_verdicts_in_turn():
    async def script(bench):
        words = []
        bench.bar.progress.observe(lambda change: words.append(change["new"]), "said")
        bench.start(of_rates(0.1, 0.05, steps=3))
        bench.start(of_rates(0.2, 0.3, 0.4, steps=3))
        assert "0.1 and 0.05" in bench.applied.value
        await bench.wait()
        verdicts = [text for text in words if text.startswith("Best: ")]
        assert len(verdicts) == 2
        assert "0.2, 0.3 and 0.4" in bench.applied.value
        assert len(bench.verdict.runs) == 3

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_a_verdict_stays_in_the_table_until_the_next_one_is_known():
    async def script(bench):
        outcomes, said = [], []
        bench.table.observe(lambda change: outcomes.append(change["new"]), "outcome")
        bench.bar.progress.observe(lambda change: said.append((change["new"], bench.bar.words.value)), "said")
        bench.start(of_rates(0.1, 0.05, steps=3))
        bench.start(of_rates(0.2, 0.3, 0.4, steps=3))
        await bench.wait()
        first, second = outcomes
        assert "0.1" in first
        assert "0.4" in second
        place = [text for text, _ in said].index(first)
        assert escape(first) in said[place][1]
        assert said[place + 1][0] == ""
        assert "preparing" not in said[place + 1][1]  # while it prepares, the verdict may still be spoken

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_a_comparison_that_never_began_is_told_nowhere():
    async def script(bench):
        first, second = of_rates(0.1, 0.05, steps=1000), of_rates(0.2, 0.3, steps=500)
        bench.start(first)
        bench.start(second)
        await until(lambda: len(first[0].history) > 0)
        bench.bar.stop.click()
        await bench.wait()
        assert [run.status for run in bench.runs] == ["stopped"] * 4
        assert set(bench.verdict.runs) == set(first)
        assert escape(str(bench.verdict)) in bench.bar.words.value
        for place in (bench.bar.about.value, bench.applied.value):
            assert "learning rate 0.1 and 0.05; all with SGD" in place
        assert first[0].name in bench.form.aside["button"]

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


def test_what_is_stopped_before_it_began_is_told():
    async def script(bench):
        bench.start(of_rates(0.1, 0.05))
        bench.bar.stop.click()
        await bench.wait()
        assert "No run finished" in bench.bar.words.value
        assert bench.bar.stop.disabled

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_a_run_that_is_started_alone_ends_what_was_told_of_a_comparison():
    async def script(bench):
        task = bench.bar.about.value
        bench.start(of_rates(0.1, 0.05, steps=3))
        await bench.wait()
        assert bench.bar.about.value != task
        bench.start([Run(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 2, device="cpu"))])
        for known in (True, False):  # while it trains, and after it; it is shorter than the others
            assert bench.table.outcome.startswith("Best: lr 0.1") is known
            assert bench.bar.about.value == task
            assert bench.form.aside == {}
            assert "all with" not in bench.applied.value
            await bench.wait()
        assert bench.bar.progress.words == bench.runs[-1].message

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_the_bar_follows_names_removals_and_undo():
    async def script(bench):
        def agree():
            assert escape(str(bench.verdict)) in bench.bar.words.value
            assert bench.bar.progress.said == bench.table.outcome == str(bench.verdict)
            assert f"{bench.verdict.best_runs[0].name}, the best," in bench.form.aside["button"]

        runs = of_rates(1e-4, 0.1, 0.01, steps=3)
        bench.start(runs)
        await bench.wait()
        agree()
        (best,) = bench.verdict.best_runs
        on_row(bench, best, "rename", name="winner")
        assert str(bench.verdict).startswith("Best: winner, ")
        agree()
        on_row(bench, best, "remove")
        assert "winner" not in str(bench.verdict)
        agree()
        on_row(bench, best, "restore")
        assert "winner" in str(bench.verdict)
        agree()
        for run in runs:
            bench.table.remove(run.key)  # by code
        assert "Ready." in bench.bar.words.value
        assert (bench.bar.progress.value, bench.bar.progress.said) == (0, "")
        assert bench.form.aside == {}

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


@pytest.mark.slow
def test_a_run_that_is_added_leaves_the_bar_to_the_run_in_progress():
    async def script(bench):
        runs = of_rates(0.1, 0.05, steps=1000)
        bench.start(runs)
        await until(lambda: len(runs[0].history) > 0)
        bench.bar.pause.click()
        await until(lambda: runs[0].status == "paused")
        bench.add(trained)
        assert "paused" in bench.bar.words.value
        assert bench.bar.progress.words.startswith("2 runs: ")
        assert bench.bar.progress.value < 1
        assert bench.bar.progress.outcome == ""
        bench.bar.stop.click()
        await bench.wait()

    trained = dw.train(dw.Settings("ADAMW"), "swiss_roll", 2, progress=False)
    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_settings_that_failed_are_not_offered():
    async def script(bench):
        bench.start(of_rates(1e30, 0.1, steps=5))
        assert "lr 1e30" in bench.form.aside["button"]  # nothing has failed yet
        await bench.wait()
        assert bench.runs[0].status == "failed"
        assert f"Put the settings of {bench.runs[1].name} into" in bench.form.aside["button"]
        bench.table.remove(bench.runs[1].key)
        bench.start(of_rates(1e30, 1e31, steps=5))
        await bench.wait()
        assert bench.form.aside["words"]
        assert bench.form.aside["button"] == ""

    in_kernel(script, settings=dw.Settings("ADAMW"), task="swiss_roll")


@pytest.mark.slow
def test_a_comparison_that_was_removed_is_held_only_by_undo(monkeypatch):
    monkeypatch.setattr(collection, "UNDO_STEPS", 2)

    async def script(bench):
        bench.start(of_rates(0.1, 0.05, 0.02, 0.01, steps=1))
        await bench.wait()
        held = [weakref.ref(run) for run in bench.runs]
        for run in bench.runs:
            on_row(bench, run, "remove")
        del run
        gc.collect()
        assert [run() is None for run in held] == [True, True, False, False]

    in_kernel(script, task="swiss_roll")


def test_a_comparison_that_is_refused_is_not_pressed_and_says_why_in_words(caplog):
    async def script(bench):
        first, second = bench.menu.items[:2]
        bench.bar.fields["seed"].value = "-7"
        for _ in range(2):
            bench.present.press("n")
            assert bench.menu.pressed == ""
            assert bench.runs == []
            assert "Seed: must be" in bench.bar.progress.alert
        assert caplog.records == []
        bench.bar.fields["seed"].value = "7"
        for item in (first, second):
            bench.present.press("n")
            assert bench.menu.pressed == item["key"]
        bench.bar.stop.click()
        await bench.wait()

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_the_loss_is_logarithmic_at_a_key_whatever_was_set_before():
    async def script(bench):
        bench.plot.log = {"rate": True}
        bench.present.press("l")
        assert bench.plot.log == {"rate": True, "loss": True}

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_a_diverged_run_is_not_the_best_and_its_fix_waits_for_the_end_of_the_comparison():
    async def script(bench):
        hidden = []
        bench.bar.words.observe(lambda _: hidden.append(bench.bar.progress.hidden), "value")
        bench.start(of_rates(1e20, 0.1, 0.05, steps=50))
        await bench.wait()
        assert not any(hidden)
        assert bench.runs[0].status == "failed"
        assert "Diverged: lr 1e20." in bench.bar.words.value
        assert "no longer a finite number" in bench.bar.failure.value
        assert bench.bar.progress.hidden
        assert bench.bar.fix.layout.display is None
        assert not bench.table.rows[0]["best"]
        assert (bench.bar.progress.value, bench.bar.progress.outcome) == (1, "done")

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_own_runs_one_after_the_other_are_compared_where_they_can_be():
    async def script(bench):
        for steps, lr in ((3, 0.05), (20, 1e-4), (20, 0.1)):
            bench.bar.fields["steps"].value = str(steps)
            bench.form.settings = dw.Settings("SGD", lr=lr)
            await click_run(bench)
        assert [bool(row["best"]) for row in bench.table.rows] == [False, False, True]
        assert bench.bar.progress.words == bench.runs[-1].message

    in_kernel(script, task="swiss_roll")


@pytest.mark.slow
def test_a_bench_that_takes_over_a_comparison_shows_all_of_it():
    async def script(bench):
        runs = [*of_rates(0.1, steps=3), *of_rates(0.05, 0.2, steps=100_000)]
        bench.start(runs)
        await until(lambda: runs[0].ended and all(len(run.history) for run in runs))
        again = dw.lab(task="swiss_roll")
        (offer,) = others(again)
        assert "2 runs train in another bench of this notebook: " in offer.words.value
        offer.take_over.click()
        assert again.runs == runs
        assert again.bar.progress.words.startswith("3 runs: 2 running, 1 done, ")
        assert again.form.aside["unused"]
        again.bar.stop.click()
        await again.wait()

    in_kernel(script, task="swiss_roll")


def test_the_report_is_of_the_shown_runs_that_have_finished():
    first, second = two_finished()
    first.rename("<b>first</b> | *one*")

    async def script(bench):
        assert "finished" in bench.report.why
        bench.report.shown = True
        assert bench.report.cells == []  # nothing to report
        bench.add(first)
        bench.add(second)
        bench.report.shown = True

    bench = in_kernel(script, task="swiss_roll")
    assert bench.report.why == ""
    assert len(bench.report.cells) == 3
    assert bench.report.markdown == dw.report([first, second]).markdown()
    assert any("whether that is luck is not known" in line for line in bench.report.lines)
    bench.table.set_visible(second.key, visible=False)
    assert len(bench.report.cells) == 2
    bench.table.set_visible(first.key, visible=False)
    assert bench.report.why
    assert not bench.report.shown


def two_finished():
    """Two finished runs that differ in their learning rate."""
    plan = dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 2)
    for one, loss in zip(vary(plan, {"lr": [1e-3, 1e-2]}), (0.2, 0.3), strict=True):
        run = Run(one, status="running")
        run.set_up("cpu", ["all"])
        run.record(dw.StepRecord(step, step, 1.0, (0.1,), (0.1,)) for step in (1, 2))
        run.record_evaluation(before=1.0, after=loss)
        run.end("done")
        yield run


@pytest.mark.slow
def test_a_long_comparison_tells_its_time_first_and_starts_at_the_second_press():
    async def script(bench):
        bench.menu.choose("all")
        assert bench.runs == []
        assert bench.menu.pressed == ""
        words = bench.bar.progress.said
        assert f"{len(dw.list_optimizers())} runs and takes about" in words
        assert words.endswith("Press it once more to start.")
        bench.menu.choose("all")
        assert len(bench.runs) == len(dw.list_optimizers())
        bench.stop()
        await bench.wait()

    in_kernel(script)
