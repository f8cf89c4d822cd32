"""The report on compared runs: its ranking, its intervals, its words, and the code that repeats it."""

import random
from dataclasses import replace
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.records import StepRecord
from diffopt_widgets.runs.paired import paired, student

SETTINGS = {"ADAMW": dw.Settings("ADAMW"), "LION": dw.Settings("LION"), "SGD": dw.Settings("SGD")}


def run(optimizer, seed, loss, *, status="done", seconds=1.0, state_bytes=100, **options):
    """A run that ended with this evaluation loss."""
    settings = SETTINGS[optimizer].replace(**options)
    made = dw.Run(dw.RunPlan(settings, "digits", 2, seed=seed))
    made.begin()
    made.set_up("cpu", ["all"], {"torch": "2.0", "machine": "a small one"})
    made.record(StepRecord(i, seconds * i, 1.0 / i, (0.1,), (0.1,)) for i in (1, 2))
    made.record_evaluation(before=1.0, after=loss)
    made.record_state_bytes(state_bytes)
    if status != "running":
        made.end(status)
    return made


def runs(**losses):
    return [run(key, seed, loss) for key, values in losses.items() for seed, loss in enumerate(values)]


@pytest.mark.parametrize(
    ("confidence", "freedom", "tabulated"),  # Student's t as printed in tables of statistics
    [(0.95, 1, 12.706), (0.95, 4, 2.776), (0.95, 30, 2.042), (0.99, 9, 3.250), (0.999, 5, 6.869)],
)
def test_intervals_are_students(confidence, freedom, tabulated):
    assert student(confidence, freedom) == pytest.approx(tabulated, abs=6e-4)


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=2, max_size=20))
def test_the_interval_is_that_of_the_differences(pairs):
    first, second = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    difference = paired(first, second)
    differences = [one - other for one, other in pairs]
    assert difference.mean == pytest.approx(fmean(differences))
    assert difference.margin == pytest.approx(student(0.95, len(pairs) - 1) * stdev(differences) / len(pairs) ** 0.5)


def test_an_interval_holds_the_true_difference_as_often_as_it_says():
    source = random.Random(0)  # noqa: S311  # not for secrets
    held = 0
    for _ in range(1000):
        common = [source.gauss(0, 5) for _ in range(5)]
        first = {seed: base + source.gauss(0.3, 1) for seed, base in enumerate(common)}
        second = {seed: base + source.gauss(0, 1) for seed, base in enumerate(common)}
        difference = paired(first, second)
        held += abs(difference.mean - 0.3) <= difference.margin
    assert 930 <= held <= 968  # 95 % of 1000, give or take 2.6 standard deviations


def test_only_seeds_that_both_have_are_compared():
    assert paired({0: 1.0, 1: 2.0}, {1: 1.5, 2: 9.0}).mean == 0.5
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_a_difference_beyond_luck_is_said_with_its_margin_and_its_costs():
    made = dw.report(
        [
            *(run("LION", seed, 0.10 + 0.01 * seed, state_bytes=100, seconds=1.0) for seed in range(4)),
            *(run("ADAMW", seed, 0.15 + 0.0101 * seed, state_bytes=200, seconds=2.0) for seed in range(4)),
        ]
    )
    assert [row.standing.label for row in made.rows] == ["LION", "ADAMW"]
    assert "LION beats ADAMW by 0.05015 ± 0.00021 over 4 seeds, which is more than luck" in str(made)
    assert "at half the memory and twice the speed." in str(made)


def test_the_state_of_one_of_several_processes_is_not_compared_with_a_whole_one():
    made = [run("LION", 0, 0.1, state_bytes=100), run("ADAMW", 0, 0.2, state_bytes=100)]
    assert "the same memory" in str(dw.report(made))
    made[1].take_over({"trained_with": {**made[1].trained_with, "machine": "a small one, in 2 processes"}})
    assert "memory" not in str(dw.report(made))


def test_a_difference_within_its_margin_may_be_luck():
    assert "LION ends below ADAMW by" in str(made := dw.report(runs(LION=[0.1, 0.3, 0.2], ADAMW=[0.2, 0.2, 0.3])))
    assert "which may be luck" in str(made)
    assert "more than luck" not in str(made)


def test_one_seed_says_nothing_about_luck():
    text = str(dw.report(runs(LION=[0.1], ADAMW=[0.2])))
    assert "whether that is luck is not known" in text
    assert "±" not in text


def test_with_more_settings_each_interval_is_wider_so_that_all_hold_together():
    two = dw.report(runs(LION=[0.1, 0.12, 0.1], ADAMW=[0.2, 0.25, 0.2]))
    three = dw.report(runs(LION=[0.1, 0.12, 0.1], ADAMW=[0.2, 0.25, 0.2], SGD=[0.9, 0.9, 0.8]))
    assert three.confidence > two.confidence
    assert three.rows[1].against_best.margin > two.rows[1].against_best.margin
    assert "95 % for all pairs of settings together" in str(three)


def test_what_diverged_failed_or_was_stopped_is_told_and_never_best():
    diverged = [run("SGD", seed, float("nan")) for seed in range(2)]
    stopped = [run("ADAMW", seed, 0.01, status="stopped") for seed in range(2)]
    failed = run("SGD", 0, 0.01, momentum=0.5)
    failed.fail("The disk is full.", "")
    made = dw.report([*diverged, *stopped, failed, *runs(LION=[0.5, 0.6])])
    assert [row.standing.label for row in made.rows] == ["LION"]
    text = str(made)
    assert "diverged with 2 of 2 seeds" in text
    assert "ADAMW did not finish with 2 of 2 seeds" in text
    assert "failed: The disk is full." in text


def test_each_optimizer_is_shown_at_its_best_with_what_was_tried():
    tried = [
        run("ADAMW", seed, loss + seed / 100, lr=lr) for lr, loss in ((1e-3, 0.3), (1e-2, 0.2)) for seed in range(2)
    ]
    made = dw.report([*tried, *runs(LION=[0.4, 0.5])], by="optimizer")
    assert [row.standing.label for row in made.rows] == ["ADAMW · lr 0.01", "LION"]
    assert made.rows[0].tried == ("ADAMW · lr 0.01", "ADAMW · lr 0.001")
    assert "ADAMW · lr 0.01: best of 2 combinations: lr 0.001 and 0.01." in str(made)
    assert "| **ADAMW · lr 0.01 (best of 2)** |" in str(made)


def grid(optimizer, losses, **options):
    """Two runs of each value of lr, which end with its loss."""
    return [
        run(optimizer, seed, loss + seed / 100, lr=lr, **options) for lr, loss in losses.items() for seed in range(2)
    ]


def test_grids_of_unequal_size_are_told():
    three = grid("ADAMW", {1e-3: 0.3, 1e-2: 0.2, 1e-1: 0.4})
    text = str(dw.report([*three, *grid("LION", {1e-3: 0.5})], by="optimizer"))
    assert "unequal size, which favours the larger ones: 3 combinations of ADAMW, 1 of LION." in text
    assert "LION · lr 0.001: best of 1 combination." in text
    equal = str(dw.report([*three, *grid("LION", {1e-4: 0.5, 1e-3: 0.4, 1e-2: 0.6})], by="optimizer"))
    assert "unequal" not in equal
    assert "edge" not in equal


def test_a_best_one_at_the_edge_of_its_grid_is_told():
    highest = grid("ADAMW", {1e-3: 0.3, 1e-2: 0.2})
    lowest = grid("LION", {1e-3: 0.3, 1e-2: 0.4})
    text = str(dw.report([*highest, *lowest], by="optimizer"))
    assert "at the edge of its grid, so more may be in it: lr 0.01 is the highest that was tried." in text
    assert "at the edge of its grid, so more may be in it: lr 0.001 is the lowest that was tried." in text


def test_what_diverged_is_part_of_the_grid_so_that_the_best_is_not_at_its_edge():
    diverged = [run("ADAMW", seed, float("nan"), lr=0.1) for seed in range(2)]
    text = str(dw.report([*grid("ADAMW", {1e-3: 0.3, 1e-2: 0.2}), *diverged], by="optimizer"))
    assert "best of 3 combinations: lr 0.001, 0.01 and 0.1." in text
    assert "edge" not in text


def test_the_end_of_what_an_option_allows_is_no_edge():
    none = [run("ADAMW", 0, loss, weight_decay=decay) for decay, loss in ((0.0, 0.2), (0.1, 0.3))]
    assert "edge" not in str(dw.report(none, by="optimizer"))


def test_a_report_of_settings_says_nothing_of_grids():
    text = str(dw.report([*grid("ADAMW", {1e-3: 0.3, 1e-2: 0.2}), *grid("LION", {1e-3: 0.5})]))
    assert "combination" not in text
    assert "edge" not in text


def test_runs_that_cannot_be_compared_get_no_ranking():
    other = dw.Run(replace(runs(LION=[0.1])[0].plan, task="swiss_roll"))
    made = dw.report([*runs(LION=[0.1]), other])
    assert made.rows == ()
    assert "cannot be compared" in str(made)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("over", "options"),
    [
        ({"optimizer": {"ADAMW": {"lr": [1e-3, 1e-2]}, "PRODIGY": {"d_coef": [0.5]}}}, {"seeds": 2}),
        ({"lr": [1e-3], "schedule": ["COSINE"], "warmup": [0.1]}, {"seeds": [3, 5], "batch_size": 8}),
        ({"steps": [1, 2], "dtype": ["bfloat16"]}, {}),
        ([{"seed": 1}, {"seed": 2, "lr": 0.1}], {"grad_norm": True}),
    ],
)
def test_the_code_of_a_report_trains_the_same_runs(over, options):
    trained = dw.sweep("ADAMW", over, "swiss_roll", 1, progress=False, **options)
    code = dw.report(trained).code()
    space = {}
    exec(code.replace("print(dw.report(", "runs = ((").replace("))", ", progress=False))"), space)  # noqa: S102
    assert {one.plan for one in space["runs"]} == {one.plan for one in trained}


@pytest.mark.slow
def test_versions_and_machine_are_told_and_stay_with_a_stored_run(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    (trained,) = dw.sweep("PRODIGY", {"seed": [0]}, "swiss_roll", 1, store=store, progress=False)
    assert {"torch", "prodigyopt", "python", "machine"} <= trained.trained_with.keys()
    assert store.load(trained.key).trained_with == trained.trained_with
    assert f"torch {trained.trained_with['torch']}" in str(dw.report([trained]))
    unknown = dw.Run(trained.plan, status="done", history=trained.history, eval_after=0.1)
    assert "versions not known for 1 of the runs" in str(dw.report([unknown]))


@pytest.mark.parametrize("wrong", [None, 3, "runs", [], [3], {"a": 1}])
def test_what_are_no_runs_is_refused_by_name(wrong):
    with pytest.raises(dw.SettingsError, match="runs"):
        dw.report(wrong)
    with pytest.raises(dw.SettingsError, match="by"):
        dw.report(runs(LION=[0.1]), by="seed")


def test_a_message_is_shown_as_it_is():
    failed = run("SGD", 0, 0.2)
    failed.fail("a | b <script>*c*</script>", "")
    assert r"a \| b &lt;script&gt;\*c\*&lt;/script&gt;" in str(dw.report([*runs(LION=[0.1]), failed]))


@pytest.mark.slow
def test_what_is_worth_a_second_look_is_told_once_for_a_setting():
    over = {"optimizer": {"PRODIGY": {"lr": [3e-6]}}}
    text = str(dw.report(dw.sweep("PRODIGY", over, "swiss_roll", 30, seeds=2, progress=False)))
    assert text.count("d did not leave d0") == 1
    assert "so with 2 of 2 seeds" in text


@pytest.mark.slow
def test_equal_settings_seldom_differ_by_more_than_luck():
    source = random.Random(0)  # noqa: S311  # not for secrets
    wrong = 0
    for _ in range(300):
        tried = [
            run("ADAMW", seed, source.gauss(1, 0.1), lr=0.001 * (setting + 1))
            for setting in range(6)
            for seed in range(4)
        ]
        wrong += any(row.against_best and row.against_best.beyond_luck for row in dw.report(tried).rows)
    assert wrong <= 26  # 5 % of 300, and three standard deviations


def test_settings_without_a_common_seed_are_not_ranked():
    made = dw.report([run("LION", 0, 0.1), run("ADAMW", 1, 0.2)])
    assert [row.against_best for row in made.rows] == [None, None]
    assert "no seed in common" in str(made)


def test_equal_losses_are_said_to_be_alike():
    text = str(dw.report(runs(LION=[0.1, 0.2], ADAMW=[0.1, 0.2])))
    assert "end alike" in text
    assert "luck" not in text


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [(0, 0, "the same memory"), (100, 0, "more memory"), (0, 100, "less memory"), (1004, 1000, "the same memory")],
)
def test_memory_is_compared_in_words_that_hold(first, second, words):
    made = [run("LION", 0, 0.1, state_bytes=first), run("ADAMW", 0, 0.2, state_bytes=second)]
    assert f"at {words} and" in str(dw.report(made))


def test_speeds_of_different_machines_are_not_compared():
    other = run("ADAMW", 0, 0.2)
    other.go_on_with("cpu", {"machine": "a large one"})
    assert "speed" not in str(dw.report([run("LION", 0, 0.1), other]))


def test_a_report_is_markdown_whatever_the_output_shows():
    made = dw.report(runs(LION=[0.1, 0.12], ADAMW=[0.2, 0.25]))
    assert "±" in made.markdown()
    assert made._repr_markdown_() == made.markdown()
