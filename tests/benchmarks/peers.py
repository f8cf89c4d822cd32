"""What people use to see a loss while they train, each told of every step in the same way; run in a notebook's kernel.

A peer is made for a loop of a given optimizer, is called after each step with its number and its loss, and is closed. One
that would redraw at each step redraws ten times a second, as its users make it do.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

REDRAW_SECONDS = 0.1
DEVICE_SECONDS = 1e-3


class Peer(Protocol):
    """Shows the loss and the learning rate of a loop."""

    def step(self, step: int, loss: torch.Tensor) -> None:
        """Take in a step."""

    def close(self) -> None:
        """End."""


class Ours:
    """`dw.watch` with its live plot."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:
        import diffopt_widgets as dw

        self._watch = dw.watch(optimizer, start=len(steps), show=True)
        history = self._watch.history
        rates = np.full((len(steps), 1), optimizer.param_groups[0]["lr"])
        history.extend_columns(steps, {"loss": losses, "lr": rates, "applied_lr": rates})
        self._watch.plot.refresh(final=True)

    def step(self, step: int, loss: torch.Tensor) -> None:  # noqa: ARG002  # it counts by itself
        """Take in a step."""
        self._watch.log(loss=loss)

    def close(self) -> None:
        """End."""
        self._watch.close()


class Often:
    """Calls `draw` ten times a second at most."""

    def __init__(self, draw: Callable[[], None]) -> None:
        self._draw, self._drawn = draw, time.perf_counter()

    def __call__(self) -> None:
        now = time.perf_counter()
        if now - self._drawn >= REDRAW_SECONDS:
            self._draw()
            self._drawn = time.perf_counter()


class PlotlyWidget:
    """A plain plotly FigureWidget whose two lines are set anew."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:
        import plotly.graph_objects as go
        from IPython.display import display

        self._optimizer = optimizer
        self._x, self._loss = steps.tolist(), losses.tolist()
        self._lr = [optimizer.param_groups[0]["lr"]] * len(steps)
        self._figure = go.FigureWidget([go.Scatter(name="loss"), go.Scatter(name="lr", yaxis="y2")])
        display(self._figure)
        self._draw()
        self._often = Often(self._draw)

    def _draw(self) -> None:
        with self._figure.batch_update():
            for line, values in zip(self._figure.data, (self._loss, self._lr), strict=True):
                line.x, line.y = np.array(self._x, dtype=float), np.array(values)

    def step(self, step: int, loss: torch.Tensor) -> None:
        """Take in a step."""
        self._x.append(step)
        self._loss.append(float(loss))
        self._lr.append(self._optimizer.param_groups[0]["lr"])
        self._often()

    def close(self) -> None:
        """End."""
        self._draw()


class Bokeh:
    """Bokeh's figure with a streamed source, pushed into the notebook."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:
        from bokeh.io import output_notebook, push_notebook, show
        from bokeh.models import ColumnDataSource
        from bokeh.plotting import figure

        output_notebook(hide_banner=True)
        self._optimizer = optimizer
        rates = np.full(len(steps), optimizer.param_groups[0]["lr"])
        self._source = ColumnDataSource({"x": steps.astype(float), "loss": losses, "lr": rates})
        plot = figure()
        plot.line("x", "loss", source=self._source)
        plot.line("x", "lr", source=self._source)
        handle = show(plot, notebook_handle=True)
        self._new: dict[str, list[float]] = {"x": [], "loss": [], "lr": []}
        self._push = lambda: push_notebook(handle=handle)
        self._often = Often(self._draw)

    def _draw(self) -> None:
        self._source.stream(self._new)
        self._push()
        self._new = {name: [] for name in self._new}

    def step(self, step: int, loss: torch.Tensor) -> None:
        """Take in a step."""
        self._new["x"].append(step)
        self._new["loss"].append(float(loss))
        self._new["lr"].append(self._optimizer.param_groups[0]["lr"])
        self._often()

    def close(self) -> None:
        """End."""
        self._draw()


class LiveLossPlot:
    """livelossplot with its usual matplotlib picture."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:
        from livelossplot import PlotLosses
        from livelossplot.main_logger import LogItem

        self._optimizer = optimizer
        self._plot = PlotLosses()
        if len(steps):
            kept = zip(steps.tolist(), losses.tolist(), strict=True)
            lr = optimizer.param_groups[0]["lr"]
            self._plot.logger.log_history["loss"] = [LogItem(step=s, value=v) for s, v in kept]
            self._plot.logger.log_history["lr"] = [LogItem(step=s, value=lr) for s in steps.tolist()]
        self._often = Often(self._plot.send)

    def step(self, step: int, loss: torch.Tensor) -> None:
        """Take in a step."""
        self._plot.update({"loss": float(loss), "lr": self._optimizer.param_groups[0]["lr"]}, current_step=step)
        self._often()

    def close(self) -> None:
        """End."""
        self._plot.send()


class TensorBoard:
    """torch's SummaryWriter; the curve is seen in another program, which reads the file."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:  # noqa: ARG002  # kept in no memory
        from torch.utils.tensorboard import SummaryWriter

        self._optimizer = optimizer
        self._folder = tempfile.TemporaryDirectory()
        self._writer = SummaryWriter(self._folder.name)

    def step(self, step: int, loss: torch.Tensor) -> None:
        """Take in a step."""
        self._writer.add_scalar("loss", loss, step)
        self._writer.add_scalar("lr", self._optimizer.param_groups[0]["lr"], step)

    def close(self) -> None:
        """End."""
        self._writer.close()
        self._folder.cleanup()


class Wandb:
    """wandb without the network; the curve is seen after an upload."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:  # noqa: ARG002
        import wandb

        self._optimizer = optimizer
        self._folder = tempfile.TemporaryDirectory()
        self._run = wandb.init(
            mode="offline", dir=self._folder.name, settings=wandb.Settings(silent=True, console="off")
        )

    def step(self, step: int, loss: torch.Tensor) -> None:
        """Take in a step."""
        self._run.log({"loss": float(loss), "lr": self._optimizer.param_groups[0]["lr"]}, step=step)

    def close(self) -> None:
        """End."""
        self._run.finish()
        self._folder.cleanup()


class Tqdm:
    """tqdm's bar in the notebook with the loss beside it; no curve."""

    def __init__(self, optimizer: Optimizer, steps: np.ndarray, losses: np.ndarray) -> None:  # noqa: ARG002
        from tqdm.notebook import tqdm

        self._optimizer = optimizer
        self._bar = tqdm(total=1_000_000)

    def step(self, step: int, loss: torch.Tensor) -> None:  # noqa: ARG002
        """Take in a step."""
        self._bar.set_postfix(loss=float(loss), lr=self._optimizer.param_groups[0]["lr"], refresh=False)
        self._bar.update()

    def close(self) -> None:
        """End."""
        self._bar.close()


LIVE = "live, in the notebook"
PEERS: dict[str, tuple[Callable[[Optimizer, np.ndarray, np.ndarray], Peer], str]] = {
    "diffopt_widgets": (Ours, LIVE),
    "plotly FigureWidget, 10 Hz": (PlotlyWidget, LIVE),
    "bokeh stream, 10 Hz": (Bokeh, LIVE),
    "livelossplot, 10 Hz": (LiveLossPlot, LIVE),
    "TensorBoard": (TensorBoard, "live, in its own program"),
    "wandb offline": (Wandb, "after an upload"),
    "tqdm.notebook": (Tqdm, "no curve"),
}
"""By name: what makes it, and where its curve is seen."""


class Loop:
    """Steps of AdamW on a small tensor, each followed by a wait of a millisecond as for a device: what the processor does
    then is the step's own work and the peer's. Two alike, one of them watched by a peer.

    Args:
        name: of the peer.
        points: how many steps the peer has been told before.
    """

    def __init__(self, name: str, points: int) -> None:
        self._bare, self._watched = self._optimizer(), self._optimizer()
        losses = np.random.default_rng(0).random(points)
        self._taken = points
        self._peer = PEERS[name][0](self._watched, np.arange(1, points + 1), losses)

    @staticmethod
    def _optimizer() -> Optimizer:
        return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(64))], lr=1e-3)

    def measure(self, seconds: float) -> dict[str, float]:
        """Processor seconds of the loop's own thread per step without and with the peer, and the steps taken.

        Both optimizers take a step in each round, in turns first, so that neither has the warmer caches.
        """
        for optimizer in (self._bare, self._watched):
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad = torch.ones_like(parameter)
        loss = torch.tensor(1.0)
        spent, rounds, until = {False: 0.0, True: 0.0}, 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            rounds += 1
            for watched in (False, True) if rounds % 2 else (True, False):
                began = time.thread_time()
                if watched:
                    self._watched.step()
                    self._taken += 1
                    self._peer.step(self._taken, loss)
                else:
                    self._bare.step()
                spent[watched] += time.thread_time() - began
            time.sleep(DEVICE_SECONDS)
        self._peer.close()
        return {"bare": spent[False] / rounds, "with": spent[True] / rounds, "steps": rounds}
