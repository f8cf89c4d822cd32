"""Ours beside what people use to see a loss while they train: cost per step and bytes on the wire, at any length.

All are told of the same loop, of a step and a wait of a millisecond as for a device, in one notebook kernel, one after the
other. The cost is processor time of the loop's own thread on top of the same step without, taken in turns. Bytes are those
that leave the kernel for the notebook's page. It fails when ours is not the cheapest that shows a live curve.
Run: pip install livelossplot tensorboard wandb bokeh tqdm, then python tests/benchmarks/bench_peers.py --write
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import start_new_kernel
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # as a kernel finds them too

from peers import LIVE, PEERS  # noqa: E402

DOCS = HERE.parents[1] / "docs"
TABLE, END = "<!-- table -->", "<!-- end of table -->"
POINTS = (1_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Cost:
    """Of one peer at one length."""

    opening: int
    """Bytes until the curve of what was recorded before is there."""
    bare: float
    """Seconds of a step without it."""
    seconds: float
    """Seconds per step on top of that."""
    size: float
    """Bytes per step."""


def ask(client: BlockingKernelClient, expression: str, code: str = "") -> tuple[Any, int]:
    """What an expression is in the kernel, and the bytes that it sent meanwhile.

    Raises:
        RuntimeError: it could not be found.
    """
    asked = client.execute(code, user_expressions={"found": expression})
    size = 0
    while True:
        frames = client.iopub_channel.socket.recv_multipart()
        size += sum(map(len, frames))
        told = client.session.deserialize(client.session.feed_identities(frames)[1])
        ended = told["msg_type"] == "status" and told["content"]["execution_state"] == "idle"
        if ended and told["parent_header"]["msg_id"] == asked:
            break
    reply = client.get_shell_msg(timeout=60)["content"]
    answer = reply if reply["status"] != "ok" else reply["user_expressions"]["found"]
    if answer["status"] != "ok":
        raise RuntimeError(f"{answer['ename']}: {answer['evalue']}")
    return ast.literal_eval(answer["data"]["text/plain"]), size


def measure(client: BlockingKernelClient, name: str, points: int, seconds: float) -> Cost | str:
    """Have the kernel measure a peer; what went wrong when it cannot."""
    try:
        _, opening = ask(client, "0", f"loop = peers.Loop({name!r}, {points})")
        found, size = ask(client, f"loop.measure({seconds})")
    except RuntimeError as error:
        return str(error)
    return Cost(opening, found["bare"], max(0.0, found["with"] - found["bare"]), size / found["steps"])


def told(cost: Cost | str) -> str:
    """A cell of the table."""
    if isinstance(cost, str):
        return cost[:60]
    return f"{cost.seconds * 1e6:,.0f} µs, {cost.size:,.0f} B"


def table(costs: dict[str, dict[int, Cost | str]]) -> list[list[str]]:
    """Rows of text: a peer, where its curve is, and per length its microseconds and bytes."""
    rows = []
    for name, by_points in costs.items():
        rows.append([name, PEERS[name][1], *map(told, by_points.values())])
    return rows


def write_table(rows: list[list[str]], path: Path) -> None:
    """Put the rows between the two marks of a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(TABLE)
    _, end, after = rest.partition(END)
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    path.write_text(f"{before}{TABLE}\n{lines}{end}{after}", encoding="utf-8")


def chart(costs: dict[str, dict[int, Cost | str]], path: Path) -> None:
    """Draw the cost per step over the number of points recorded before."""
    import matplotlib.pyplot as plt  # one of the peers brings it

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, by_points in costs.items():
        known = {points: cost.seconds * 1e6 for points, cost in by_points.items() if isinstance(cost, Cost)}
        ours = name == "diffopt_widgets"
        axes.plot(list(known), list(known.values()), "o-", label=name, linewidth=3 if ours else 1.2)
    axes.set(xscale="log", yscale="log", xlabel="points recorded before", ylabel="cost per step (µs)")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main() -> int:
    """Measure, print, and with --write put the table and the chart into the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is tried at each length")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md and docs/peers.svg")
    chosen = parser.parse_args()
    paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    manager, client = start_new_kernel(env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})
    costs: dict[str, dict[int, Cost | str]] = {}
    try:
        client.execute_interactive("import peers, warnings; warnings.simplefilter('ignore')", timeout=60)
        for name in PEERS:
            measure(client, name, 0, 1)  # what is imported and warmed up once
            costs[name] = {points: measure(client, name, points, chosen.seconds) for points in POINTS}
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    bare = [cost.bare for by_points in costs.values() for cost in by_points.values() if isinstance(cost, Cost)]
    rows = table(costs)
    shown = Table(
        title=f"a step of {1e6 * min(bare):.0f} µs and 1 ms of waiting: cost per step and bytes per step, by the points recorded before"
    )
    titles = ["", "its curve", *(f"{points:,}" for points in POINTS)]
    for title in titles:
        shown.add_column(title)
    for row in rows:
        shown.add_row(*row)
    Console(width=160).print(shown)
    if chosen.write:
        write_table([titles, ["---"] * len(titles), *rows], DOCS / "peers.md")
        chart(costs, DOCS / "peers.svg")
    return beaten(costs)


def beaten(costs: dict[str, dict[int, Cost | str]]) -> int:
    """Tell where another that shows a live curve is cheaper than ours; how often that is."""
    count = 0
    for name, by_points in costs.items():
        if not PEERS[name][1].startswith(LIVE[:4]) or name == "diffopt_widgets":
            continue
        for points, cost in by_points.items():
            ours = costs["diffopt_widgets"][points]
            if isinstance(ours, str) or (isinstance(cost, Cost) and cost.seconds <= ours.seconds):
                print(f"at {points:,} points {name} is cheaper: {cost} against {ours}")
                count += 1
    return count


if __name__ == "__main__":
    sys.exit(main())
