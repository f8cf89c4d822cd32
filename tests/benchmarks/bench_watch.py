"""What dw.watch costs: a bare training loop against the same loop watched, with and without each measure and the plot.

All loops take turns, so that every one meets the same noise; the table shows the quickest of them. On a CPU it is the thread's
own time, which other programs lengthen little; on a GPU the time until the device is done. The last two columns are what was
spent in the watch's own hooks and calls, which a busy machine disturbs least (on a GPU, without the device's work).
Run: python tests/benchmarks/bench_watch.py [device]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw
from diffopt_widgets.training.measures import MEASURES

TURNS = 10
TURN_SECONDS = 0.3
EMPTY = 50_000


def clock_of(device: str) -> Callable[[], float]:
    """Return what tells the time of a loop."""
    return time.thread_time if device == "cpu" else time.perf_counter


def model_of(width: int, depth: int, device: str, dtype: torch.dtype) -> torch.nn.Module:
    """Return a stack of linear layers, as many tensors as a small network has."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (torch.nn.Linear(width, width), torch.nn.SiLU())]
    return torch.nn.Sequential(*layers).to(device, dtype)


def loop(
    device: str,
    dtype: torch.dtype,
    size: tuple[int, int, int],
    watched: Callable[..., dw.Watcher] | None,
    inside: list[float],
) -> Iterator[None]:
    """Train; one step per `next`, the device waited for after each. Seconds within the watch and steps go to `inside`."""
    width, depth, batch = size
    model = model_of(width, depth, device, dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x = torch.randn(batch, width, device=device, dtype=dtype)
    w = watched(optimizer) if watched else None
    if w:
        count_inside(w, inside, clock_of(device))
    while True:
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        if w:
            w.log(loss=loss)
            inside[1] += 1
        if device != "cpu":
            torch.cuda.synchronize()
        yield


def count_inside(w: dw.Watcher, inside: list[float], clock: Callable[[], float]) -> None:
    """Add up the seconds that the watch's hooks and `log` take, publishing included."""

    def timed(act: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            began = clock()
            found = act(*args, **kwargs)
            inside[0] += clock() - began
            return found

        return call

    recorder = w._recorder
    for handle in recorder._handles:
        handle.remove()
    recorder.optimizer.register_step_pre_hook(timed(recorder._before))
    recorder.optimizer.register_step_post_hook(timed(recorder._after))
    recorder.log = timed(recorder.log)


def in_turn(loops: dict[str, Iterator[None]], device: str) -> dict[str, float]:
    """Seconds of a step of each loop: of several turns the quickest, which the least else disturbed.

    A turn is long beside the time between publishes.
    """
    clock = clock_of(device)
    found: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(TURNS + 1):
        for name in sorted(loops, key=lambda name: hash((name, turn))):
            next(loops[name])
            steps, began, end = 0, clock(), time.perf_counter() + TURN_SECONDS
            while time.perf_counter() < end:
                next(loops[name])
                steps += 1
            if turn:  # the first warms up
                found[name].append((clock() - began) / steps)
    return {name: min(turns) for name, turns in found.items()}


class Nothing(torch.optim.Optimizer):
    """Steps without doing anything, so that only what is around it takes time."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    def step(self, closure=None):
        """Do nothing."""


def empty_loop(device: str, watched: Callable[..., dw.Watcher] | None, values: int) -> float:
    """Microseconds for a step that does nothing, with so many values logged."""
    weight = torch.nn.Parameter(torch.ones(3, device=device))
    optimizer = Nothing([weight])
    loss = weight.detach().sum()
    w = watched(optimizer) if watched else None
    metrics = {f"value {i}": float(i) for i in range(values - 1)}
    began = time.thread_time()
    for _ in range(EMPTY):
        optimizer.step()
        if w and values:
            w.log(metrics, loss=loss)
    took = time.thread_time() - began
    if w:
        w.close()
    return took / EMPTY * 1e6


def with_plot(optimizer: torch.optim.Optimizer) -> dw.Watcher:
    """Return a watch whose plot is there: what it would send to a page is made, and goes nowhere."""
    w = dw.watch(optimizer, show=False)
    assert w.plot is not None
    return w


def main() -> None:
    """Print the tables."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    console = Console(width=100)
    table = Table("one step on the host", "µs")
    bare = min(empty_loop(device, None, 0) for _ in range(3))
    for name, watched, values in (
        ("rates alone", dw.watch, 0),
        ("rates and loss", dw.watch, 1),
        ("rates, loss and 3 numbers", dw.watch, 4),
        ("rates and loss, with the plot", with_plot, 1),
    ):
        table.add_row(name, f"{min(empty_loop(device, watched, values) for _ in range(3)) - bare:.1f}")
    console.print(table)

    watches: dict[str, Callable[..., dw.Watcher] | None] = {
        "bare": None,
        "watch": dw.watch,
        "watch and plot": with_plot,
    }
    for measure in MEASURES:
        watches[measure] = lambda optimizer, measure=measure: dw.watch(optimizer, measure=measure)
    watches["all measures"] = lambda optimizer: dw.watch(optimizer, measure=list(MEASURES))
    watches["all, every 10"] = lambda optimizer: dw.watch(optimizer, measure=list(MEASURES), every=10)
    sizes = [((64, 3, 512), torch.float32), ((256, 8, 256), torch.float32), ((256, 8, 256), torch.bfloat16)]
    for size, dtype in sizes:
        width, depth, batch = size
        count = depth * (width * width + width)
        title = f"{depth} layers of {width}, batch {batch}, {str(dtype)[6:]}: {count:,} weights on {device}"
        table = Table("", "ms per step", "more than bare", "µs in the watch", "of the bare step", title=title)
        inside = {name: [0.0, 0.0] for name in watches}
        loops = {name: loop(device, dtype, size, watched, inside[name]) for name, watched in watches.items()}
        found = in_turn(loops, device)
        bare = found["bare"]
        for name, seconds in found.items():
            own = inside[name][0] / max(1, inside[name][1])
            more = f"{100 * (seconds / bare - 1):+.1f} %"
            table.add_row(name, f"{1e3 * seconds:.3f}", more, f"{1e6 * own:.0f}", f"{100 * own / bare:.1f} %")
        console.print(table)


if __name__ == "__main__":
    main()
