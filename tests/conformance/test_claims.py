"""Sentences that quote a result of runs: each has its figures from results that are kept, and no text quotes one besides."""

import math
import re

import pytest
from claims import CLAIMS, SEEDS, league, losses_by_seed, needed, table_of_presets, texts
from measured import Measured, carry_out, name_of
from places import ROOT

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.runs.comparisons import comparisons

TEXTS = texts()
CATALOGUE = {place: text for place, text in TEXTS.items() if not place.endswith((".md", ".ipynb"))}
MEASURED = Measured()
MISSING = [
    name_of(what, plan)
    for what, plan, seeds in needed()
    if not {str(seed) for seed in seeds} <= MEASURED.results.get(name_of(what, plan), {}).keys()
]
QUOTES = re.compile(r"\bdigits\b|[Ss]wiss|\bon the bench\b|\bmeasured on\b|\bdid best\b|\bbench\b.*\d|\d.*\bbench\b")
"""Marks of a sentence that quotes a result: a task's name, or the bench together with a figure."""
OTHERS = {
    "each step is cheaper, and 15 of them make the update orthogonal to three digits.",
    "0.01 is the bench's.",
    "in run.output, and on the bench under the run bar (Output of the back end).",
}
"""Sentences with such a mark that quote nothing."""


def quoting(text, known=()):
    """The sentences of a text that quote a result, without those that are known."""
    for sentence in known:
        text = text.replace(sentence, "…")
    sentences = re.split(r"(?<=[.!?:;…])\s+", text)
    return [sentence for sentence in sentences if QUOTES.search(sentence) and sentence not in OTHERS]


def known(place):
    return [claim.sentence(claim.means(MEASURED)) for claim in CLAIMS if place in claim.places]


def test_every_result_that_is_quoted_has_been_measured():
    assert MISSING == [], "run: python tests/benchmarks/bench_claims.py"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.places[0])
def test_a_sentence_has_its_figures_from_the_results_and_holds_with_every_seed(claim):
    sentence = claim.sentence(claim.means(MEASURED))
    for place in claim.places:
        assert sentence in TEXTS[place]
    for seed in claim.seeds:
        results = claim.results(MEASURED, seed)
        assert claim.holds(results), (seed, results)


def test_no_text_quotes_a_result_that_has_no_runs():
    found = {place: sentences for place, text in CATALOGUE.items() if (sentences := quoting(text, known(place)))}
    assert found == {}, "add a claim to tests/shared/claims.py, or leave the result out"


@pytest.mark.parametrize(
    "sentence",
    [
        "At 1e-8 the small networks of the bench hardly trained.",
        "The package's rate, which did best.",
        "On the digits this is better.",
        "Take 1e-3 for models as small as those of the bench.",
        "Half the loss on the swiss roll.",
    ],
)
def test_a_sentence_that_quotes_a_result_is_noticed(sentence):
    assert quoting(f"An option. {sentence} It is useful.") == [sentence]
    assert quoting(f"An option. {sentence} It is useful.", [sentence]) == []


def test_advice_that_was_measured_here_has_runs():
    for key in list_optimizers():
        for use in (spec(key).lr, *spec(key).uses):
            if use.advice and use.advice.source == "measured on the bench":
                assert known(f"{key}.{use.name}"), f"{key}.{use.name}"


def test_every_ready_comparison_has_runs_with_several_seeds():
    for place in TEXTS:
        if place.startswith("comparison "):
            assert any(place in claim.places and len(claim.seeds) > 1 for claim in CLAIMS), place


@pytest.mark.parametrize("comparison", comparisons(), ids=lambda comparison: comparison.key)
def test_what_seeds_change_in_a_ready_comparison_is_what_was_measured(comparison):
    assert comparison.measured == losses_by_seed(MEASURED, comparison)


def test_every_recommended_preset_trains_the_digits():
    losses = {key: MEASURED.mean("loss", plan, SEEDS) for key, plan in league().items()}
    assert [key for key, loss in losses.items() if not loss < 0.3] == []


@pytest.mark.slow
def test_the_table_of_recommended_presets_is_the_measured_one():
    page = (ROOT / "docs" / "recommended.md").read_text(encoding="utf-8")
    assert f"<!-- table -->\n{table_of_presets(MEASURED)}<!-- end of table -->" in page


@pytest.mark.slow
def test_results_can_be_measured_again():
    claim = next(claim for claim in CLAIMS if "comparison rounding" in claim.places)
    again = {label: carry_out(claim.measure, plan, 0) for label, plan in claim.runs.items()}
    assert claim.holds(again)
    for label, result in claim.results(MEASURED, 0).items():
        assert math.isclose(again[label], result, rel_tol=0.02)
