"""dw.watch in a real JupyterLab: the curve grows while a plain loop holds the kernel, and its picture stays."""

from __future__ import annotations

SETUP = """
import time, torch
import diffopt_widgets as dw

weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.AdamW([weight], lr=0.1)
"""
LOOP = """
with dw.watch(optimizer, measure="grad_norm") as w:
    for step in range(400):
        loss = weight.square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        w.log(loss=loss)
        time.sleep(0.01)
"""
GRAPH = "document.querySelector('.dw-plot-graph')"


def test_a_plain_loop_draws_while_it_holds_the_kernel(notebook):
    nb = notebook([SETUP, LOOP])
    page = nb.page
    nb.run_cell(0)
    nb.run_cell(1, wait=False)
    page.wait_for_function(f"Number({GRAPH}?.dataset.rows) > 20")
    lines = page.evaluate(f"{GRAPH}.data.map(t => [t.yaxis, t.x[0], Number({GRAPH}.dataset.rows)])")
    assert {axis for axis, *_ in lines} == {"y", "y2", "y3"}  # loss, rate and gradient norm
    assert all(first == 1 and rows < 400 for _, first, rows in lines)  # whole from the first step, and still going on
    page.wait_for_function(f"!{GRAPH}")
    nb.screenshot("watch-ended")
    picture = nb.save().cells[1].outputs[-1].data
    assert {"application/vnd.plotly.v1+json", "text/html"} <= set(picture)
    assert nb.eval_python("(len(w.history), len(optimizer._optimizer_step_post_hooks))") == [400, 0]
