"""Makes the network that the tasks digits_lora and digits_finetune start from: the bench's own digits, trained for longer.

    python tests/shared/make_pretrained.py

It takes half a minute, writes the file into the package, and prints its SHA-256 for `diffopt_widgets/tasks/digits.py`. Another
machine may sum in another order: its network is then as good, and not equal to the last bit.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import torch

import diffopt_widgets as dw
from diffopt_widgets.tasks.digits import PRETRAINED
from diffopt_widgets.training.loop import Training

PLAN = dw.RunPlan(dw.Settings("ADAMW", lr=4e-3, schedule="COSINE"), "digits", steps=1000, device="cpu")


def make(path: Path) -> float:
    """Train, write the weights in half precision, and return the evaluation loss."""
    training = Training(PLAN)
    for _ in training.steps():
        pass
    weights = {name: p for group in training.groups for name, p in zip(group.names, group.params, strict=True)}
    np.savez(path, **{name: p.detach().half().numpy() for name, p in weights.items()})  # type: ignore[arg-type]  # names of ours
    return training.evaluate()


if __name__ == "__main__":
    torch.set_num_threads(1)
    with resources.as_file(resources.files("diffopt_widgets.tasks") / "data") as folder:
        print(f"evaluation loss {make(folder / PRETRAINED):.4f}")
        print(hashlib.sha256((folder / PRETRAINED).read_bytes()).hexdigest())
