"""SIGINT, which "Interrupt kernel" sends, ends a training on the event loop, also while the kernel ignores it otherwise."""

import asyncio
import os
import signal
import threading

import pytest
from shared.running import until

import diffopt_widgets as dw
from diffopt_widgets.execution.interrupt import Interrupt
from diffopt_widgets.execution.session import Session
from diffopt_widgets.runs.run import Run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends itself a signal as a Jupyter server does on POSIX")


@pytest.fixture(autouse=True)
def _handler():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def long_run():
    return Run(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 100_000))


def in_loop(script):
    """Run on a loop that sets no handler of its own, as the loop of a kernel."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(script())
    finally:
        loop.close()


@pytest.mark.slow
def test_a_training_ends_at_an_interrupt_that_the_kernel_ignores_and_waiting_runs_are_dropped():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runs = [long_run(), long_run(), long_run()]

    async def script():
        session = Session(lambda _: None)
        session.start(runs[:2])
        session.start(runs[2:])
        await until(lambda: min(len(run.history) for run in runs[:2]) > 0)
        interrupt()
        await session.wait()

    in_loop(script)
    assert [run.status for run in runs] == ["stopped"] * 3
    assert len(runs[2].history) == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.slow
def test_it_ends_a_paused_training_too():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = long_run()

    async def script():
        session = Session(lambda _: None)
        session.start([run])
        await until(lambda: len(run.history) > 0)
        session.pause()
        await until(lambda: run.status == "paused")
        interrupt()
        await session.wait()

    in_loop(script)
    assert run.status == "stopped"


@pytest.mark.slow
def test_a_cell_that_sets_its_own_handler_meanwhile_is_interrupted_as_well():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run, cell = long_run(), []

    async def script():
        session = Session(lambda _: None)
        session.start([run])
        await until(lambda: len(run.history) > 5)
        kernels = signal.signal(signal.SIGINT, lambda *_: cell.append("interrupted"))  # a cell begins
        steps = len(run.history)
        await until(lambda: len(run.history) > steps + 5)
        interrupt()
        await session.wait()
        signal.signal(signal.SIGINT, kernels)  # the cell ends; this is the handler of the ended training
        interrupt()

    in_loop(script)
    assert (run.status, cell) == ("stopped", ["interrupted"])


def test_each_of_two_trainings_is_stopped_and_nothing_is_left_over():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopped = []
    first, second = (Interrupt(lambda name=name: stopped.append(name)) for name in ("first", "second"))
    for _ in range(3):
        first.watch()
        second.watch()
    interrupt()
    assert sorted(stopped) == ["first", "second"]
    first.release()  # it is not the last one that was set
    interrupt()
    assert sorted(stopped) == ["first", "second", "second"]
    second.release()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_without_a_cell_a_script_is_interrupted_as_ever():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stopped = []
    watch = Interrupt(lambda: stopped.append("stopped"))
    watch.watch()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    watch.release()
    assert stopped == ["stopped"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_the_signal_is_left_alone():
    before = signal.getsignal(signal.SIGINT)
    watch = Interrupt(lambda: None)
    thread = threading.Thread(target=lambda: (watch.watch(), watch.release()))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_a_kernel_sets_again_later_keeps_nothing_of_the_training():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopped = []
    training = Interrupt(lambda: stopped.append("stopped"))
    training.watch()
    kernels = signal.signal(signal.SIGINT, signal.default_int_handler)  # an async cell begins
    training.watch()
    training.release()
    signal.signal(signal.SIGINT, kernels)  # the cell ends
    interrupt()
    assert stopped == []
    assert kernels.stop is None


@pytest.mark.slow
@pytest.mark.parametrize("paused", [False, True])
def test_runs_end_when_all_tasks_of_the_loop_are_cancelled(paused):
    runs = [long_run(), long_run(), long_run()]
    seen = []

    async def script():
        session = Session(seen.append)
        session.start(runs[:2])
        session.start(runs[2:])
        await until(lambda: min(len(run.history) for run in runs[:2]) > 0)
        if paused:
            session.pause()
            await until(lambda: runs[0].status == "paused")
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not session.busy
        again = long_run()
        session.start([again])  # the bench can be used as before
        await until(lambda: len(again.history) > 0)
        session.stop()
        await session.wait()

    in_loop(script)
    assert [run.status for run in runs] == ["stopped"] * 3
    assert set(runs) <= set(seen)
