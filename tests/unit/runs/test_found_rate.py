"""Rate that a run found: read where there is a level, and otherwise the words say why there is none."""

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.runs.found_rate import found_rate

N = 100
SETTLED = np.minimum(1e-6 * 1.5 ** np.arange(N), 2e-3)


def run_with(d, *, optimizer="PRODIGY", end="done", planned=None, after=0.2, groups=("unet",), **options):
    run = dw.Run(dw.RunPlan(dw.Settings(optimizer, **options), steps=planned or len(d)))
    run.begin()
    run.set_up("cpu", groups)
    values = [(float(one),) * len(groups) if np.ndim(one) == 0 else tuple(map(float, one)) for one in d]
    run.record(
        dw.StepRecord(i + 1, 0.1, 0.5, (1.0,) * len(groups), value, d=value if len(groups) > 1 else value[0])
        for i, value in enumerate(values)
    )
    run.record_evaluation(before=0.5, after=after)
    if end == "failed":
        run.fail("no", "")
    elif end:
        run.end(end)
    return run


def test_a_level_is_read_with_its_number_and_the_way():
    found = found_rate(run_with(SETTLED))
    assert found.value == pytest.approx(2e-3)
    assert str(found) == "its applied rate reached 2e-3 (95th percentile of 100 steps)"
    assert dw.with_rate_of(run_with(SETTLED)).lr == pytest.approx(2e-3)


def test_a_stopped_run_has_one_too():
    assert found_rate(run_with(SETTLED, end="stopped", planned=1000)).value == pytest.approx(2e-3)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (run_with(1e-6 * 1.02 ** np.arange(N)), r"d still grew at its end \(5\.8e-6 → 7\.1e-6"),
        (run_with(np.full(N, 1e-6)), r"d did not leave d0 \(1e-6\) in 100 steps"),
        (run_with(SETTLED[:20]), r"it took 20 steps, and a level shows in 30 or more"),
        (run_with(SETTLED, end="failed"), "it failed after 100 steps"),
        (run_with(SETTLED, end=None, planned=1000), r"it has not ended \(100 of 1000 steps\)"),
        (run_with(SETTLED, after=2.0), r"its loss ended far above where it began \(0\.5 → 2\)"),
        (run_with(SETTLED, end="stopped", planned=400, warmup=0.5), "its warm-up of 200 steps was not over"),
        (run_with(SETTLED, optimizer="ADAFACTOR"), "ADAFACTOR sets its rate by its own rule"),
        (run_with(SETTLED, optimizer="ADAMW"), "ADAMW trains with the rate that it is given"),
        (run_with([(2e-3, 1e-6 * 1.02**i) for i in range(N)], groups=("a", "b")), "d of a did not leave d0"),
        (run_with([(s, 1e-6 * 1.02**i) for i, s in enumerate(SETTLED)], groups=("a", "b")), "d of b still grew"),
    ],
)
def test_where_none_can_be_read_the_words_say_why_and_nothing_is_made(run, words):
    found = found_rate(run)
    assert found.value is None
    with pytest.raises(dw.SettingsError, match=words):
        dw.with_rate_of(run)


@pytest.mark.parametrize("optimizer", ["PRODIGY", "DADAPT_ADAM", "ADAFACTOR"])
def test_an_optimizer_that_sets_its_rate_itself_does_not_take_it(optimizer):
    with pytest.raises(dw.SettingsError, match="sets its rate itself"):
        dw.with_rate_of(run_with(SETTLED), optimizer)
