"""Buttons pressed too often, too early, too late, and benches that go away while they train."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import torch
from operations import check
from running import PATIENCE, until
from tried import BOWL, Bowl, Tried

import diffopt_widgets as dw
from diffopt_widgets.runs.run import Run
from diffopt_widgets.tasks import Task
from diffopt_widgets.widgets.bench.other_session import OtherSession

LONG = 10_000_000
"""Steps of a run that ends only when it is stopped."""


def click(button: ipywidgets.Button) -> None:
    """Click as a page does, by a message."""
    button._handle_msg({"content": {"data": {"method": "custom", "content": {"event": "click"}}}, "buffers": []})


def at_work(bench: Any) -> list[Run]:
    """Return the runs that train or are paused."""
    return [run for run in bench.runs if run.status in ("running", "paused")]


class Left:
    """What a bench leaves behind, by kind; all must be as it was when the bench is gone."""

    def __init__(self) -> None:
        for _ in range(3):  # what a finalizer uses once more is collected the next time
            gc.collect()
        objects = [type(o) for o in gc.get_objects()]
        self.counts = {
            "threads": sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
            "widgets": len(instances()),
            "tensors": sum(issubclass(kind, torch.Tensor) for kind in objects),
            "runs": objects.count(Run),
            "optimizers": sum(issubclass(kind, torch.optim.Optimizer) for kind in objects),
        }

    def check(self, what: str) -> None:
        """Compare with what there is now."""
        now = Left().counts
        grown = {kind: (before, now[kind]) for kind, before in self.counts.items() if now[kind] > before}
        check(not grown, f"{what} leaves behind (before, now):", grown)


def instances() -> dict[str, Any]:
    """Return the widgets that are open, under ipywidgets 7 and 8."""
    module = sys.modules["ipywidgets.widgets.widget"]
    return getattr(module, "_instances", None) if hasattr(module, "_instances") else ipywidgets.Widget.widgets


@contextlib.contextmanager
def kept_apart() -> Iterator[Path]:
    """Give a folder in which the form's file lies meanwhile, instead of the user's own."""
    before = os.environ.get("DIFFOPT_CONFIG_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIFFOPT_CONFIG_DIR"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("DIFFOPT_CONFIG_DIR")
            if before is not None:
                os.environ["DIFFOPT_CONFIG_DIR"] = before


def bench_of(folder: Path, steps: int = LONG, **options: Any) -> Any:
    """Open a bench on the bowl, whose runs are saved."""
    dw.register_task(BOWL, replace=True)
    return dw.lab(dw.Settings("ADAMW"), task="bowl", steps=steps, store=folder / "runs.sqlite", **options)


async def ended(bench: Any) -> None:
    """Press Stop, wait, and check that nothing is left to do."""
    click(bench.bar.stop)
    await bench.wait()
    check(not bench._is_busy() and not at_work(bench), "at work after Stop", bench.runs)
    check(not bench.bar.run.disabled and bench.bar.stop.disabled, "the buttons are not as before")


def run_pressed_often(rounds: int, seed: int) -> Tried:
    """Press Run 20 times in a second, on the loop or from a thread as newer kernels do: one run."""
    chance, most = random.Random(seed), 0

    async def press(bench: Any, threaded: bool) -> None:
        nonlocal most
        for _ in range(20):
            if threaded:
                await asyncio.to_thread(click, bench.bar.run)
            else:
                click(bench.bar.run)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05]))
            most = max(most, len(at_work(bench)))
        check(len(bench.runs) == 1, "20 clicks started", len(bench.runs))
        await until(lambda: len(bench.runs[0].history))
        await ended(bench)
        check(bench.runs[0].status == "stopped", bench.runs[0])

    async def burst(bench: Any) -> None:
        """Press in a thread while the loop is busy: all clicks come at once."""
        thread = threading.Thread(target=lambda: [click(bench.bar.run) for _ in range(20)])
        thread.start()
        thread.join()
        await until(lambda: bench.runs and len(bench.runs[0].history))
        check(len(bench.runs) == 1, "20 clicks at once started", len(bench.runs))
        await ended(bench)

    async def main(kind: int) -> None:
        with kept_apart() as folder:
            bench = bench_of(folder)
            await (burst(bench) if kind == 2 else press(bench, kind == 1))
            bench.close()

    async def counted() -> None:
        """Wait for the size of the state, whose shapes are kept: a bench that is closed early has not counted them."""
        with kept_apart() as folder:
            bench = bench_of(folder)
            await until(lambda: bench.size.shown and not bench.size.shown.get("pending"))
            bench.close()

    asyncio.run(main(0))  # loads what is loaded once
    asyncio.run(counted())
    before = Left()
    for number in range(rounds):
        asyncio.run(main(number % 3))
    before.check("Run pressed 20 times")
    check(most == 1, "at once:", most)
    return Tried("Run pressed 20 times in a second", rounds, "one run; threads, widgets, tensors as before")


def stopped_while_starting(rounds: int, seed: int) -> Tried:
    """Press Stop at some moment between the click on Run and the first steps; the next run is as any."""
    chance, told = random.Random(seed), dict.fromkeys(("not started", "while it was built", "after the first step"), 0)

    async def main(turns: int) -> None:
        building: list[Any] = []

        def build(*arguments: Any) -> Bowl:
            for act in building:
                act()
            return Bowl(*arguments)

        task = Task(key="slow_start", title="Slow", summary="Slow.", build=build, steps=LONG, batch_size=8)
        with kept_apart() as folder:
            bench = dw.lab(dw.Settings("ADAMW"), task=task, store=folder / "runs.sqlite")
            if turns < 0:
                building.append(lambda: click(bench.bar.stop))
            click(bench.bar.run)
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns >= 0:
                click(bench.bar.stop)
            await bench.wait()
            (run,) = bench.runs
            check(run.status == "stopped", run.status, run.message, run.trace)
            steps = len(run.history)
            check(turns >= 0 or steps <= 1, "Stop while it is built came after", steps)
            told["while it was built" if turns < 0 else "after the first step" if steps else "not started"] += 1
            building.clear()
            bench.bar.fields["steps"].value = "5"
            click(bench.bar.run)
            await bench.wait()
            check(bench.runs[-1].status == "done" and len(bench.runs[-1].history) == 5, bench.runs[-1])
            bench.bar.fields["steps"].value = str(LONG)
            bench.close()

    asyncio.run(main(0))
    told.update(dict.fromkeys(told, 0))
    before = Left()
    for number in range(rounds):
        asyncio.run(main([-1, 0, 1, 2, chance.randrange(3, 12)][number % 5]))
    before.check("Stop during the start")
    return Tried(
        "Stop during the start",
        rounds,
        "the run is stopped, the next one trains to its end; nothing left behind",
        ", ".join(f"{count} {when}" for when, count in told.items()),
    )


def changed_while_it_trains(rounds: int, seed: int) -> Tried:
    """Switch the optimizer, run the cell again, close the bench, close all widgets, while it trains."""
    chance = random.Random(seed)
    ways = ["optimizer switched", "cell run again", "bench closed", "all widgets closed", "taken over, then closed"]

    async def main(way: str) -> None:
        with kept_apart() as folder:
            bench = bench_of(folder)
            click(bench.bar.run)
            await until(lambda: bench.runs and len(bench.runs[0].history) > chance.randrange(20))
            (run,) = bench.runs
            settings, session = run.settings, bench._session
            if way == "optimizer switched":
                for optimizer in ("PRODIGY", "LION", "SGD"):
                    bench.form._handle_custom_msg({"k": "choose", "optimizer": optimizer, "page": "p", "n": 1}, [])
                    await asyncio.sleep(0)
                check(run.settings == settings and bench.form.settings.optimizer == "SGD", run.settings)
                taken = len(run.history)
                await until(lambda: len(run.history) > taken)
                await ended(bench)
                click(bench.bar.run)
                await until(lambda: len(bench.runs[1].history))
                check(bench.runs[1].settings.optimizer == "SGD", bench.runs[1])
                await ended(bench)
                bench.close()
            elif way == "cell run again":
                again = bench_of(folder)
                (line,) = [child for child in again.children if isinstance(child, OtherSession)]
                check(again.bar.stop.disabled and len(at_work(bench)) == 1, "the new bench trains")
                click(line.stop)
                await bench.wait()
                check(line.layout.display == "none", "the line about the other bench stays")
                bench.close()
                again.close()
            elif way == "taken over, then closed":
                again = bench_of(folder)
                (line,) = [child for child in again.children if isinstance(child, OtherSession)]
                click(line.take_over)
                bench.close()
                taken = len(run.history)
                await until(lambda: len(run.history) > taken)  # another bench shows it: it goes on
                again.close()
            else:
                bench.close() if way == "bench closed" else ipywidgets.Widget.close_all()
            await asyncio.wait_for(session.wait(), PATIENCE)
            check(run.status == "stopped", way, run)
            (stored, *_) = [told for told in dw.RunStore(folder / "runs.sqlite").list() if told.id == run.key]
            check((stored.status, stored.steps) == ("stopped", len(run.history)), stored)

    for way in ways:
        asyncio.run(main(way))
    before = Left()
    for number in range(rounds):
        asyncio.run(main(ways[number % len(ways)]))
    before.check("a bench that went while it trained")
    return Tried(
        ", ".join(ways) + " while it trains", rounds, "one run at a time; no work, widget or tensor left behind"
    )
