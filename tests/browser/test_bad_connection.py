"""A page whose connection to the kernel is slow, loses messages and breaks off while a bench trains."""

from __future__ import annotations

import contextlib
import csv
import io
import random
import re
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from browser.lab_server import PATIENCE
from browser.test_bench_views import LONG, Seen
from playwright.sync_api import Error, Page, WebSocketRoute, expect

if TYPE_CHECKING:
    from browser.notebook_page import Notebook

DELAY = 0.5


class Connection:
    """The socket between a page and its kernel: in order, like every socket, but slow, with gaps, or cut."""

    def __init__(self, page: Page) -> None:
        self.bad = self.cut = False
        self.lost = 0
        self._chance = random.Random(7)  # noqa: S311  # no secret
        self._late: deque[tuple[float, Callable[[], None]]] = deque()
        self._sockets: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/api/kernels/.*/channels"), self._opened)

    def _opened(self, socket: WebSocketRoute) -> None:
        if self.cut:
            socket.close()
            return
        server = socket.connect_to_server()
        self._sockets.append(socket)
        socket.on_message(lambda message: self._take(message, server.send))
        server.on_message(lambda message: self._take(message, socket.send))

    def _take(self, message: str | bytes, send: Callable[[str | bytes], None]) -> None:
        """Lose a tenth of what widgets say to each other, and keep the rest for a while."""
        said = message if isinstance(message, bytes) else message.encode()
        if self.bad and b'"comm_msg"' in said and self._chance.random() < 0.1:
            self.lost += 1
        elif self.bad or self._late:
            self._late.append((monotonic() + DELAY * self.bad, lambda: send(message)))
        else:
            send(message)

    def break_off(self) -> None:
        """Close what is open; what is under way does not arrive."""
        self.cut = True
        self._late.clear()
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()

    def until(self, nb: Notebook, condition: str) -> int:
        """Wait until an expression is true in the kernel, which is asked beside the page; what is due arrives meanwhile."""
        return self._until(nb, lambda: nb.eval_python(condition))

    def until_shown(self, nb: Notebook, rows: int) -> int:
        """Wait until the page has so many rows."""
        shown = "Number(document.querySelector('.dw-plot-graph')?.dataset.rows ?? 0)"
        return self._until(nb, lambda: (there := nb.page.evaluate(shown)) >= rows and there)

    def _until(self, nb: Notebook, asked: Callable[[], int]) -> int:
        end = monotonic() + PATIENCE
        while not (answer := asked()):
            assert monotonic() < end
            nb.page.wait_for_timeout(20)
            while self._late and self._late[0][0] <= monotonic():
                with contextlib.suppress(Error):  # it has been closed meanwhile
                    self._late.popleft()[1]()
        return answer


def test_no_point_is_lost_or_doubled_and_the_training_goes_on(fresh_notebook):
    connections: list[Connection] = []
    nb = fresh_notebook([LONG], prepare=lambda page: connections.append(Connection(page)))
    (connection,) = connections
    nb.run_cell(0)
    bench = Seen(nb.page)
    bench.button("Run").click()
    bench.until_drawn("rows > 10")
    taken = "len(bench.runs[0].history)"

    connection.bad = True
    there = nb.eval_python(taken)
    there = connection.until(nb, f"{taken} > {there + 100} and {taken}")
    connection.until_shown(nb, there)
    assert connection.lost

    connection.bad = False
    connection.break_off()
    there = nb.eval_python(taken)
    there = connection.until(nb, f"{taken} > {there + 100} and {taken}")
    connection.cut = False  # JupyterLab tries again by itself
    connection.until_shown(nb, there)

    bench.button("Stop").click()
    nb.until_python("bench.runs[0].ended")
    bench.until_drawn(f"rows === {nb.eval_python(taken)}")
    nb.page.locator(".dw-plot-save > summary").click()
    with nb.page.expect_download() as download:
        nb.page.locator(".dw-plot-save").get_by_role("button", name="CSV", exact=True).click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    steps, losses = nb.eval_python(
        "[bench.runs[0].history.step.tolist(), bench.runs[0].history.column('loss').tolist()]"
    )
    assert [int(row["step"]) for row in rows] == steps == list(range(1, len(steps) + 1))
    np.testing.assert_allclose([float(row["loss"]) for row in rows], losses, rtol=1e-6)  # the page has 32 bits
    expect(bench.words).to_contain_text(f"Stopped after {len(steps)}")
