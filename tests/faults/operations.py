"""Random operations on a bench, checked after each one against a plain model of what it must show.

The model knows nothing of drafts, widgets or sessions: it holds the texts that were typed, by optimizer, what Undo brings
back, and the runs that were started.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tried import BOWL, Tried

import diffopt_widgets as dw
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import ValueProblem, format_value
from diffopt_widgets.execution import session
from diffopt_widgets.runs.comparisons import Comparison
from diffopt_widgets.runs.run import Run
from diffopt_widgets.runs.space import vary
from diffopt_widgets.widgets.bench import bench as bench_module
from diffopt_widgets.widgets.form.form_file import FOLDER_VARIABLE, FormFile

OPTIMIZERS = ("PRODIGY", "ADAMW", "ADAFACTOR", "SGD", "LION", "MUON", "SCHEDULE_FREE_ADAMW", "CAME", "DADAPT_LION")
"""Few enough that a random walk comes back to each."""
NONSENSE = (
    *(
        "",
        " ",
        "abc",
        "1,5",
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1",
        "2",
        "1e999",
        "1e-400",
        " 0.5 ",
        "½",
        "٣",
        "0x10",
        "--",
    ),
    *("None", "True", "true", "false", "0.9, 0.99", "1e-4 ", "1_000", "<b>&amp;", "\x00", "\ud800", "💥", "9" * 400),
    *("x" * 30_000, "\n0.1\n", "'", '"}', "COSINE", "cosine", "REX", "1.0.0", "+0.1", ".5", "5.", "1e", "1e+2"),
)
"""Texts that a control may be given, most of them wrong for most controls."""
MOST_RUNS = 8
UNDO_STEPS = 100
EXAMPLES = 12
"""Benches at once begun anew; hypothesis begins with the shortest walks."""


def check(condition: object, *about: object) -> None:
    """Assert, also where Python is run with -O."""
    if not condition:
        raise AssertionError(*about)


class Model:
    """Texts of the controls: own ones by optimizer, shared ones for all; and what Undo brings back."""

    def __init__(self) -> None:
        self.optimizer = ""
        self.own: dict[str, dict[str, str]] = {}
        self.shared: dict[str, str] = {}
        self.past: list[tuple[str, Model]] = []
        """For each change: its place, and the texts before it. Changes in one place are undone together."""

    def texts(self) -> dict[str, str]:
        """Return the text of each control that is shown."""
        return {**self.own[self.optimizer], **self.shared}

    def change(self, place: str) -> None:
        """Keep the texts as they are before a change."""
        if self.past and self.past[-1][0] == place:
            return
        before = copy.copy(self)
        before.own, before.shared = copy.deepcopy(self.own), dict(self.shared)
        self.past = [*self.past[1 - UNDO_STEPS :], (place, before)]

    def undo(self) -> None:
        """Take the last change back."""
        _, before = self.past.pop()
        self.optimizer, self.own, self.shared = before.optimizer, before.own, before.shared

    def type(self, name: str, text: str) -> None:
        """Type a text into a control that is shown."""
        (self.shared if name in TRAINING else self.own[self.optimizer])[name] = text


def default_texts(optimizer: str) -> dict[str, str]:
    """Return the text of every control at the back end's default."""
    entry = dw.spec(optimizer)
    uses = [entry.lr, *entry.uses, *TRAINING.values()]
    return {use.name: "" if use.default is None else format_value(use.default) for use in uses}


def parsed(optimizer: str, name: str, text: str) -> Any:  # Any: values of options, of whatever kind
    """Return the value of a control's text. Raises ValueProblem where it has none."""
    entry = dw.spec(optimizer)
    use = TRAINING[name] if name in TRAINING else entry.use(name)
    return use.check(use.option.parse(text))


class Bench(RuleBasedStateMachine):
    """The operations, and what must hold after each of them."""

    done: ClassVar[Counter[str]] = Counter()
    """How often each operation was done, in all examples."""
    started = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.before = os.environ.get(FOLDER_VARIABLE)
        os.environ[FOLDER_VARIABLE] = self.folder.name
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.number = 0
        self.runs: list[Run] = []
        """Runs of this bench that were not removed."""
        self.removed: list[Run] = []
        dw.register_task(BOWL, replace=True)

    def teardown(self) -> None:
        self.do(self.settle)
        check(not self.bench._is_busy(), "runs are in progress after Stop")
        self.do(self.bench.close)
        check(
            not asyncio.all_tasks(self.loop), "work goes on after the bench was closed:", asyncio.all_tasks(self.loop)
        )
        self.loop.close()
        self.folder.cleanup()
        os.environ.pop(FOLDER_VARIABLE)
        if self.before is not None:
            os.environ[FOLDER_VARIABLE] = self.before

    def do(self, action: Callable[[], Coroutine[Any, Any, None] | None]) -> None:
        """Do something on the event loop, as a kernel does, then let the training have a few turns."""

        async def act() -> None:
            if (waited := action()) is not None:
                await waited
            for _ in range(3):
                await asyncio.sleep(0)

        self.loop.run_until_complete(act())

    async def settle(self) -> None:
        self.bench.bar.stop.click()
        await self.bench.wait()

    def page(self, kind: str, **content: object) -> None:
        """Send what the page of the form sends; a message of JSON, as on the wire."""
        self.number += 1
        message = {"k": kind, "page": "p", "n": self.number, "panel": self.model.optimizer, **content}
        sent = json.loads(json.dumps(message))
        self.do(lambda: self.bench.form._handle_custom_msg(sent, []))
        check(self.bench.form.state["seen"] == ["p", self.number], "the page got no answer", kind)

    def count(self, operation: str) -> None:
        Bench.done[operation] += 1

    @initialize()
    def open(self) -> None:
        self.do(self.make)
        form = self.bench.form
        self.model.optimizer = form.draft.optimizer
        self.first_visit()
        self.first = self.model.texts()
        check(form.settings == dw.Settings("PRODIGY", **form.settings.changed()), form.settings)

    def make(self) -> None:
        self.bench = dw.lab(task="bowl", store=Path(self.folder.name) / "runs.sqlite")

    def first_visit(self) -> None:
        """Take over the texts of an optimizer that was not shown before; they must be what its defaults say, or a fix."""
        shown = {name: marks["text"] for name, marks in self.bench.form.state["controls"].items()}
        own = {name: text for name, text in shown.items() if name not in TRAINING}
        self.model.own.setdefault(self.model.optimizer, own)
        for name in TRAINING:
            self.model.shared.setdefault(name, shown[name])

    # What a person does with the form

    @rule(data=st.data())
    def type_text(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.texts())))
        use = TRAINING.get(name) or dw.spec(self.model.optimizer).use(name)
        good = [
            format_value(value)
            for value in (*use.option.choices, *(use.option.soft or ()), use.default)
            if value is not None
        ]
        text = data.draw(st.sampled_from(NONSENSE) | st.sampled_from(good or ["1"]) | st.floats().map(str))
        self.count("type a text")
        self.page("type", name=name, text=text)
        self.model.change(f"type:{name}")
        self.model.type(name, self.as_kept(name, text))

    def as_kept(self, name: str, text: str) -> str:
        """Return the text that must stay: as typed, but for what cannot be sent, text without end, and names of choices."""
        kept = text.encode("utf-8", "replace").decode()
        if len(kept) > 20_000:
            kept = f"{kept[:20_000]}… ({len(kept):,} characters)"
        use = TRAINING.get(name) or dw.spec(self.model.optimizer).use(name)
        if use.option.kind == "choice" and kept.strip() not in use.option.choices:
            with contextlib.suppress(ValueProblem):  # another program's name of the same choice
                value = parsed(self.model.optimizer, name, kept)
                return "" if value is None else format_value(value)
        return kept

    @rule(optimizer=st.sampled_from(OPTIMIZERS))
    def choose(self, optimizer: str) -> None:
        self.count("choose an optimizer")
        self.page("choose", optimizer=optimizer)
        self.model.change("choose")
        self.model.optimizer = optimizer
        self.first_visit()

    @precondition(lambda self: self.model.past)
    @rule()
    def undo(self) -> None:
        self.count("undo")
        self.page("undo")
        self.model.undo()
        self.first_visit()

    @rule(data=st.data())
    def load_preset(self, data: st.DataObject) -> None:
        preset = data.draw(st.sampled_from(dw.spec(self.model.optimizer).presets))
        self.count("load a preset")
        self.page("load", preset=preset.key)
        self.model.change(f"load:{preset.key}")
        for name, text in default_texts(self.model.optimizer).items():
            value = preset.values.get(name, ...)
            self.model.type(name, text if value is ... else "" if value is None else format_value(value))

    @rule(data=st.data(), kind=st.sampled_from(["reset", "advise", "fix"]))
    def press_beside_a_control(self, data: st.DataObject, kind: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.texts())))
        self.count(f"press {kind} beside a control")
        before = self.model.texts()
        self.page(kind, name=name)
        self.model.change(f"{kind}:{name}")
        after = {name: marks["text"] for name, marks in self.bench.form.state["controls"].items()}
        if kind == "reset":
            self.model.type(name, default_texts(self.model.optimizer)[name])
            return
        for other, text in after.items():  # which values are advised is the catalogue's own; they must be valid
            if text != before[other]:
                parsed(self.model.optimizer, other, text)
                self.model.type(other, text)
                check(kind == "fix" or other == name, "advice on one control changed another", name, other)

    @rule(data=st.data(), optimizer=st.sampled_from(OPTIMIZERS), how=st.sampled_from(["json", "repr", "code", "trait"]))
    def bring_settings(self, data: st.DataObject, optimizer: str, how: str) -> None:
        preset = data.draw(st.sampled_from(dw.spec(optimizer).presets))
        brought = dw.preset(optimizer, preset.key).replace(warmup=data.draw(st.sampled_from([0, 5, 10])))
        self.count("import settings")
        before = self.texts_of(optimizer)
        if how == "trait":
            self.model.change(f"settings:{brought!r}") if brought != self.bench.form.settings else None
            same = brought == self.bench.form.settings
            self.do(lambda: setattr(self.bench.form, "settings", brought))
            if same:
                return
        else:
            text = {"json": brought.to_json(), "repr": repr(brought), "code": f"s = dw.{brought!r}"}[how]
            self.page("paste", text=text)
            self.model.change(f"paste:{brought!r}")
        self.model.optimizer = optimizer
        self.first_visit()
        values = brought.values()
        for name, text in before.items():
            try:
                stays = parsed(optimizer, name, text) == values[name]
            except ValueProblem:
                stays = False
            self.model.type(name, text if stays else "" if values[name] is None else format_value(values[name]))
        check(self.bench.form.settings == brought, self.bench.form.settings, brought)
        check(not self.bench.form.errors, self.bench.form.errors)

    def texts_of(self, optimizer: str) -> dict[str, str]:
        own = self.model.own.get(optimizer, default_texts(optimizer))
        return {**own, **self.model.shared}

    @rule(
        text=st.sampled_from(
            ["", "{", "Settings(", "dw.Settings('NO')", "x" * 30_000, '{"optimizer": "LION", "lr": "a"}', "1\x00"]
        )
    )
    def paste_nonsense(self, text: str) -> None:
        self.count("paste what holds no settings")
        self.page("paste", text=text)
        check(self.bench.form.state["pasted"][2], "a wrong text has no fault", text)

    @rule(
        content=st.sampled_from(
            [
                {"k": "none"},
                {"k": "type", "name": "nope", "text": "1"},
                {"k": "load", "preset": "?"},
                [],
                None,
                {"k": 7},
            ]
        )
    )
    def strange_message(self, content: Any) -> None:
        self.count("send what no page sends")
        with quiet():
            self.do(lambda: self.bench.form._handle_custom_msg(content, []))
        self.do(lambda: self.bench.form._handle_custom_msg({"k": "dismiss"}, []))

    # What a person does with the run bar

    @rule(data=st.data())
    def type_into_the_bar(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(["steps", "seed", "batch_size", "accumulation"]))
        text = data.draw(st.sampled_from([t for t in NONSENSE if "\ud800" not in t]) | st.integers(1, 80).map(str))
        field = self.bench.bar.fields[name]
        self.count("type into the run bar")
        self.do(lambda: setattr(field, "value", text))
        check(field.value == text, "the text of a field was changed", name, text)

    @rule()
    def tidy_the_bar(self) -> None:
        self.count("type into the run bar")

        def tidy() -> None:
            for name, text in {"steps": "40", "seed": "1", "batch_size": "", "accumulation": "1"}.items():
                self.bench.bar.fields[name].value = text

        self.do(tidy)

    @rule(times=st.integers(1, 3))
    def press_run(self, times: int) -> None:
        self.count("press Run")
        button = self.bench.bar.run
        shown = len(self.bench.runs)
        disabled = True

        def press() -> None:
            nonlocal disabled
            disabled = button.disabled
            for _ in range(times):
                button.click()

        self.do(press)
        new = self.bench.runs[shown:]
        check(len(new) == (not disabled), f"Run, {'off' if disabled else 'on'}, started", len(new))
        self.runs += new
        Bench.started += len(new)

    @precondition(lambda self: len(self.runs) < MOST_RUNS)
    @rule(option=st.sampled_from(["seed", "steps"]))
    def vary(self, option: str) -> None:
        self.count("vary an option")
        plans = vary(dw.RunPlan(dw.Settings("SGD", lr=0.01), "bowl", steps=20), {option: [3, 4]})
        runs = [Run(plan) for plan in plans]
        self.do(lambda: self.bench.start(runs))
        self.runs += runs
        Bench.started += 2

    @precondition(lambda self: len(self.runs) < MOST_RUNS)
    @rule()
    def press_a_comparison(self) -> None:
        self.count("press a comparison")
        shown, wrong = len(self.bench.runs), bool(self.bench.bar.problem)
        with quiet():  # a wrong field of the bar is told in the bar, and logged
            self.do(lambda: self.bench.menu._handle_custom_msg({"choose": "bowls"}, []))
        new = self.bench.runs[shown:]
        check(len(new) == (0 if wrong else 2), "a comparison of two started", len(new))
        self.runs += new
        Bench.started += len(new)

    @rule(what=st.sampled_from(["pause", "stop"]))
    def press_pause_or_stop(self, what: str) -> None:
        self.count(f"press {what.title()}")
        self.do(getattr(self.bench.bar, what).click)

    @rule()
    def let_it_train(self) -> None:
        self.count("let it train")

        async def turns() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self.do(turns)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), kind=st.sampled_from(["rename", "visible", "remove", "repeat", "continue", "restore"]))
    def press_in_the_table(self, data: st.DataObject, kind: str) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.count(f"press {kind} in the table of runs")
        name = data.draw(st.sampled_from(["mine", "<b>", "", "x" * 300]))
        content = {"k": kind, "key": run.key, "name": name, "visible": data.draw(st.booleans())}
        before = list(self.bench.runs)
        self.do(lambda: self.bench.table._handle_custom_msg(content, []))
        after = self.bench.runs
        if kind == "remove":
            check(len(before) - len(after) in (0, 1), "one removal took away", len(before) - len(after))
        elif kind == "repeat":
            check(len(after) == len(before) + 1, "Repeat made no run")
        elif kind in ("rename", "visible", "continue"):
            check(before == after, kind, "changed the runs")
        self.runs = list(after)

    # The rest of the bench

    @rule()
    def export(self) -> None:
        self.count("export")
        settings = self.bench.form.settings
        check(dw.Settings.from_json(settings.to_json()) == settings, settings)
        compile(dw.export(settings, to="python"), "exported", "exec")
        json.loads(self.bench.form.json)
        with tempfile.TemporaryDirectory() as folder:
            lines = self.bench.plot.to_csv(Path(folder) / "runs.csv").read_text("utf-8").splitlines()
        shown = sum(len(curve.history) for curve in self.bench.plot.curves())
        check(len(lines) == 1 + shown, "the table of steps has", len(lines) - 1, "rows of", shown)
        check(self.bench.plot.svg().startswith("<svg"), "no picture")

    @rule(run_first=st.booleans())
    def close_and_open_again(self, run_first: bool) -> None:
        self.count("close the bench and open another")
        if run_first and not self.bench.bar.run.disabled:
            self.do(self.bench.bar.run.click)
            Bench.started += 1
        wrong = dict(self.bench.form.errors)
        runs = self.bench.runs
        self.do(self.close)
        check(not any(run.status in ("running", "paused", "waiting") for run in runs), "orphan work", runs)
        self.do(self.make)
        self.runs = []
        self.model.past = []
        check(set(self.bench.form.errors) == set(wrong), self.bench.form.errors, wrong)

    async def close(self) -> None:
        session = self.bench._session
        self.bench.close()
        if session is not None:
            await session.wait()

    # What must hold

    @invariant()
    def nothing_was_raised(self) -> None:
        check(not self.bench.form.notice, self.bench.form.notice)
        check(not self.bench.table.notice, self.bench.table.notice)

    @invariant()
    def no_typed_text_is_lost(self) -> None:
        form = self.bench.form
        check(
            form.draft.optimizer == form.panel["optimizer"] == self.model.optimizer,
            form.draft.optimizer,
            self.model.optimizer,
        )
        shown = {name: marks["text"] for name, marks in form.state["controls"].items()}
        expected = self.model.texts()
        wrong = {name: (shown.get(name), expected[name]) for name in expected if shown.get(name) != expected[name]}
        check(not wrong and shown.keys() == expected.keys(), "shown and typed:", wrong)

    @invariant()
    def the_next_kernel_opens_with_the_same_texts(self) -> None:
        draft = FormFile.of_user().recall()
        if draft is None:  # nothing was changed yet
            check(self.model.texts() == self.first, self.model.texts())
            return
        check(draft.optimizer == self.model.optimizer, draft.optimizer)
        check(draft.texts == self.model.texts(), draft.texts, self.model.texts())

    @invariant()
    def form_and_settings_agree(self) -> None:
        form, optimizer = self.bench.form, self.model.optimizer
        values, wrong = {}, set()
        for name, text in self.model.texts().items():
            try:
                values[name] = parsed(optimizer, name, text)
            except ValueProblem:
                wrong.add(name)
        check(wrong <= form.errors.keys(), "texts without an error:", wrong - form.errors.keys())
        check(form.settings.optimizer == optimizer, form.settings)
        check(dw.Settings.from_json(form.settings.to_json()) == form.settings, form.settings)
        if not form.errors:
            check(form.settings == dw.Settings(optimizer, **values), form.settings, values)
        check(json.loads(form.json)["optimizer"] == optimizer, form.json)
        check(self.bench.size.settings == form.settings, "the sizes are of other settings")
        check(not form.errors or self.bench.bar.run.disabled, "Run is on while the form is wrong")

    @invariant()
    def those_at_work_were_started_together(self) -> None:
        runs = self.bench.runs
        at_work = [run for run in runs if run.status in ("running", "paused")]
        together = self.bench._session.together if self.bench._session else ()
        check(len(at_work) <= 1 or set(at_work) <= set(together), "at once:", at_work)
        check([row["key"] for row in self.bench.table.rows] == [run.key for run in runs], "the table has other runs")
        for run in runs:
            steps = run.history.step
            check(list(steps) == list(range(1, len(steps) + 1)), "steps twice or lost", run)
            check(run.status != "failed" or "no longer a finite number" in run.message, run.message, run.trace)


@contextlib.contextmanager
def quiet() -> Any:
    """Keep the warnings of what is done wrong on purpose out of the output."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def operations(at_least: int, seed: int) -> Tried:
    """Do so many operations on benches, by chance, and check the model after each."""
    Bench.done, Bench.started, rounds = Counter(), 0, 0
    bowls = Comparison(
        "bowls",
        "Two",
        "Two.",
        dw.RunPlan(dw.Settings("ADAMW", lr=1e-2), "bowl", 30),
        {"lr": (1e-2, 1e-3)},
        measured=((0.1, 0.2), (0.3, 0.4)),
    )
    kept, bench_module.comparisons = bench_module.comparisons, lambda: (bowls,)
    pace = session.SLICE_SECONDS
    session.SLICE_SECONDS = 0.0  # every step gives way, so that no clock decides how far a run comes
    try:
        while Bench.done.total() < at_least:
            walk = settings(
                max_examples=EXAMPLES,
                stateful_step_count=max(10, at_least // EXAMPLES),
                deadline=None,
                database=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink] if at_least > 500 else [Phase.generate],
            )
            walker = hypothesis_seed(seed + rounds)(type("Walk", (Bench,), {}))
            rounds += 1
            run_state_machine_as_test(walker, settings=walk)
    finally:
        bench_module.comparisons = kept
        session.SLICE_SECONDS = pace
    rarest = min(Bench.done.items(), key=lambda item: item[1])
    return Tried(
        "random operations on the bench, against a plain model",
        Bench.done.total(),
        "no exception; form and Settings agree; no typed text is lost; only runs started together train at once",
        f"{len(Bench.done)} kinds, the rarest ({rarest[0]}) {rarest[1]} times; {Bench.started} runs started",
    )
