"""Ranks: the processes that `dw.launch` starts through torchrun's own launcher, which also ends all of them when one fails.

`python -m diffopt_widgets.execution.ranks FOLDER PROCESSES` starts them; each is the same module with the folder alone. They end
when their standard input does, which is a pipe from the program that waits for the run: so none outlives it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    from diffopt_widgets.execution.reports import Job, Outcome
    from diffopt_widgets.settings.plan import RunPlan

JOB, OUTCOME, FAILURE, OUTPUT = "job", "outcome", "failure", "output"
"""Files in the folder: the run as it was sent and as it came back, why a process ended, and what all of them printed."""

_WORD_SECONDS = 1.0
"""Time that a process with an error waits before it ends: a process that was killed, which is its cause, is noticed meanwhile."""

_REPORT_SECONDS = 10.0
"""Time that the first process has to report what it recorded when another one has failed; torchrun's launcher kills it after 30."""


@dataclass(frozen=True)
class Failure:
    """Reason for which the processes ended before their run did."""

    words: str
    trace: str = ""


def failure_in(folder: Path) -> Failure | None:
    """Return the failure that ended the processes; None where they told of none."""
    try:
        return Failure(**json.loads((folder / FAILURE).read_text("utf-8")))
    except OSError:
        return None


def _start(folder: Path, processes: int) -> int:
    """Start the processes and wait until all have ended, or one has failed."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="diffopt",
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "meeting"),  # a file: a port would be open to the whole network
        rdzv_configs={"store_type": "file"},
        max_restarts=0,
        monitor_interval=0.05,
        local_addr="127.0.0.1",
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
    )
    try:
        elastic_launch(config, sys.executable)("-m", __spec__.name, str(folder))
    except ChildFailedError as error:
        rank, failed = _first(error.failures)
        if failed.exitcode < 0:
            _write(folder / FAILURE, _ended(rank, processes, failed.signal_name()))
        elif cause := _cause(folder):
            cause.replace(folder / FAILURE)
        return 1
    return 0


def _first(failures: dict[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Return the process that failed first; of those in the same second a killed one, and last those that the launcher ended."""

    def order(each: tuple[int, ProcessFailure]) -> tuple[int, int]:
        ended = -each[1].exitcode
        return each[1].timestamp, 2 if ended == signal.SIGTERM else int(ended < 0)

    return min(failures.items(), key=order)


def _cause(folder: Path) -> Path | None:
    """Return what the first process that failed wrote; None where the run came back failed before, and says why itself.

    One that failed waits a while before its connections close, so a run that failed because of that came back later.
    """
    told = sorted((path.stat().st_mtime, path) for path in folder.glob(f"{FAILURE}-*"))
    outcome = folder / OUTCOME
    if not told or (outcome.exists() and outcome.stat().st_mtime < told[0][0] + _WORD_SECONDS / 2):
        return None
    return told[0][1]


def _ended(rank: int, processes: int, signal: str) -> Failure:
    more = ". Memory may be short: try fewer processes" if signal == "SIGKILL" else ""
    return Failure(f"Process {rank + 1} of {processes} was ended by {signal}{more}")


def _take_part(folder: Path) -> int:
    """Be one of the processes: train, and in the first one report."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    threading.Thread(target=_end_with_input, name="ends with the program", daemon=True).start()
    if rank == 0 and os.name != "nt":
        _end_late(folder, processes)
    try:
        # the program that launches wrote it
        version, job = pickle.loads((folder / JOB).read_bytes())  # noqa: S301
        return _train(folder, version, job, rank, processes)
    except Exception as error:  # noqa: BLE001  # the program that waits tells the user
        text = " ".join(str(error).split()) or "no message"
        words = f"Process {rank + 1} of {processes} failed: {type(error).__name__}: {text}"
        _write(folder / f"{FAILURE}-{rank}", Failure(words, traceback.format_exc()))
        time.sleep(_WORD_SECONDS)
        return 1


def _end_late(folder: Path, processes: int) -> None:
    """Have SIGTERM end this process a while later. The launcher sends it when another process has failed.

    A step that waits for that one ends with an error meanwhile, and the run comes back with all that was recorded. No handler runs
    during such a step, so a thread waits.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def wait() -> None:
        while os.read(receiver, 1)[0] != signal.SIGTERM:
            pass
        time.sleep(_REPORT_SECONDS)
        _write(folder / f"{FAILURE}-0", _ended(0, processes, "SIGTERM"))
        os._exit(1)

    threading.Thread(target=wait, name="ends with the others", daemon=True).start()


def _train(folder: Path, version: str, job: Job, rank: int, processes: int) -> int:
    import torch
    import torch.distributed as dist
    from torch._C._distributed_c10d import FileStore

    from diffopt_widgets import __version__
    from diffopt_widgets.execution.reports import carry_out, register
    from diffopt_widgets.training.loop import find_device
    from diffopt_widgets.training.sharded import WAIT, ShardedTraining

    if version != __version__:
        text = (
            f"diffopt-widgets {__version__} is installed, and this program has loaded version {version}. Start it again"
        )
        raise RuntimeError(text)
    if find_device(job.run.plan.device).type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    else:
        backend = "gloo"
    store = FileStore(str(folder / "store"), processes)
    dist.init_process_group(backend, store=store, rank=rank, world_size=processes, timeout=WAIT)
    if rank:
        register(job)
        ShardedTraining(job.run.plan).follow()
    else:
        made: list[ShardedTraining] = []

        def make(plan: RunPlan) -> ShardedTraining:
            made.append(ShardedTraining(plan))
            return made[0]

        outcome = carry_out(version, job, make=make)
        run = outcome.run
        if machine := run.trained_with.get("machine"):
            run.take_over({"trained_with": {**run.trained_with, "machine": f"{machine}, in {processes} processes"}})
        _save(outcome, folder)  # what follows needs the others, one of which may have ended
        if run.status == "done" and (apart := made[0].difference()):
            run.set_message(f"{run.message}. {apart[:1].upper()}{apart[1:]}")
            _save(outcome, folder)
        if run.status == "failed":  # the others may wait for a step that does not come
            time.sleep(_WORD_SECONDS)
            return 1
        for training in made:
            training.end()
    dist.destroy_process_group()
    return 0


def _save(outcome: Outcome, folder: Path) -> None:
    (folder / f".{OUTCOME}").write_bytes(pickle.dumps(outcome))
    (folder / f".{OUTCOME}").replace(folder / OUTCOME)


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def _write(path: Path, failure: Failure) -> None:
    path.write_bytes(json.dumps(asdict(failure)).encode())


if __name__ == "__main__":
    place, *count = sys.argv[1:]
    sys.exit(_start(Path(place), int(count[0])) if count else _take_part(Path(place)))
