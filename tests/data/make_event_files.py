"""Makes the event files beside it with the real writers: torch's SummaryWriter, and TensorFlow's way by tensorboard's own.

    python -m venv venv; venv/bin/pip install torch tensorboard==2.21.0
    venv/bin/python tests/data/make_event_files.py

The tags are those that OneTrainer and kohya's scripts use; tests/unit/interop/test_event_files.py says what must come out.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto
from torch.utils.tensorboard import SummaryWriter

HERE = Path(__file__).parent / "event_files"
BEGAN = 1_700_000_000.0


def kohya(step: int) -> dict[str, float]:
    return {
        "loss/current": 1 / step,
        "loss/average": 2 / step,
        "lr/textencoder": 1.0,
        "lr/unet": 0.5,
        "lr/d*lr/textencoder": 1e-6 * step,
        "lr/d*lr/unet": 5e-7 * step,
    }


def onetrainer(step: int) -> dict[str, float]:
    values = {"loss/train_step": math.nan if step == 7 else 1 / step, "lr/unet": 1e-4 * step, "ema_decay": 0.9}
    return values | ({"loss/validation_step/total_average": 0.5} if step % 5 == 0 else {})


def written_by_torch(name: str, values: object, steps: list[int]) -> None:
    writer = SummaryWriter(HERE / name)
    writer.add_image("sample", np.full((3, 16, 16), 0.5, dtype=np.float32), 1, walltime=BEGAN)
    writer.add_histogram("weights", np.arange(9.0), 1, walltime=BEGAN)
    for place, step in enumerate(steps):
        for tag, value in values(step).items():
            writer.add_scalar(tag, value, step, walltime=BEGAN + 0.5 * place)
    writer.close()


def written_as_tensors(name: str) -> None:
    """As TensorFlow 2 and Keras do: a scalar is a tensor without dimensions."""
    (HERE / name).mkdir(parents=True)
    writer = EventFileWriter(str(HERE / name))
    for step in range(1, 5):
        tensor = make_tensor_proto(np.float32(1 / step))
        summary = Summary(value=[Summary.Value(tag="loss", tensor=tensor)])
        writer.add_event(Event(wall_time=BEGAN + step, step=step, summary=summary))
    writer.close()


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    written_by_torch("kohya/network_train", kohya, list(range(1, 21)))
    written_by_torch("onetrainer/2026-01-01_12-00-00", onetrainer, [*range(1, 11), 9, 10, 11, -3])  # 9 and 10 anew
    written_as_tensors("keras/train")
    for number, file in enumerate(sorted(HERE.rglob("*tfevents*"))):
        file.rename(file.with_name(f"events.out.tfevents.{BEGAN:.0f}.host.{number}"))
