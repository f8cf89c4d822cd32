"""What is measured on a GPU, in the order of its worth, with the most time that each question may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TOTAL = 450.0
"""Seconds for all stages together, the start of Python included: what installs and writes has the rest of 8 minutes."""


@dataclass(frozen=True)
class Stage:
    """One question, answered by one file of tests."""

    key: str
    question: str
    reach: str
    """What is expected; "" where the answer is only wanted."""
    seconds: float
    """What it may take at most; a stage that iterates over optimizers stops by itself before."""

    @property
    def file(self) -> Path:
        """The tests that answer it."""
        return Path(__file__).with_name(f"test_{self.key}.py")


STAGES = (
    Stage("auto", '`device="auto"`, and every optimizer on the GPU', "the GPU is taken, and each takes two steps", 30),
    Stage(
        "waiting",
        "Waits for the device that recording adds to a step",
        "none; what task and optimizer wait for themselves is told apart",
        70,
    ),
    Stage("state", "State told before a run, and `torch.cuda.memory_allocated` after a step", "the same bytes", 45),
    Stage("probe", "What each option does on the GPU, beside the CPU", "as the catalogue says", 190),
    Stage("recording", "What recording takes of a step", "at most 1 %", 85),
    Stage("bitsandbytes", "bitsandbytes on the GPU against the CPU", "", 30),
    Stage("fused", "`fused`, `foreach` and `capturable`", "the same weights up to rounding", 20),
    Stage("checkpoint", "Runs that go on from a checkpoint", "bit for bit on the GPU; refused across devices", 30),
    Stage("speed", "digits and swiss_roll, time and loss", "", 60),
    Stage(
        "stacked",
        "Eight runs with `stacked=True`, beside one and beside eight in turn",
        "at most 2 times the time of one",
        40,
    ),
    Stage("paged", "`is_paged`", "the same weights to the bit, the state out of torch's own memory", 20),
    Stage("compile", "`compile`", "the same weights up to rounding", 90),
)
