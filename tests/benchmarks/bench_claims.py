"""Runs behind every sentence that quotes a result, what seeds alone change, and the table of what the presets reach.

Run it: `python tests/benchmarks/bench_claims.py [PLACE …]`. It carries out the runs of `tests/shared/claims.py` whose results are
not in `measured.json` (about five seconds each; with names of texts, only theirs), prints each sentence that is not in its text
and each `measured` of a ready comparison that is not as these results have it, and writes the tables into `docs/recommended.md` and `docs/lora.md`. To measure all again, delete `measured.json` first.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))

from claims import CLAIMS, TABLES, losses_by_seed, needed, texts
from measured import Measured, name_of
from places import ROOT

from diffopt_widgets.runs.comparisons import comparisons

MARKS = "<!-- table -->\n", "<!-- end of table -->"


def main(*places: str) -> None:
    measured, said = Measured(), texts()
    chosen = [claim for claim in CLAIMS if not places or set(places) & set(claim.places)]
    for claim in chosen:
        for plan in claim.runs.values():
            measured.measure(claim.measure, plan, claim.seeds)
        sentence = claim.sentence(claim.means(measured))
        for place in claim.places:
            if sentence not in said[place]:
                print(f"\n{place} does not say: {sentence}")
        for seed in claim.seeds:
            if not claim.holds(results := claim.results(measured, seed)):
                print(f"\n{', '.join(claim.places)}: not true with seed {seed}: {dict(results)}")
    if places:
        return
    for what, plan, seeds in needed():
        measured.measure(what, plan, seeds)
    seen = [(one, losses_by_seed(measured, one)) for one in comparisons()]
    print(*(f"\nmeasured of {one.key} is {losses}" for one, losses in seen if losses != one.measured))
    measured.keep({name_of(what, plan) for what, plan, _ in needed()})
    for name, table in TABLES.items():
        before, _, rest = (ROOT / name).read_text("utf-8").partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        (ROOT / name).write_text("".join([before, MARKS[0], table(measured), MARKS[1], after]), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
