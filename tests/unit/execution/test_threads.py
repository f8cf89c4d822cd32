"""Several trainings at once, in threads: each keeps its own output, and the process keeps its streams."""

import contextlib
import io
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import diffopt_widgets as dw


@pytest.mark.slow
def test_they_leave_streams_and_loggers_as_they_were():
    before = sys.stdout, sys.stderr, logging.root.level, list(logging.root.handlers)
    began = threading.Barrier(4)

    def train(key):
        began.wait()
        return dw.train(dw.Settings(key, log_every=1), "swiss_roll", 8)

    keys = ["DADAPT_ADAM", "DADAPT_ADAN", "DADAPT_LION", "DADAPT_ADAM"]
    with ThreadPoolExecutor(4) as executor:
        runs = list(executor.map(train, keys))
    assert (sys.stdout, sys.stderr, logging.root.level, logging.root.handlers) == before
    assert [run.status for run in runs] == ["done"] * 4
    lines = [[line for line in run.output.splitlines() if "d_hat" in line] for run in runs]
    assert [len(own) for own in lines] == [8] * 4
    assert [own[0].startswith("ng: ") for own in lines] == [key == "DADAPT_ADAN" for key in keys]


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        lambda: dw.train(dw.Settings("PRODIGY"), "swiss_roll", 1, progress=False),
        lambda: dw.build_optimizer(dw.Settings("DADAPT_ADAM", decouple=True), [torch.nn.Parameter(torch.ones(2))]),
        lambda: dw.memory(dw.Settings("DADAPT_ADAM", decouple=True), [(7, 3)]),
    ],
    ids=["train", "build_optimizer", "memory"],
)
def test_no_call_replaces_stdout_even_for_a_moment(call):
    """A redirection by another thread that overlaps with one of ours would leave the stream redirected for ever."""
    seen = set()
    real = sys.stdout

    def watch(frame, event, _):
        seen.add(sys.stdout is real)

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    assert seen == {True}


def test_a_print_of_the_users_own_goes_where_the_user_sent_it():
    class Line:
        def __init__(self):
            self.model = torch.nn.Linear(2, 1)

        def loss(self, step):
            print("step", step)
            return self.model(torch.ones(2)).square().sum()

        def evaluate(self):
            return 0.0

    task = dw.Task(key="printing", title="P", summary="P", build=lambda *_: Line())
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run = dw.train(dw.Settings("SGD", lr=0.1), task, 2, progress=False)
    assert run.status == "done", run.message
    assert out.getvalue() == "step 0\nstep 1\n"
    assert run.output == ""
