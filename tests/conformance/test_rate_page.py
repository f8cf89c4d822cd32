"""The page on what Prodigy's rate is worth has the table of what was measured."""

import importlib.util
import json

from places import ROOT

PATH = ROOT / "tests" / "benchmarks" / "bench_rate.py"


def test_the_table_of_the_page_is_that_of_the_measured_rates():
    found = importlib.util.spec_from_file_location("bench_rate", PATH)
    bench = importlib.util.module_from_spec(found)
    found.loader.exec_module(bench)
    page = bench.PAGE.read_text(encoding="utf-8")
    measured = json.loads(bench.MEASURED.read_text(encoding="utf-8"))
    assert measured
    assert bench.page_with(page, bench.table(measured)) == page
