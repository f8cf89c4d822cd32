"""Runs that fail or are interrupted: each ends with its reason, keeps its history, and the next one starts clean."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import math
import random
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from operations import check
from pressed import Left, kept_apart
from tried import Bowl, Tried
from typing_extensions import Self

import diffopt_widgets as dw
from diffopt_widgets.cli import main as cli
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.tasks import Task
from diffopt_widgets.widgets.page.html import escape

STEPS = 120
AT = 100
"""Step at which what is tried happens."""
SHORT = False
"""Whether each fault happens in one way only, not in each."""
PACKAGE = str(Path(dw.__file__).parent)


class Broken(Bowl):
    """A bowl that does something at a step: `fault` is set by who tries it."""

    fault: Callable[[str, int, torch.Tensor | None], torch.Tensor | None] = lambda place, step, loss: loss

    def loss(self, step: int, micro: int = 0) -> torch.Tensor:
        return type(self).fault("loss", step, super().loss(step, micro))

    def evaluate(self) -> torch.Tensor:
        return type(self).fault("evaluate", -1, super().evaluate())


def build(*arguments: Any) -> Broken:
    Broken.fault("build", -1, None)
    return Broken(*arguments)


TASK = Task(key="broken", title="Broken", summary="Does something at a step.", build=build, steps=STEPS, batch_size=8)


class Raises(torch.optim.SGD):
    """An optimizer that raises at a step."""

    error: BaseException | None = None
    taken = 0

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        self.taken += 1  # of this one: runs of a sweep advance together
        if self.error is not None and self.taken == AT:
            raise self.error
        return result


def times(value: float) -> Callable[..., Any]:
    """Multiply the loss from a step on."""
    return lambda place, step, loss: loss * value if place == "loss" and step >= AT - 1 else loss


def raising(error: BaseException, where: str) -> Callable[..., Any]:
    """Raise in one place: the build, the loss at a step, or the evaluation after the training."""
    seen = Counter[str]()

    def fault(place: str, step: int, loss: Any) -> Any:
        seen[place] += 1
        if place == where and (step == AT - 1 or (place == "build") or (place == "evaluate" and seen[place] >= 2)):
            raise error
        return loss

    return fault


def backward_raises(error: BaseException) -> Callable[..., Any]:
    """Raise in the back pass of a step."""

    def stop(_: torch.Tensor) -> None:  # a hook that held what it raised would never be collected
        raise type(error)(*error.args)

    def fault(place: str, step: int, loss: Any) -> Any:
        if place == "loss" and step == AT - 1:
            loss.register_hook(stop)
        return loss

    return fault


OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 GiB"


def cases() -> dict[str, tuple[Callable[..., Any] | None, dw.Settings, BaseException | None, int, str]]:
    """Return what fails: how, with which settings, what its optimizer raises, the records that must be kept, the message."""
    adam, sgd = dw.Settings("ADAMW", lr=1e-2), dw.Settings(dw.spec_of(Raises), lr=1e-2)
    memory, error = torch.OutOfMemoryError(OUT_OF_MEMORY), RuntimeError("the matrix is singular")
    return {
        "NaN loss": (times(math.nan), adam, None, AT, "no longer a finite number"),
        "infinite loss": (times(math.inf), adam, None, AT, "no longer a finite number"),
        "loss of minus infinity": (times(-math.inf), adam, None, AT, "no longer a finite number"),
        "exploding d": (None, dw.Settings("PRODIGY", d0=1e18), None, -1, "no longer a finite number"),
        "d beyond 32 bits": (
            None,
            dw.Settings("PRODIGY", d0=1e30),
            None,
            0,
            "too large for a 32-bit number. The estimated rate is too high",
        ),
        "exploding rate": (None, dw.Settings("SGD", lr=1e12), None, -1, "no longer a finite number"),
        "optimizer raises": (None, sgd, error, AT - 1, "RuntimeError after 99 steps: the matrix is singular"),
        "out of memory in the optimizer": (None, sgd, memory, AT - 1, "OutOfMemoryError after 99 steps: CUDA out of"),
        "out of memory in the forward pass": (raising(memory, "loss"), adam, None, AT - 1, "OutOfMemoryError after 99"),
        "out of memory in the back pass": (backward_raises(memory), adam, None, AT - 1, "OutOfMemoryError after 99"),
        "out of memory in the last evaluation": (raising(memory, "evaluate"), adam, None, STEPS, "OutOfMemoryError"),
        "out of memory while it is built": (raising(memory, "build"), adam, None, 0, "OutOfMemoryError after 0 steps"),
        "MemoryError": (raising(MemoryError(), "loss"), adam, None, AT - 1, "MemoryError after 99 steps: no message"),
        "RecursionError": (
            raising(RecursionError("deep"), "loss"),
            adam,
            None,
            AT - 1,
            "RecursionError after 99 steps",
        ),
    }


@contextlib.contextmanager
def with_fault(fault: Callable[..., Any] | None, error: BaseException | None) -> Iterator[None]:
    Broken.fault = fault or (lambda place, step, loss: loss)
    Raises.error, Raises.taken = error, 0
    try:
        yield
    finally:
        Broken.fault = lambda place, step, loss: loss
        Raises.error = None


def by_train(settings: dw.Settings, store: Path) -> dw.Run:
    return dw.train(settings, TASK, STEPS, progress=False, store=store)


def by_sweep(settings: dw.Settings, store: Path) -> dw.Run:
    runs = dw.sweep(settings, {"seed": [0, 1]}, TASK, STEPS, progress=False, store=store)
    # They advance together, so on a slow machine the second one may come to the fault first.
    failed, other = sorted(runs, key=lambda run: run.status != "failed")
    check(other.status in ("done", "failed"), "the run beside it:", other)
    return failed


def by_bench(settings: dw.Settings, store: Path) -> dw.Run:
    async def main() -> dw.Run:
        bench = dw.lab(settings, task=TASK, steps=STEPS, store=store)
        bench.bar.run.click()
        await bench.wait()
        check(not bench.bar.run.disabled and bench.bar.stop.disabled, "the buttons are not as before")
        (run,) = bench.runs
        check(escape(run.message) in bench.bar.failure.value, run.message)
        bench.close()
        return run

    return asyncio.run(main())


def same(run: dw.Run, straight: dw.Run, most: int | None = None) -> None:
    """Check that so many records of a run are those of another, to the bit, but for the time; all by default."""
    rows = len(straight.history) if most is None else min(most, len(run.history))
    for name in run.history.names() if rows else ():
        if name != "seconds":
            got, expected = run.history.column(name)[:rows], straight.history.column(name)[:rows]
            if (
                name == "eval_loss"
            ):  # of a task of one's own it has a value where an evaluation was cheap enough just then
                both = np.isfinite(got) & np.isfinite(expected)
                got, expected = got[both], expected[both]
            np.testing.assert_array_equal(got, expected, err_msg=name)


def runs_that_fail(rounds: int) -> Tried:
    """Let each fault happen in `dw.train`, in a sweep and on a bench; the next run is as if nothing had been."""
    tried = _each_fails()  # loads what is loaded once
    before = Left()
    for _ in range(1, rounds):
        tried += _each_fails()
    before.check("a run that failed")
    return Tried(
        "; ".join(cases()) + ": in dw.train, in a sweep, on a bench",
        tried,
        "failed, with its reason; every record before it kept, on disk too; the next run equal to the bit",
    )


def _each_fails() -> int:
    tried = 0
    for number, name in enumerate(cases()):
        for way in (by_train, by_sweep, by_bench)[number % 3 :][:1] if SHORT else (by_train, by_sweep, by_bench):
            _fails(name, way)
            tried += 1
    return tried


def _fails(name: str, way: Callable[[dw.Settings, Path], dw.Run]) -> None:
    fault, settings, error, rows, words = cases()[name]
    well = dw.Settings("ADAMW", lr=1e-2) if fault is error is None else settings
    with kept_apart() as folder, quiet():
        with with_fault(None, None):
            straight = dw.train(well, TASK, STEPS, progress=False)
        with with_fault(fault, error):
            run = way(settings, folder / "runs.sqlite")
        check(run.status == "failed", name, way.__name__, run, run.message)
        check(words in run.message, name, run.message)
        check(rows < 0 or len(run.history) == rows, name, way.__name__, len(run.history), rows)
        if fault is not error:
            same(run, straight, AT - 1)
        for told in dw.RunStore(folder / "runs.sqlite").list():
            if told.id == run.key:
                check((told.status, told.message, told.steps) == ("failed", run.message, len(run.history)), told)
        with with_fault(None, None):
            after = dw.train(well, TASK, STEPS, progress=False)
        check(after.status == "done", after)
        same(after, straight)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RunFailed)
            yield
    finally:
        logging.disable(logging.NOTSET)


def exit_in_a_step(rounds: int) -> Tried:
    """Let a step call `sys.exit`: the kernel lives, the run is stopped; in a script the program ends, the run saved."""
    settings = dw.Settings(dw.spec_of(Raises), lr=1e-2)
    for _ in range(rounds):
        with kept_apart() as folder, with_fault(None, SystemExit(3)):

            async def main(store: Path) -> dw.Run:
                bench = dw.lab(settings, task=TASK, steps=STEPS, store=store)
                bench.bar.run.click()
                await bench.wait()
                bench.close()
                return bench.runs[0]

            run = asyncio.run(main(folder / "bench.sqlite"))
            check((run.status, len(run.history)) == ("stopped", AT - 1), run)
            Raises.taken = 0
            try:
                dw.train(settings, TASK, STEPS, progress=False, store=folder / "script.sqlite")
            except SystemExit as error:
                check(error.code == 3, error)
            else:
                raise AssertionError("the script goes on")
            for path in ("bench.sqlite", "script.sqlite"):
                (told,) = dw.RunStore(folder / path).list()
                check((told.status, told.steps) == ("stopped", AT - 1), told)
    return Tried(
        "sys.exit in a step, on a bench and in dw.train", 2 * rounds, "stopped, history kept; the kernel lives"
    )


MEMORY = """
import resource, sys, torch
sys.path[:0] = {paths!r}
import failing, psutil, diffopt_widgets as dw
from failing import TASK, Broken, AT, STEPS
settings = dw.Settings("ADAMW", lr=1e-2)
straight = dw.train(settings, TASK, STEPS, progress=False)
def fault(place, step, loss):
    if place == "loss" and step == AT - 1:
        hoard = [torch.zeros(2**22) for _ in range(10_000)]
    return loss
used = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, resource.RLIM_INFINITY))
Broken.fault = fault
run = dw.train(settings, TASK, STEPS, progress=False)
Broken.fault = lambda place, step, loss: loss
after = dw.train(settings, TASK, STEPS, progress=False)
failing.same(after, straight)
print(run.status, len(run.history), after.status, run.message, sep="|")
"""


def memory_runs_out(rounds: int) -> Tried:
    """Let the system refuse memory, under a limit of the address space."""
    told = ""
    for _ in range(rounds):
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "shared"), str(Path(PACKAGE).parent)]
        code = MEMORY.format(paths=paths)
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)
        check(done.returncode == 0, done.stdout, done.stderr)
        status, rows, after, told = done.stdout.strip().split("|")
        check((status, rows, after) == ("failed", str(AT - 1), "done"), done.stdout)
        check("memory" in told, told)
    return Tried(
        "memory that the system refuses (RLIMIT_AS)",
        rounds,
        "failed, with its reason; the next run starts clean",
        told[:60],
    )


# Ctrl-C


class Press:
    """Presses Ctrl-C at the n-th line that this package, or the task, comes to."""

    def __init__(self, at: int = -1, presses: int = 1) -> None:
        self.lines, self.at, self.presses = 0, at, presses
        self.place = ""

    def __enter__(self) -> Self:
        self.before = sys.gettrace()
        sys.settrace(self.call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def call(self, frame: FrameType, _: str, __: object) -> Any:
        code = frame.f_code.co_filename
        return self.line if code.startswith(PACKAGE) or code == __file__ else None

    def line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                for _ in range(self.presses):
                    signal.raise_signal(signal.SIGINT)
        return self.line


FEW = 6


def train_few(store: Path | None) -> list[dw.Run]:
    return [dw.train(dw.Settings("ADAMW", lr=1e-2), TASK, FEW, progress=False, store=store)]


def sweep_few(store: Path | None) -> list[dw.Run]:
    return dw.sweep(dw.Settings("ADAMW"), {"lr": [1e-2, 1e-3]}, TASK, FEW, progress=False, store=store)


def watch_few(store: Path | None) -> list[dw.Run]:
    torch.manual_seed(0)
    bowl = Bowl(0, torch.device("cpu"), 8, torch.float32)
    optimizer = torch.optim.AdamW(bowl.model.parameters(), lr=1e-2)
    with dw.watch(optimizer, model=bowl.model, measure="grad_norm", store=store, show=False) as w:
        for step in range(FEW):
            loss = bowl.loss(step)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            w.log(loss=loss)
    return [w]


def command_few(store: Path | None) -> list[dw.Run]:
    folder = Path(store).parent if store else Path(tempfile.gettempdir())
    arguments = ["run", "ADAMW", "--lr", "0.01", "--task", "swiss_roll", "--steps", str(FEW), "--out", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
        status = cli.main([*arguments, *(["--store", str(store)] if store else [])])
    check(status in (0, 130), "diffopt run returned", status, told.getvalue())
    return []


def interrupted(rounds: int, seed: int) -> list[Tried]:
    """Press Ctrl-C once or twice at lines by chance, in `dw.train`, a sweep, a watched loop and `diffopt run`."""
    chance, results = random.Random(seed), []
    before_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for act in (train_few, sweep_few, watch_few, command_few):
            results.append(_interrupted(act, rounds, chance))
    finally:
        signal.signal(signal.SIGINT, before_handler)
    return results


def _interrupted(act: Callable[[Path | None], list[Any]], rounds: int, chance: random.Random) -> Tried:
    ends, streams = Counter[str](), (sys.stdout, sys.stderr)
    with kept_apart() as folder:
        straight = act(folder / "a.sqlite")  # loads what is loaded once
        with Press() as count:
            act(folder / "b.sqlite")
    before = Left()
    for number in range(rounds):
        with kept_apart() as folder:
            path = folder / "runs.sqlite"
            with Press(chance.randrange(1, count.lines), 1 + number % 2) as press:
                try:
                    runs = act(path)
                except KeyboardInterrupt:
                    runs = None
            where = f"{act.__name__}, pressed {press.presses} at {press.place} (line {press.at} of {count.lines})"
            check(signal.getsignal(signal.SIGINT) is signal.default_int_handler, where, "leaves a handler of SIGINT")
            check((sys.stdout, sys.stderr) == streams, where, "leaves another stream")
            for run, whole in zip(runs or [], straight, strict=False):
                check(run.status in ("stopped", "done"), where, run, run.message)
                rows = len(run.history)
                if rows:
                    same(run, whole, rows)
                ends[run.status] += 1
            if runs is None:
                ends["KeyboardInterrupt"] += 1
            elif act is command_few:
                ends["a status of 0 or 130"] += 1
            try:
                for told in dw.RunStore(path).list() if path.exists() else ():
                    check(told.status != "running", where, "leaves in the store", told)
                    kept = dw.RunStore(path).load(told.id).history
                    check(list(kept.step) == list(range(1, len(kept) + 1)), where, kept)
            except Exception as error:
                error.add_note(where) if hasattr(error, "add_note") else None
                raise
            try:
                again = act(folder / "again.sqlite")
            except KeyboardInterrupt:  # as told: an interrupted training ends the loop around it, once
                again = act(folder / "again.sqlite")
            for run, whole in zip(again, straight, strict=True):
                check(run.status == "done" and len(run.history) == FEW, where, run)
                same(run, whole)
            run = runs = again = None
    before.check(act.__name__)
    name = {
        "train_few": "dw.train",
        "sweep_few": "dw.sweep",
        "watch_few": "a watched loop",
        "command_few": "diffopt run",
    }
    return Tried(
        f"Ctrl-C, once or twice, at a line by chance of {name[act.__name__]}",
        rounds,
        "stopped or done, records kept and right; SIGINT, streams as before; the next run equal to the bit",
        ", ".join(f"{count} {end}" for end, count in ends.most_common()) + f"; among {count.lines} lines",
    )
