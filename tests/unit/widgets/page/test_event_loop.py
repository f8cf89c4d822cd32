"""What a page or a button asks in another thread, as newer kernels take it, is done on the loop of the cells."""

import asyncio
import threading

import pytest

import diffopt_widgets as dw
from diffopt_widgets.widgets.page.event_loop import on_loop
from diffopt_widgets.widgets.tables.runs_table import RunsTable


def message(content):
    """As Jupyter brings what a page sends."""
    return {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}


async def in_a_subshell(action, *args):
    """Do something in another thread, and give the cells' loop the moment that it needs."""
    await asyncio.to_thread(action, *args)
    await asyncio.sleep(0)


def test_what_a_page_types_is_observed_on_the_loop():
    async def notebook():
        form, seen = dw.Form(dw.Settings("ADAM")), []
        form.observe(lambda change: seen.append((threading.current_thread(), change.new.options["beta2"])), "settings")
        await in_a_subshell(form._handle_msg, message({"k": "type", "name": "beta2", "text": "0.5"}))
        return seen

    assert asyncio.run(notebook()) == [(threading.main_thread(), 0.5)]


def test_an_update_of_a_trait_is_observed_on_the_loop():
    async def notebook():
        table, seen = RunsTable(), []
        table.observe(lambda _: seen.append(threading.current_thread()), "notice")
        await in_a_subshell(table._handle_msg, update(notice="moved"))
        return seen

    assert asyncio.run(notebook()) == [threading.main_thread()]


def update(**state):
    """As Jupyter brings a value that a page has changed."""
    return {"content": {"data": {"method": "update", "state": state}}, "buffers": []}


def test_the_plain_controls_of_the_run_bar_and_of_a_form_act_on_the_loop():
    """The form is there too: from two threads at once, one would undo what the other had taken."""

    async def notebook():
        bench = dw.lab(dw.Settings("ADAM"), task="swiss_roll", steps=2)
        control, ways = bench.form.slider("beta2"), []
        bench.form.observe(lambda _: ways.append(threading.current_thread()), ["settings", "run"])
        await in_a_subshell(bench.bar.task._handle_msg, update(index=0))
        await in_a_subshell(bench.bar.fields["steps"]._handle_msg, update(value="7"))
        await in_a_subshell(control._handle_msg, update(value=0.95))
        return bench.form.run.steps, bench.form.settings.options["beta2"], set(ways)

    assert asyncio.run(notebook()) == (7, 0.95, {threading.main_thread()})


@pytest.mark.slow
def test_what_is_typed_while_a_cell_runs_is_in_the_run_that_is_asked_for_after_it():
    async def notebook():
        bench = dw.lab(dw.Settings("ADAM"), task="swiss_roll", steps=2)
        steps, texts = bench.bar.fields["steps"], bench.bar.guard._texts
        typed = ["12" if field is steps else field.value for field in texts]

        def page():
            bench.form._handle_msg(message({"k": "type", "name": "lr", "text": "0.5"}))
            steps._handle_msg(update(value="1"))
            bench.bar.guard._handle_msg(message({"texts": typed}))
            bench.bar.run.click()

        subshell = threading.Thread(target=page)
        subshell.start()
        subshell.join()  # the cell goes on meanwhile
        await asyncio.sleep(0)
        await bench.wait()
        return [(run.settings.lr, run.plan.steps, run.status) for run in bench.runs]

    assert asyncio.run(notebook()) == [(0.5, 12, "done")]


@pytest.mark.slow
def test_a_button_of_the_bench_acts_on_the_loop():
    async def notebook():
        bench = dw.lab(dw.Settings("ADAM"), task="swiss_roll", steps=2)
        ways = []
        bench.table.observe(lambda _: ways.append(threading.current_thread()), "rows")
        await in_a_subshell(bench.bar.run.click)
        await bench.wait()
        return bench.runs[0].status, set(ways)

    assert asyncio.run(notebook()) == ("done", {threading.main_thread()})


@pytest.mark.slow
def test_a_click_in_the_legend_reaches_the_table_on_the_loop():
    async def notebook():
        bench = dw.lab(dw.Settings("ADAM"), task="swiss_roll", steps=2)
        bench.bar.run.click()
        await bench.wait()
        ways = []
        bench.table.observe(lambda change: ways.append((threading.current_thread(), change.new[0]["visible"])), "rows")
        number = bench.plot.runs[0]["id"]
        await in_a_subshell(bench.plot._handle_msg, message({"k": "visible", "id": number, "visible": False}))
        return ways

    assert asyncio.run(notebook()) == [(threading.main_thread(), False)]


@pytest.mark.slow
def test_a_click_in_the_legend_while_a_cell_runs_shows_in_the_plot_at_once_and_elsewhere_after_it():
    async def notebook():
        bench = dw.lab(dw.Settings("ADAM"), task="swiss_roll", steps=2)
        bench.bar.run.click()
        await bench.wait()
        [run] = bench.runs
        strip, number = bench.samples.strips[run.key], bench.plot.runs[0]["id"]

        def looks():
            return bench.plot.runs[0]["visible"], bench.table.visible[run.key], strip.layout.display

        click = message({"k": "visible", "id": number, "visible": False})
        subshell = threading.Thread(target=bench.plot._handle_msg, args=(click,))
        subshell.start()
        subshell.join()  # the cell goes on meanwhile
        before = looks()
        await asyncio.sleep(0)
        return before, looks()

    assert asyncio.run(notebook()) == ((False, True, None), (False, False, "none"))


@pytest.mark.slow
def test_a_message_is_handled_until_its_observers_have_ended_unless_a_cell_runs():
    """What they print belongs to the message, as long as that is handled."""

    async def notebook():
        form, seen = dw.Form(dw.Settings("ADAM")), []
        let_go = threading.Event()

        def slow(change):
            let_go.wait(0.5)  # whoever does not wait for it is heard first
            seen.append(change.new.lr)

        def handle(text):
            form._handle_msg(message({"k": "type", "name": "lr", "text": text}))
            seen.append("handled")
            let_go.set()

        form.observe(slow, "value")
        await asyncio.to_thread(handle, "0.5")
        subshell = threading.Thread(target=handle, args=("0.25",))
        subshell.start()
        subshell.join()  # the cell goes on meanwhile
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(notebook()) == [0.5, "handled", "handled", 0.25]


def test_without_a_loop_it_is_done_at_once():
    done = []
    on_loop(None, done.append, 1)
    loop = asyncio.new_event_loop()
    on_loop(loop, done.append, 2)
    loop.close()
    on_loop(loop, done.append, 3)
    assert done == [1, 2, 3]


def test_on_the_loop_itself_it_is_done_at_once():
    async def cell():
        done = []
        on_loop(asyncio.get_running_loop(), done.append, 1)
        return done

    assert asyncio.run(cell()) == [1]
