"""Hours of work in one kernel: nothing grows but the records themselves."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import torch  # noqa: TC002  # what a task is made of
from operations import check
from pressed import Left, bench_of, kept_apart
from tried import Bowl, Tried

import diffopt_widgets as dw
from diffopt_widgets.execution import driver, rounds, session
from diffopt_widgets.records import History
from diffopt_widgets.store import run_saver, run_writer
from diffopt_widgets.tasks import Task
from diffopt_widgets.training import loop
from diffopt_widgets.widgets.bench import rest
from diffopt_widgets.widgets.plot import live

MEGABYTE = 2**20


class Memory:
    """Memory in use: what Python has allocated, its objects, and the pages of the process."""

    def __init__(self) -> None:
        gc.collect()
        self.allocated = tracemalloc.get_traced_memory()[0]
        self.objects = len(gc.get_objects())
        self.resident = psutil.Process().memory_info().rss

    def since(self, before: Memory) -> tuple[int, int, int]:
        """Return by how much each has grown: bytes, objects, bytes."""
        return self.allocated - before.allocated, self.objects - before.objects, self.resident - before.resident


def views(bench: Any, count: int) -> None:
    """Say as the page does how often a bench and its parts are seen."""
    for part in (bench, bench.form, bench.size, bench.bar, bench.menu, bench.plot, bench.table, bench.samples):
        part._view_count = count


def benches(count: int, warm_up: int = 20) -> Tried:
    """Open benches one after the other in one kernel; close each, or run its cell again; some have trained."""
    running, before = rest._running_cell, None
    rest._running_cell = lambda: ("cell", str(number))
    tracemalloc.start()

    async def each(folder: Path, former: list[Any]) -> None:
        bench = bench_of(folder, steps=20)
        bench._rest.displayed()
        views(bench, 1)
        for old in former:  # its cell was run again
            views(old, 0)
            check(old.comm is None, "a bench that nobody sees stays open")
        former.clear()
        if number % 4 == 0:
            bench.bar.run.click()
            await bench.wait()
        for optimizer in ("ADAMW", "LION"):
            bench.form.choose(optimizer)
        if number % 2:
            bench.close()
        else:
            former.append(bench)
        await asyncio.sleep(0)

    async def main() -> tuple[Memory, Memory]:
        nonlocal number
        former: list[Any] = []
        with kept_apart() as folder:
            for number in range(warm_up):  # noqa: B007  # each reads it
                await each(folder, former)
            left, memory = Left(), Memory()
            for number in range(warm_up, warm_up + count):  # noqa: B007  # as above
                await each(folder, former)
            left.check("a bench that was closed")
            return memory, Memory()

    number = 0
    try:
        before, after = asyncio.run(main())
    finally:
        rest._running_cell = running
        tracemalloc.stop()
    allocated, objects, resident = after.since(before)
    check(allocated < 4096 * count, "bytes for each bench that is gone:", allocated / count)
    check(objects < 20 * count, "objects for each bench that is gone:", objects / count)
    return Tried(
        "benches opened and closed in one kernel, by close() and by running their cell again; a quarter has trained",
        count,
        "every widget, run, tensor and thread of them is gone",
        f"each leaves {max(0, allocated) / count:,.0f} bytes and {max(0, objects) / count:.1f} objects; "
        f"resident memory {resident / MEGABYTE:+.0f} MB",
    )


def records(count: int) -> Tried:
    """Record, draw and save many steps of one run."""
    rows = count // 200
    tracemalloc.start()
    try:
        with kept_apart() as folder:
            history, plot = History(("a",)), dw.LivePlot()
            plot.add_run("a", "a", history)
            writer = dw.RunStore(folder / "runs.sqlite").begin("a", history)
            measured: list[int] = []
            for number in range(200):
                step = np.arange(number * rows, (number + 1) * rows) + 1.0
                values = {"loss": 1 / step, "applied_lr": step[:, None], "lr": step[:, None], "seconds": step}
                history.extend_columns(step, values)
                plot.refresh(final=True)
                writer.save()
                writer.flush()
                if number in (19, 199):
                    gc.collect()
                    own = history._step.nbytes + sum(column.nbytes for column in history._columns.values())
                    measured.append(tracemalloc.get_traced_memory()[0] - own)
            writer.end("done")
            stored = dw.RunStore(folder / "runs.sqlite").load(writer.id).history
            np.testing.assert_array_equal(stored.column("loss"), history.column("loss"))
            size = (folder / "runs.sqlite").stat().st_size
    finally:
        tracemalloc.stop()
    grown = measured[1] - measured[0]
    check(grown < MEGABYTE / 4, "beside the history:", grown, "bytes")
    return Tried(
        "records of one run, drawn and saved",
        count,
        "memory beside the history does not grow; the store has every record to the bit",
        f"{grown / 1024:+.0f} kB beside a history of {own / MEGABYTE:.0f} MB; the store has {size / MEGABYTE:.0f} MB",
    )


class Clock:
    """A clock that the training itself moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        return self.now


def hours(count: float, step: float) -> Tried:
    """Train for hours by a clock that each step moves on by so many seconds, on a bench with a store."""
    clock, steps, measured = Clock(), round(3600 * count / step), []
    fake = SimpleNamespace(perf_counter=clock.read, monotonic=clock.read, time=clock.read)

    class Slow(Bowl):
        def loss(self, number: int, micro: int = 0) -> torch.Tensor:
            clock.now += step
            return super().loss(number, micro)

    task = Task(key="slow", title="Slow", summary="By a clock of its own.", build=Slow, steps=steps, batch_size=8)
    modules = (driver, session, rounds, loop, live, run_saver, run_writer)
    kept = [module.time for module in modules]
    tracemalloc.start()
    published = 0

    async def main(folder: Path) -> None:
        nonlocal published
        bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"), task=task, steps=steps, store=folder / "runs.sqlite")
        bench.bar.run.click()

        def look(run: dw.Run) -> None:
            nonlocal published
            published += 1
            if len(run.history) in (steps // 4, steps - 1):
                memory = Memory()
                history = run.history
                own = history._step.nbytes + sum(column.nbytes for column in history._columns.values())
                measured.append((memory.allocated - own, memory.objects, own))

        bench._session.listen(look)
        await bench.wait()
        (run,) = bench.runs
        check((run.status, len(run.history)) == ("done", steps), run, run.message)
        (told,) = dw.RunStore(folder / "runs.sqlite").list()
        check((told.status, told.steps) == ("done", steps), told)
        check(run.seconds >= 3600 * count * 0.99, "hours by its clock:", run.seconds / 3600)
        bench.close()

    try:
        for module in modules:
            module.time = fake
        with kept_apart() as folder:
            asyncio.run(main(folder))
    finally:
        for module, real in zip(modules, kept, strict=True):
            module.time = real
        tracemalloc.stop()
    (first, objects, _), (last, more, own) = measured
    check(last - first < MEGABYTE / 4, "beside the history:", last - first, "bytes")
    check(more - objects < 500, "objects:", more - objects)
    return Tried(
        f"a run of {count:g} hours in fast motion ({steps:,} steps of {step:g} s by a clock of its own), published at each step",
        published,
        "memory beside the history does not grow; all is in the store",
        f"{(last - first) / 1024:+.0f} kB and {more - objects:+d} objects beside a history of {own / MEGABYTE:.1f} MB",
    )
