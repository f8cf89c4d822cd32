"""The page on what Prodigy's rate is worth has the table of what was measured."""

import importlib
import json

from places import ROOT


def test_the_table_of_the_page_is_that_of_the_measured_rates(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    bench = importlib.import_module("bench_rate")
    page = bench.PAGE.read_text(encoding="utf-8")
    measured = json.loads(bench.MEASURED.read_text(encoding="utf-8"))
    assert measured
    assert bench.page_with(page, bench.table(measured)) == page
