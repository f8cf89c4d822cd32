import pytest
@pytest.mark.parametrize("theme", ["light"])
def test_bench(notebook, theme):
    nb = notebook(["""import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"))
bench"""], theme=theme, height=1000)
    nb.run_cell(0)
    bench = nb.page.locator(".dw-bench")
    def shots(state):
        for w, h in ((480, 900), (900, 1000), (1280, 800), (1400, 1000), (1920, 1080)):
            nb.page.set_viewport_size({"width": w, "height": h})
            nb.page.locator(".jp-OutputArea-output").first.evaluate("node => node.scrollIntoView()")
            nb.page.wait_for_timeout(1200)
            nb.page.screenshot(path=f"/tmp/plotx/bench-{state}-{w}-{theme}.png")
    shots("open")
    bench.get_by_role("button", name="D coefficient under cosine").click()
    nb.until_python("bench.runs and len(bench.runs[0].history) > 60", seconds=120)
    nb.page.wait_for_timeout(500)
    nb.page.screenshot(path=f"/tmp/plotx/bench-running-{theme}.png")
    nb.until_python("len(bench.runs) == 3 and bench.runs[2].ended", seconds=400)
    shots("compared")
