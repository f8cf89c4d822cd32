"""Tasks as a user writes them, in a module that other processes can import."""

import os
import signal
import time
from pathlib import Path

import torch

from diffopt_widgets.execution.driver import PUBLISH_SECONDS
from diffopt_widgets.tasks import Samples, Task, get_task


class Line:
    """Fits a line through noisy points; batches, noise and weights come from torch's global random numbers."""

    def __init__(self, device, batch_size, dtype):
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
        self.model.to(device, dtype)
        self.size, self.device, self.dtype = batch_size, device, dtype
        self.seen = []

    def loss(self, step, micro=0):  # noqa: ARG002  # random numbers are seeded by them
        loss = self._error(torch.randn(self.size, 3))
        self.seen.append(float(loss.detach()))
        return loss

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        loss = self._error(torch.linspace(-1, 1, 96).view(32, 3))
        self.model.train()
        return loss

    def _error(self, x):
        x = x.to(self.device)
        return ((self.model(x.to(self.dtype)).float() - x.sum(1, keepdim=True)) ** 2).mean()


class Drawn(Line):
    """The same, with samples."""

    def samples(self):
        return Samples("points", torch.rand(4, 2).numpy())


def build(seed, device, batch_size, dtype):
    return Line(device, batch_size, dtype)


def build_drawn(seed, device, batch_size, dtype):
    return Drawn(device, batch_size, dtype)


LINE = Task(key="line", title="A line", summary="A line through points.", build=build, batch_size=16)
DRAWN = Task(key="drawn", title="A line, drawn", summary="A line through points, with samples.", build=build_drawn)


def killed(*_):
    """Build of a task whose process ends at once, as where the system lacks memory."""
    os.kill(os.getpid(), signal.SIGKILL)


KILLED = Task(key="killed", title="Killed", summary="Its process ends.", build=killed)


class Unlucky(Line):
    """One of whose processes meets with an accident in the fifth step."""

    def __init__(self, accident, *arguments):
        super().__init__(*arguments)
        self.accident = accident

    def loss(self, step, micro=0):
        if step == 4 and torch.distributed.get_rank() == 1:
            self.accident()
        return super().loss(step, micro)


def fail():
    raise ValueError("out of ideas")


def build_failing(seed, device, batch_size, dtype):
    return Unlucky(fail, device, batch_size, dtype)


def build_killed_later(seed, device, batch_size, dtype):
    return Unlucky(killed, device, batch_size, dtype)


class Leaving(Drawn):
    """One of whose processes ends after the last samples of a run of 30 steps."""

    def samples(self):
        if len(self.seen) == 30 and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            killed()
        return super().samples()


def build_leaving(seed, device, batch_size, dtype):
    return Leaving(device, batch_size, dtype)


def build_nothing(*_):
    return None


NOTHING = Task(key="nothing", title="Nothing", summary="Its build returns nothing.", build=build_nothing)
LEAVING = Task(key="leaving", title="Leaving", summary="A process ends when the run has.", build=build_leaving)
FAILING = Task(key="failing", title="Failing", summary="A process of several fails.", build=build_failing)
KILLED_LATER = Task(key="killed_later", title="Killed", summary="A process of several ends.", build=build_killed_later)


GATE = "DIFFOPT_TEST_GATE"
"""Variable of the environment that has the path of the file for which a gated run waits."""


def build_gated(*arguments):
    """Build the task of points so that a run publishes six steps, and takes the seventh when the gate is open."""
    problem = get_task("swiss_roll").build(*arguments)
    loss, gate, until = problem.loss, Path(os.environ[GATE]), time.monotonic() + 300

    def gated(step, micro=0):
        if step == 5 and not gate.exists():
            time.sleep(2 * PUBLISH_SECONDS)  # so records are due after it
        while step == 6 and not gate.exists() and time.monotonic() < until:
            time.sleep(0.01)
        return loss(step, micro)

    problem.loss = gated
    return problem


GATED = Task(key="gated", title="Gated", summary="Points, and a run that waits in its middle.", build=build_gated)
