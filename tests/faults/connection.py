"""A page that loses its connection: what a live plot sends is delayed, put in another order and dropped, in both directions.

The kernel's side is a real `LivePlot`, the page's side its real JavaScript, run by node. Time is that of a clock which is
moved on, so a minute without connection takes a moment, and the same seed gives the same course.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from operations import check
from pressed import bench_of, kept_apart
from running import until
from tried import Tried
from wires import keep_messages, kept

import diffopt_widgets as dw
from diffopt_widgets.records import History
from diffopt_widgets.widgets.plot import live

TICK = 0.2
"""Seconds of the clock between two looks at what is due."""
TRAINING = 90.0
"""Seconds of the clock for which records come."""
PATIENCE = 300.0
"""Seconds of the clock after which a page must have all rows."""
FAULTS = (
    "none",
    "delayed",
    "reordered",
    "dropped",
    "often dropped",
    "offline",
    "reloaded",
    "closed",
    "opened twice",
    "all",
)


class Pages:
    """The program with the pages."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("page.mjs")
        self.process = subprocess.Popen(
            ["node", "--no-warnings", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, *acts: dict[str, Any]) -> dict[str, Any]:
        """Do this in the pages; return what they send, and the rows that were asked for."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(acts) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> None:
        """End the program."""
        self.process.communicate()


class Wire:
    """What is under way in one direction, with a fault of the connection."""

    def __init__(self, fault: str, chance: random.Random) -> None:
        self.fault, self.chance = fault, chance
        self.under_way: list[tuple[float, int, Any]] = []
        self.count = 0
        self.told = Counter[str]()

    def send(self, now: float, content: Any) -> None:
        """Put a message on its way, or lose it."""
        self.count += 1
        share = {"dropped": 0.1, "often dropped": 0.3, "all": 0.2}.get(self.fault, 0.0)
        if (self.fault in ("offline", "all") and 15 <= now < 75) or self.chance.random() < share:
            self.told["lost"] += 1
            return
        delay = 0.5 if self.fault in ("delayed", "all") else 0.0
        if self.fault in ("reordered", "all"):
            delay += 2 * self.chance.random()
        self.under_way.append((now + delay, self.count, content))

    def due(self, now: float) -> list[Any]:
        """Return what arrives now, in the order in which it arrives."""
        arrived = sorted(one for one in self.under_way if one[0] <= now)
        numbers = [number for _, number, _ in arrived]
        self.told["late"] += sum(a > b for a, b in pairwise(numbers))
        self.under_way = [one for one in self.under_way if one[0] > now]
        return [content for *_, content in arrived]


def messages_of(plot: dw.LivePlot) -> Iterator[dict[str, Any]]:
    """Take what a plot has sent since the last time, as a page gets it."""
    sent = kept(plot.comm)
    for kind, data, buffers in sent:
        if kind == "comm_msg" and data.get("method") == "custom":
            packed = [base64.b64encode(bytes(buffer)).decode() for buffer in buffers]
            yield {"content": data["content"], "buffers": packed}
        elif kind == "comm_msg" and data.get("method") == "update":
            yield {"state": plain(data["state"])}
    sent.clear()


def plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: state[name] for name in ("runs", "smoothing", "_panels") if name in state}


@contextmanager
def plot_by_clock() -> Iterator[tuple[dw.LivePlot, SimpleNamespace]]:
    """Give a plot whose messages are kept, and the clock that it reads."""
    clock = SimpleNamespace(now=0.0)
    with pytest.MonkeyPatch.context() as patch:
        keep_messages(patch)
        patch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
        yield dw.LivePlot(), clock


def one_course(fault: str, seed: int, told: Counter[str]) -> float:
    """Let two runs be drawn over a connection with a fault; return how long after its end the pages have every row."""
    chance, pages = random.Random(seed), Pages()
    try:
        with plot_by_clock() as (plot, clock):
            return _course(fault, chance, pages, plot, clock, told)
    finally:
        pages.end()


def _course(
    fault: str, chance: random.Random, pages: Pages, plot: dw.LivePlot, clock: SimpleNamespace, told: Counter[str]
) -> float:
    histories = {key: History(("a",)) for key in ("first", "second")}
    for key, history in histories.items():
        plot.add_run(key, key, history)
    there, back = {}, Wire(fault, chance)

    def opened(name: str) -> dict[str, Any]:
        there[name] = Wire(fault, chance)
        return {"k": "open", "page": name, "state": json.loads(json.dumps(plain(plot.get_state())))}

    first = [opened("a")]
    acts: list[dict[str, Any]] = first
    reloads = {"reloaded": (20.0, 21.0), "closed": (20.0, 60.0), "all": (80.0, 81.0)}.get(fault)
    twice = 30.0 if fault in ("opened twice", "all") else math.inf
    ends = {"first": TRAINING * 0.6, "second": TRAINING}
    ended: set[str] = set()
    while clock.now < TRAINING + PATIENCE:
        for key, history in histories.items():
            if clock.now < ends[key]:
                rows = chance.choice([0, 1, 3, 7, 20])
                step = np.arange(len(history) + 1.0, len(history) + rows + 1)
                history.extend_columns(step, {"loss": np.sin(step), "applied_lr": step[:, None], "seconds": step})
            elif key not in ended:
                ended.add(key)
                plot.end_run(key)
        if len(ended) < 2:
            plot.refresh()
        for message in messages_of(plot):
            for wire in there.values():
                wire.send(clock.now, message)
        if reloads and "a" in there and clock.now >= reloads[0]:
            del there["a"]
            acts.append({"k": "close", "page": "a"})
            back.under_way.clear()
        elif reloads and not there.keys() & {"a", "again"} and clock.now >= reloads[1]:
            acts.append(opened("again"))
        if clock.now >= twice and "b" not in there:
            acts.append(opened("b"))
        for name, wire in there.items():
            acts += [{"k": "message", "page": name, "message": message} for message in wire.due(clock.now)]
        answer = pages.do(
            *acts, {"k": "pass", "ms": 1000 * TICK}, *({"k": "rows", "page": name} for name in there if len(ended) == 2)
        )
        acts = []
        clock.now += TICK
        for one in answer["sent"]:
            back.send(clock.now, one["content"])
        for content in back.due(clock.now):
            plot._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
        if len(ended) == 2 and there and all(whole(rows, histories) for rows in answer["rows"]):
            told.update(back.told)
            for wire in there.values():
                told.update(wire.told)
            return clock.now - TRAINING
    raise AssertionError(
        fault, "lacks rows after", PATIENCE, [[{**run, "values": ...} for run in rows] for rows in answer["rows"]]
    )


def whole(rows: list[dict[str, Any]], histories: dict[str, History]) -> bool:
    """Return whether a page has all rows; what it has must be right, and never more than there is."""
    complete = {run["key"] for run in rows} == set(histories)
    for run in rows:
        history = histories[run["key"]]
        check(run["length"] <= len(history), "rows twice:", run["key"], run["length"], len(history))
        missing = {row for first, stop in run["missing"] for row in range(first, stop)}
        loss = history.column("loss").astype(np.float32)
        for row, (step, value) in enumerate(run["values"]):
            if row not in missing:
                check(step == history.step[row] and np.float32(value) == loss[row], "a wrong point:", row, step, value)
        complete &= not missing and run["length"] == len(history) and run["total"] == len(history)
    return complete


def pages(rounds: int, seed: int) -> Tried:
    """Draw runs over a connection with each of the faults; every page ends with every point once."""
    told, longest = Counter[str](), 0.0
    for number in range(rounds):
        longest = max(longest, one_course(FAULTS[number % len(FAULTS)], seed + number, told))
    return Tried(
        "page offline for a minute, reloaded, closed and opened later, opened twice; messages delayed by 500 ms, in "
        "another order, dropped (10 and 30 %), all of it at once; both ways",
        rounds,
        "every page has every point, once, and no wrong one",
        f"{told['lost']:,} messages lost, {told['late']:,} overtaken; the last points came at most {longest:.0f} s after the end",
    )


def speed(steps: int = 4000, rounds: int = 5) -> Tried:
    """Train on a bench with no page, and with one over a connection that delays and drops, in turns; print the ratio."""
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds):
        with kept_apart() as folder, pytest.MonkeyPatch.context() as patch:
            keep_messages(patch)
            speeds[bool(number % 2)].append(asyncio.run(_speed(folder, steps, shown=bool(number % 2))))
    with_page, without = (float(np.median(speeds[shown])) for shown in (True, False))
    return Tried(
        "training with a page whose messages take 500 ms and get lost (10 %), and without a page, in turns",
        2 * rounds,
        "the training does not wait for the page",
        f"{with_page / without:.2f} of the steps per second ({with_page:,.0f} and {without:,.0f})",
    )


async def _speed(folder: Path, steps: int, *, shown: bool) -> float:
    pages, bench = Pages(), bench_of(folder, steps=steps)
    to_page, back = Wire("dropped", random.Random(1)), Wire("dropped", random.Random(2))
    acts = [{"k": "open", "page": "a", "state": json.loads(json.dumps(plain(bench.plot.get_state())))}]

    async def connect() -> None:
        nonlocal acts
        while True:
            now = time.monotonic()
            for message in messages_of(bench.plot):
                to_page.send(now + 0.5, message)
            acts += [{"k": "message", "page": "a", "message": message} for message in to_page.due(now)]
            answer = await asyncio.to_thread(pages.do, *acts, {"k": "pass", "ms": 100})
            acts = []
            for one in answer["sent"]:
                back.send(now + 0.5, one["content"])
            for content in back.due(now):
                bench.plot._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
            await asyncio.sleep(0.1)

    task = asyncio.create_task(connect()) if shown else None
    bench.bar.run.click()
    await until(lambda: bench.runs and bench.runs[0].ended)
    if task:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    speed = bench.runs[0].steps_per_second
    bench.close()
    pages.end()
    return float(speed or 0)
