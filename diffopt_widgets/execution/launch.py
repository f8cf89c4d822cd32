"""Launch: one training in several processes, with its weights divided among them by torch's FSDP2."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.execution import ranks
from diffopt_widgets.execution.driver import saver_for
from diffopt_widgets.execution.executors import pickled
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.execution.outcome import warn_of_failed
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.execution.ranks import JOB, OUTCOME, OUTPUT, Failure, failure_in
from diffopt_widgets.execution.reports import IMPORTABLE, FolderChannel, Job, Outcome, take, take_outcome
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings import Fault, SettingsError, whole_number
from diffopt_widgets.settings.arguments import check_flag, wrong_kind
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import get_task, own_task, task_key
from diffopt_widgets.training.environment import broken_rules, check_runs, warn_of_warmup

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.records import History
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import RunStore
    from diffopt_widgets.tasks import Task

MOST_ON_CPU = 8
"""Greatest number of processes on a CPU with fewer cores than that."""

_LOOK_SECONDS = 0.05
_END_SECONDS = 10.0
"""Longest wait for the processes to end by themselves, once they are told to."""
_LINES = 5
"""Last lines of what the processes printed, to show when they ended without a word."""


class ProcessesDiffer(UserWarning):
    """Warning of settings with which the processes of one training would not do the same."""


class Plot(Protocol):
    """Plot that draws a run while it trains, such as `dw.LivePlot`."""

    def add_run(
        self, key: str, name: str, history: History, *, schedule: bool, samples_per_step: float | None
    ) -> object:
        """Add a run."""

    def refresh(self) -> object:
        """Draw new rows."""

    def end_run(self, key: str) -> object:
        """Draw the last rows of a run."""


@lists_run_options
def launch(
    settings: Settings | str,
    task: str | Task = RunOptions.task,
    steps: int = RunOptions.steps,
    *,
    processes: int = 2,
    progress: bool = True,
    plot: Plot | None = None,
    store: RunStore | str | os.PathLike[str] | None = None,
    **options: Unpack[RunKeywords],
) -> Run:
    """Train one run in several processes of this machine, each with a part of all weights, gradients and optimizer states.

    torch's FSDP2 (`fully_shard`) divides the weights; torchrun's launcher starts the processes, one per GPU, or on the CPU. A batch
    is divided too: with `batch_size=64` and two processes each takes 32 of the 64 examples that one process would take, and the
    loss in a record is that over all of them. So the run is the same as that of `train`, up to rounding, if the
    optimizer can work on divided weights; where its processes come to estimate different rates, its `message` says so.

    Ctrl-C, or "Interrupt" of a notebook, stops the run after its current step. It cannot go on then, since no process has all its
    weights. A run that fails, or one of whose processes does, gives a warning that says why, and is returned with what it recorded.
    No process is left behind, and all connections between them stay on this machine.

    Args:
        settings: the optimizer with its options, and the schedule; or the name of an optimizer for its defaults.
        options: options of the run by name, as in `RunOptions`.
        processes: number of processes; with GPUs, at most as many as there are. They take some seconds to start.
        progress: whether to show a progress bar.
        plot: a `LivePlot` that is on the page: the curve of the run grows there.
        store: a `RunStore` or its path; the run is saved there under `run.key` while it trains.

    Returns:
        The run. Its `state_bytes` are those of the first process.

    Raises:
        SettingsError: an argument cannot be used, or the run cannot be done on this machine.
        UnknownTask: there is no such task.
        StoreError: the store cannot be opened or written.
    """
    check_flag("progress", progress)
    _check_plot(plot)
    count = whole_number("processes", processes, 1)
    plan = RunPlan.of(settings, task_key(task), steps, **options)
    _check_processes(plan, count)
    task_sent = _sent(plan)
    check_runs([plan], processes=count)
    saver = saver_for(store)
    warn_of_warmup([plan])
    alone = broken_rules(plan)
    for rule in broken_rules(plan, processes=count):
        if rule not in alone:
            warnings.warn(f"{plan.settings.optimizer}: {rule.message}", ProcessesDiffer, stacklevel=2)
    run, drawing = Run(plan), _Drawing(plot)
    end_interrupted_loop()
    try:
        with interrupt_held_back() as interrupted, progress_bars(shown=progress) as show:

            def publish() -> None:
                if saver is None or run.status == "waiting" or saver.save(run):
                    show(run)
                    drawing.draw(run)

            _carry_out(run, task_sent, count, publish, interrupted)
            if interrupted():
                note_interrupted()
    except KeyboardInterrupt:  # the second one, which does not wait for the processes
        note_interrupted()
    warn_of_failed([run])
    return run


class _Drawing:
    """Curve of a run in a plot, if there is one."""

    def __init__(self, plot: Plot | None) -> None:
        self._plot = plot
        self._added = False

    def draw(self, run: Run) -> None:
        """Draw what is new of the run, once it has a history to share."""
        if self._plot is None or not run.history.groups:
            return
        if not self._added:
            self._added = True
            self._plot.add_run(
                run.key, run.name, run.history, schedule=run.draws_schedule, samples_per_step=run.samples_per_step
            )
        if run.ended:
            self._plot.end_run(run.key)
        else:
            self._plot.refresh()


def _check_plot(plot: object) -> None:
    methods = (getattr(plot, name, None) for name in ("add_run", "refresh", "end_run"))
    if plot is not None and (isinstance(plot, type) or not all(map(callable, methods))):
        raise wrong_kind("plot", plot, "a plot", "Write plot = dw.LivePlot(), and show it in a cell before.")


def _check_processes(plan: RunPlan, processes: int) -> None:
    """Check that so many processes can train here.

    Raises:
        SettingsError: they cannot; it says what is missing.
    """
    import torch

    from diffopt_widgets.training.loop import find_device
    from diffopt_widgets.training.sharded import missing

    def refuse(problem: str, todo: str) -> SettingsError:
        return SettingsError((Fault("processes", processes, problem, "", todo),))

    if lack := missing():
        raise refuse(lack, "Use dw.train, or install another torch.")
    if plan.settings.options.get("fused_back_pass"):
        problem = "dw.launch steps when the backward pass of all processes is over, and so not within it"
        raise SettingsError((Fault("fused_back_pass", True, problem, "", "Turn it off.", {"fused_back_pass": False}),))
    size = plan.batch_size or get_task(plan.task).batch_size
    if processes > size:
        todo = f"Choose at most {size}, or a larger batch_size."
        raise refuse(f"each process takes a part of a batch, and a batch has {size} examples", todo)
    try:
        kind = find_device(plan.device).type
    except ImportError as error:
        raise SettingsError((Fault("device", plan.device, str(error), ""),)) from error
    if kind == "cuda" and processes > (gpus := torch.cuda.device_count()):
        raise refuse(f"each process takes a GPU, and there {_are(gpus, 'GPU')} here", 'Or write device="cpu".')
    if kind == "cpu" and processes > max(MOST_ON_CPU, cores := os.cpu_count() or 1):
        raise refuse(f"there {_are(cores, 'core')} here", f"Choose at most {max(MOST_ON_CPU, cores)}.")
    if kind not in {"cuda", "cpu"}:
        raise refuse(f"torch's FSDP cannot divide weights on {kind}", 'Write device="cpu".')


def _sent(plan: RunPlan) -> bytes | None:
    """Return the plan's task as it travels to the processes; None for one of the bench.

    Raises:
        SettingsError: they could not import it.
    """
    task = own_task(plan.task)
    if task is not None and getattr(task.build, "__module__", "") == "__main__":
        problem = "the processes cannot import its build, which is defined in this notebook or script"
        raise SettingsError((Fault("task", plan.task, problem, "", IMPORTABLE),))
    return pickled(plan.task, pickle.dumps)


def _are(count: int, what: str) -> str:
    return f"is 1 {what}" if count == 1 else f"are {count} {what}s"


def _carry_out(
    run: Run,
    task: bytes | None,
    processes: int,
    publish: Callable[[], None],
    interrupted: Callable[[], bool],
) -> None:
    """Start the processes, and take what the first one reports until all have ended."""
    from diffopt_widgets import __version__

    with _folder() as folder, contextlib.closing(FolderChannel()) as channel:
        job = Job(run.key, channel, task, Run(run.plan, run.name, key=run.key), None, float("inf"), 0.01)
        (folder / JOB).write_bytes(pickle.dumps((__version__, job)))
        stopped = False
        try:
            publish()
            with _processes(folder, processes) as process:
                while process.poll() is None and not (stopped and run.status == "waiting"):
                    if interrupted() and not stopped:
                        stopped = True
                        channel.stop()
                    _hear(run, channel, publish)
                    time.sleep(_LOOK_SECONDS)
            _hear(run, channel, publish)
            _end(run, folder, stopped=stopped)
        finally:
            if not run.ended:
                run.end("stopped", None if len(run.history) else "Stopped before the first step")
            publish()


def _hear(run: Run, channel: FolderChannel, publish: Callable[[], None]) -> None:
    reports = list(channel.received())
    for report in reports:
        if run.status == "waiting":
            run.begin()
        take(run, report)
    if reports:
        publish()


def _end(run: Run, folder: Path, *, stopped: bool) -> None:
    """End the run as the processes did."""
    outcome: Outcome | None = None
    if (folder / OUTCOME).exists():
        outcome = pickle.loads((folder / OUTCOME).read_bytes())  # noqa: S301  # our own process wrote it
        if run.status == "waiting":
            run.begin()
        take_outcome(run, outcome)
    failure = failure_in(folder)
    if failure is None and outcome is None and not stopped:
        printed = (folder / OUTPUT).read_text("utf-8", errors="replace").strip()
        last = " ".join(" ".join(printed.splitlines()[-_LINES:]).split())
        failure = Failure(f"The processes ended before the run did{f': {last}' if last else ''}", printed)
    if failure is not None and not stopped and run.status not in {"done", "stopped"}:
        recorded = f"{len(run.history)} of {run.plan.steps} steps are recorded"
        run.fail(f"{failure.words.removesuffix('.')}. {recorded}", failure.trace)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that only its owner can read, and remove it."""
    path = Path(tempfile.mkdtemp(prefix="diffopt-launch-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _processes(folder: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the processes, in a session that a terminal's Ctrl-C does not reach, and end those that are left."""
    new_session: dict[str, Any] = {"creationflags": 0x200} if os.name == "nt" else {"start_new_session": True}
    with (
        (folder / OUTPUT).open("wb") as output,
        subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", ranks.__name__, str(folder), str(count)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(count),
            **new_session,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()  # at which the processes end, also when the launcher is gone
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def _environment(processes: int) -> dict[str, str]:
    """Return the environment of the processes: the modules of this one, its share of the cores, and connections on this machine."""
    from diffopt_widgets.training.sharded import loopback

    given = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # its store listens on all addresses
    }
    if name := loopback():
        given |= {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
    return {**given, **os.environ, "PYTHONPATH": given["PYTHONPATH"]}
