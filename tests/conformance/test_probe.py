"""The probe: each option tried, and its table held against what is seen."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from collecting import Faults
from places import ROOT

from diffopt_widgets.catalogue import evidence as probed
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.evidence import Finding, Probed, Seen, evidence, read_table, write_table
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schema import Rule, Standing, Use, When
from diffopt_widgets.catalogue.values import Interval
from diffopt_widgets.cli.main import main
from diffopt_widgets.probe import prober as probe_module
from diffopt_widgets.probe import values as probe_values
from diffopt_widgets.probe.model import CIRCUMSTANCES, PLAIN, parameters, same_bits, walk
from diffopt_widgets.probe.prober import Prober
from diffopt_widgets.probe.table import disagreements, installed, lacking, outdated, probe
from diffopt_widgets.probe.values import (
    CHANGED,
    ELSEWHERE,
    NEEDS,
    ProbeError,
    changed_value,
    changed_values,
    needed_values,
)
from diffopt_widgets.settings import Fault, Settings, SettingsError
from diffopt_widgets.widgets.form.panel import panel

KEYS = list_optimizers()
USES = [(key, use) for key in KEYS for use in (spec(key).lr, *spec(key).uses)]
PINS = ROOT / "binder" / "constraints.txt"


TABLE = probed.table()["cpu"]


def found(key, name, **changes):
    """What is seen of an option whose entry in the catalogue is changed."""
    entry = spec(key)
    return Prober(entry).find(replace(entry.use(name), **changes))


# ---------------------------------------------------------------------------------------------------- the table


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_every_option_is_what_the_catalogue_and_the_table_say(key):
    seen = probe([key])
    assert disagreements(seen) == []
    assert list(seen.findings[key]) == [use.name for use in (spec(key).lr, *spec(key).uses)]
    for finding in seen.findings[key].values():
        at = re.search(r"first differ at step (\d+)", finding.words)
        assert (finding.step if finding.seen is Seen.LIVE else None) == (int(at[1]) if at else None)
    for package in ("torch", spec(key).package):
        if TABLE.versions.get(package, seen.versions[package]) != seen.versions[package]:
            pytest.skip(
                f"the table is of {package} {TABLE.versions[package]}, {seen.versions[package]} is installed; "
                "what is seen with it agrees with the catalogue"
            )
    assert TABLE.findings.get(key) == seen.findings[key], f"run `diffopt probe --write {key}`"


@pytest.mark.parametrize("key", KEYS)
def test_the_table_has_evidence_of_every_option(key):
    assert lacking(key) == ""


def test_what_the_table_lacks_is_named_with_the_command_that_makes_it(monkeypatch):
    cpu = probed.table()["cpu"]
    some = {name: finding for name, finding in cpu.findings["LION"].items() if name not in {"beta1", "weight_decay"}}
    some["gone"] = cpu.findings["LION"]["lr"]
    findings = {**cpu.findings, "LION": some}
    del findings["SOAP"]
    monkeypatch.setattr(probed, "table", lambda: {"cpu": replace(cpu, findings=findings)})
    assert lacking("LION") == (
        "LION has no evidence of beta1 and weight_decay and has evidence of gone, which it does not take (CPU). "
        "To make it: diffopt probe --write LION"
    )
    assert lacking("SOAP").startswith("SOAP has no evidence of lr, beta1, ")
    assert lacking("SOAP").endswith("To make it: diffopt probe --write SOAP")
    assert lacking("LION", "cuda").endswith("diffopt probe --write LION --device cuda")
    assert lacking("ADAMW") == ""


def test_the_table_has_no_optimizer_that_is_gone():
    for device, part in probed.table().items():
        assert device in probed.DEVICES
        assert list(part.findings) == list(KEYS), "run `diffopt probe --write`"


def test_the_table_is_of_the_versions_that_are_pinned():
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", PINS.read_text("utf-8"), re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    versions = probed.table()["cpu"].versions
    assert set(versions) == {"torch", *(spec(key).package for key in KEYS)}
    assert {name: pins[name.lower().replace("_", "-")] for name in versions} == versions


def test_the_table_is_read_as_it_was_written():
    text = probed.TABLE.read_text("utf-8")
    assert write_table(read_table(text)) == text
    options = sum(len(options) for part in probed.table().values() for options in part.findings.values())
    assert sum('"seen":' in line for line in text.splitlines()) == options, "one option to a line"


def test_reading_the_table_loads_no_back_end():
    code = (
        "import sys, diffopt_widgets.catalogue.evidence as probed\n"
        "assert probed.findings('SGD', 'lr')\n"
        "print(sorted({'torch', 'numpy', 'bitsandbytes', 'ipywidgets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("key", ["PRODIGY", "LAMB_8BIT", "LION"])
def test_trying_again_shows_the_same(key):
    assert probe([key]) == probe([key])


# ---------------------------------------------------------------------------------------------------- what it finds out


@pytest.mark.slow
def test_what_the_catalogue_gets_wrong_is_found():
    for key, name, wrong, right in [
        ("LAMB", "bias_correction", Standing.LIVE, Seen.INERT),
        ("RMSPROP", "momentum", Standing.UNAVAILABLE, Seen.INERT),
        ("SGD", "momentum", Standing.INERT, Seen.LIVE),
        ("SGD", "momentum", Standing.UNAVAILABLE, Seen.LIVE),
    ]:
        finding = found(key, name, standing=wrong)
        assert finding.seen is right, (key, name)
        assert not finding.seen.agrees(wrong)
    (sentence,) = disagreements(Probed({}, {"SGD": {"momentum": Finding(Seen.INERT, "0 → 0.5: the same")}}))
    assert sentence.startswith("SGD.momentum: the catalogue says live, the runs say inert (0 → 0.5: the same)")
    assert "NEEDS" in sentence


def test_an_option_that_is_refused_is_reported_by_name(monkeypatch):
    with pytest.raises(ProbeError, match=r"RMSPROP\.centered: .*not available"):
        found("RMSPROP", "centered", standing=Standing.LIVE)
    monkeypatch.setattr(probe_values, "NEEDS", {"SGD.momentum": {"nesterov": True}})
    with pytest.raises(ProbeError, match=r"SGD\.momentum: .*Nesterov needs momentum"):
        found("SGD", "momentum")


def test_a_value_that_raises_or_runs_away_is_reported_by_name(monkeypatch):
    monkeypatch.setattr(probe_values, "CHANGED", {"SGD.lr": 1e300, "RMSPROP.lr": 1e38})
    with pytest.raises(ProbeError, match=r"SGD\.lr: Settings\('SGD', lr=1e300\) raises RuntimeError"):
        found("SGD", "lr")
    with pytest.raises(ProbeError, match=r"RMSPROP\.lr: .* runs into NaN at step 1\. .*CHANGED"):
        found("RMSPROP", "lr")


def test_every_option_that_cannot_be_tried_is_named_at_once(monkeypatch):
    monkeypatch.setattr("diffopt_widgets.probe.prober.Prober", Unable)
    with pytest.raises(ProbeError, match=r"(?s)SGD\.lr .*SGD\.maximize .*LION\.beta1 "):
        probe(["SGD", "LION"])


class Unable(Prober):
    """Can try nothing."""

    def find(self, use):
        raise ProbeError(f"{self.entry.key}.{use.name} cannot be tried")


@pytest.mark.slow
def test_an_option_shows_only_under_its_circumstance():
    assert "with a tensor that starts at zero" in found("ADAFACTOR", "eps2").words
    assert "with a learning rate that starts at 0" in found("PRODIGY", "safeguard_warmup").words
    assert "with weight_decay at 0.05" in found("PRODIGY", "decouple").words


@pytest.mark.slow
def test_an_inert_option_names_every_circumstance_that_was_tried():
    words = found("LAMB", "adam_w_mode").words
    assert all(circumstance.words in words for circumstance in CIRCUMSTANCES)
    assert len({circumstance.words for circumstance in CIRCUMSTANCES}) == len(CIRCUMSTANCES)


@pytest.mark.slow
def test_a_circumstance_that_a_rule_forbids_is_left_out_of_the_evidence(monkeypatch):
    monkeypatch.setattr(probe_values, "ELSEWHERE", {})
    words = {key: found(key, "log_every").words for key in ("DADAPT_SGD", "DADAPT_LION")}
    assert all("two groups (unet, text_encoder)" in said for said in words.values())
    assert "starts at 0" in words["DADAPT_LION"]
    assert "starts at 0" not in words["DADAPT_SGD"], "it divides by zero there"


def test_what_a_rule_asks_for_is_set_on_both_sides(monkeypatch):
    monkeypatch.setattr(probe_values, "NEEDS", {"SGD.weight_decay": {"nesterov": True}})
    assert found("SGD", "weight_decay").words.startswith("0 → 0.05, with momentum at 0.9 and nesterov at on: ")


@pytest.mark.slow
def test_a_value_that_shows_nothing_gives_way_to_an_end_of_the_slider():
    assert found("ADAFACTOR", "eps").words == "1e-30 → 1e-6: the weights first differ at step 1"


def test_a_rule_without_a_fix_of_its_own_is_met_by_its_other_option():
    entry = spec("SGD")
    rule = Rule("r", ("momentum", "maximize"), lambda v: v["momentum"] > 0 and not v["maximize"], "Maximize, please.")
    bound = replace(entry, rules=(rule,))
    prober = Prober(bound)
    default, changed = prober._pair(bound.use("momentum"), 0.5, PLAIN)
    assert default == Settings("SGD", maximize=True)
    assert changed == Settings("SGD", maximize=True, momentum=0.5)


@pytest.mark.slow
def test_settings_that_one_model_does_not_fit_are_tried_on_another(monkeypatch):
    def picky(settings, groups):
        if settings.options["momentum"] and any(param.dim() < 2 for group in groups for param in group["params"]):
            raise SettingsError((Fault("momentum", 0.5, "it takes matrices only", ""),))
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.options["momentum"])

    monkeypatch.setattr(probe_module, "build_optimizer", picky)
    assert found("SGD", "momentum").words == "0 → 0.49, with matrices only: the weights first differ at step 2"
    monkeypatch.setattr(probe_module, "CIRCUMSTANCES", CIRCUMSTANCES[:2])
    with pytest.raises(ProbeError, match=r"SGD\.momentum: .*matrices only"):
        found("SGD", "momentum")


def test_weights_that_no_longer_move_show_that_an_option_is_unavailable(monkeypatch):
    stuck = spec("SGD")
    monkeypatch.setattr(probe_module, "load_class", lambda entry: Stuck)
    finding = Prober(stuck).find(replace(stuck.use("nesterov"), standing=Standing.UNAVAILABLE))
    assert finding == Finding(Seen.UNAVAILABLE, "off → on: the weights never move")


class Stuck(torch.optim.SGD):
    """Takes an option under which it waits for somebody else to step each tensor."""

    def __init__(self, params, nesterov=False, **options):
        super().__init__(params, **options)
        self.waits = nesterov

    def step(self):
        if not self.waits:
            super().step()


def test_exit_inside_a_back_end_ends_nothing():
    stdin = sys.stdin
    finding = found("LION", "use_triton")
    assert finding == Finding(Seen.UNAVAILABLE, "off → on: ends the whole process")
    assert sys.stdin is stdin


@pytest.mark.slow
def test_nothing_of_the_process_is_changed(capfd):
    before = torch.random.get_rng_state()
    assert Prober(spec("DADAPT_ADAN")).find(spec("DADAPT_ADAN").use("log_every")).seen is Seen.ELSEWHERE
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_leaves_an_option_untried():
    entry = replace(spec("PRODIGY"), target="no_such_module:Prodigy")
    gone = replace(entry.use("beta1"), standing=Standing.UNAVAILABLE)
    assert Prober(entry).find(gone) == Finding(Seen.UNTRIED, "not yet: it needs prodigyopt")
    assert Seen.UNTRIED.agrees(Standing.UNAVAILABLE)


# ---------------------------------------------------------------------------------------------------- how it compares


def sgd(groups):
    return torch.optim.SGD(groups, lr=0.1), None


def test_bits_are_compared():
    zero, minus = torch.tensor([0.0]), torch.tensor([-0.0])
    nan = torch.tensor([float("nan")])
    assert torch.equal(zero, minus)
    assert not same_bits(zero, minus)
    assert same_bits(nan, nan.clone())
    nudged = torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0]))
    assert not same_bits(torch.tensor([1.0]), nudged)


class Noisy(torch.optim.SGD):
    """Adds what a generator shared by all optimizers draws, as adv_optm's stochastic rounding does."""

    SHARED = torch.Generator()

    def __init__(self, params, *, seeded=True, **options):
        super().__init__(params, **options)
        if seeded:
            self.SHARED.manual_seed(42)

    def step(self):
        super().step()
        for group in self.param_groups:
            for param in group["params"]:
                param.data.add_(torch.rand(1, generator=self.SHARED))


@pytest.fixture
def noisy(monkeypatch):
    """Return a function that has every optimizer built as Noisy."""

    def build(**options):
        monkeypatch.setattr(
            probe_module, "build_optimizer", lambda settings, groups: Noisy(groups, lr=settings.lr, **options)
        )

    return build


@pytest.mark.slow
def test_walks_that_share_a_generator_do_not_disturb_one_another(noisy):
    noisy()
    assert found("SGD", "momentum").seen is Seen.INERT, "this class has none"
    assert found("SGD", "lr").seen is Seen.LIVE


def test_defaults_that_walk_two_paths_prove_nothing(noisy):
    noisy(seeded=False)
    with pytest.raises(ProbeError, match=r"SGD\.momentum: its defaults do not walk the same path twice"):
        found("SGD", "momentum")


def test_random_numbers_are_those_of_the_step():
    def drawing(groups):
        optimizer = torch.optim.SGD(groups, lr=0.1)
        optimizer.register_step_post_hook(lambda *_: groups[0]["params"][0].data.add_(torch.randn(1)))
        return optimizer, None

    one, other = walk(drawing), walk(drawing)
    for _ in range(3):
        assert same_bits(next(one), next(other))


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES, ids=lambda found: found.words or "plain")
def test_a_circumstance_is_what_it_says(circumstance):
    seen = []

    def look(groups):
        seen.extend(groups)
        return sgd(groups)

    next(walk(look, circumstance))
    params = [param for group in seen for param in group["params"]]
    params = [param for group in seen for param in group["params"]]
    assert [group.get("name") for group in seen] == (list(circumstance.groups) or [None])
    assert [name for group in seen for name in group["param_names"]] == list(circumstance.names)
    assert params[1].dim() == (2 if circumstance.matrices else 1)
    assert {param.dtype for param in params} == {torch.bfloat16 if circumstance.bfloat16 else torch.float32}
    assert params[0].numel() == 16_384, "as many as CAME_8BIT's states ask for"
    assert (torch.count_nonzero(parameters(circumstance)[1]) == 0) == circumstance.zero
    assert params[0].dim() == (4 if circumstance.convolution else 2)
    assert bool(circumstance.words) == (circumstance is not PLAIN)


# ---------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("key", KEYS)
def test_a_value_lies_where_a_person_would_choose_it(key):
    faults = Faults()
    for use in (spec(key).lr, *spec(key).uses):
        low, high = use.option.soft or (None, None)
        with faults.of(use.name):
            for value in changed_values(spec(key), use):
                assert use.option.check(value) == value != use.default
                assert low is None or low <= value <= high
    assert not faults, str(faults)


def made(default, **facts):
    return Use(Option("made_up", "Made up", facts.pop("kind", "float"), "", **facts), default, "made_up")


@pytest.mark.parametrize(
    ("use", "values"),
    [
        (made(0.9, domain=Interval(0, 1, high_open=True), soft=(0, 1)), (0.45, 0.0, 0.01)),
        (made(1e-8, domain=Interval(0), soft=(1e-12, 1e-4), log=True), (1e-6, 1e-4, 1e-12, 1.2e-12)),
        (made(0.0, domain=Interval(0), soft=(1e-12, 1e-4), log=True), (1e-8, 1e-4, 1e-12, 1.2e-12)),
        (made(float("inf"), domain=Interval(1, infinite=True), soft=(1, 2)), (1.5, 2.0, 1.0)),
        (made(None, domain=Interval(0, 1), soft=(0, 1), nullable=True, null_words="none"), (0.5, 1.0, 0.0, 0.01)),
        (made(1, kind="int", domain=Interval(1), soft=(1, 31)), (16, 31)),
        (made(0, kind="int", domain=Interval(0), soft=(0, 1000), unit="steps"), (5, 10)),
        (made(32, kind="int", choices=("8", "32")), (8,)),
        (made("b", kind="choice", choices=("a", "b", "c")), ("a", "c")),
        (made(None, kind="bool", nullable=True, null_words="it depends"), (True,)),
        (made(True, kind="bool"), (False,)),
    ],
)
def test_values_come_from_the_options_own_data(use, values):
    assert changed_values(spec("SGD"), use) == values
    assert [type(value) for value in changed_values(spec("SGD"), use)] == [type(value) for value in values]
    assert changed_value(spec("SGD"), use) == values[0]


def test_an_option_without_a_value_is_named():
    with pytest.raises(ProbeError, match=r"SGD\.made_up: it has no slider .*CHANGED"):
        changed_value(spec("SGD"), made(0.5))
    narrow = replace(made(0.9, domain=Interval(0, 1), soft=(0, 1)), domain=Interval(0.8, 1))
    assert changed_values(spec("SGD"), narrow) == (1.0,)
    narrower = replace(narrow, domain=Interval(0.85, 0.95))
    with pytest.raises(ProbeError, match=r"SGD\.made_up: 0.45 .*CHANGED"):
        changed_value(spec("SGD"), narrower)
    never = replace(made(0.9, soft=(0, 1)), enabled_if=When("momentum", ">", 5))
    with pytest.raises(ProbeError, match=r"SGD\.made_up: it works only with momentum above 5.*NEEDS"):
        needed_values(spec("SGD"), never)


def test_every_exception_is_of_use():
    names = {name for key, use in USES for name in (use.name, f"{key}.{use.name}")}
    assert {*CHANGED, *NEEDS, *ELSEWHERE} <= names


# ---------------------------------------------------------------------------------------------------- other versions


def test_another_version_is_reported_as_such():
    older = replace(
        TABLE, versions={**TABLE.versions, "bitsandbytes": "0.49.0"}, findings={**TABLE.findings, "LAMB": {}}
    )
    now = TABLE.versions["bitsandbytes"]
    assert outdated(older, TABLE) == [f"bitsandbytes: the table was made with 0.49.0, {now} is installed"]
    torch_older = replace(TABLE, versions={**TABLE.versions, "torch": "2.12.0"}, findings={})
    assert outdated(torch_older, TABLE) == [
        f"torch: the table was made with 2.12.0, {TABLE.versions['torch']} is installed"
    ]


def test_what_differs_under_the_same_version_is_named():
    assert outdated(TABLE, TABLE) == []
    before = {
        **TABLE.findings["LION"],
        "beta1": Finding(Seen.INERT, "0.9 → 0.45: the same"),
        "gone": TABLE.findings["LION"]["lr"],
    }
    del before["beta2"]
    said = outdated(replace(TABLE, findings={**TABLE.findings, "LION": before}), TABLE)
    assert said[0] == "LION.gone: it is no longer an option"
    assert said[1].startswith("LION.beta1: the table says '0.9 → 0.45: the same', but the runs show ")
    assert said[2:] == ["LION.beta2: it is not in the table"]


# ---------------------------------------------------------------------------------------------------- where it is shown


@pytest.mark.parametrize("key", KEYS)
def test_the_panel_says_what_was_seen_of_every_option(key):
    assert not lacking(key), lacking(key)
    controls = panel(key)["controls"]
    for use in (spec(key).lr, *spec(key).uses):
        finding = probed.table()["cpu"].findings[key][use.name]
        facts = {fact["term"]: fact["text"] for fact in controls[use.name]["facts"]}
        assert facts["Tried"] == evidence(spec(key), use.name)
        assert facts["Tried"].startswith(finding.words)
        expected = {Seen.INERT: "inert", Seen.UNTRIED: "not tried"}.get(finding.seen)
        assert controls[use.name].get("mark") == (
            expected or ("bfloat16 only" if "with bfloat16 weights" in finding.words else None)
        )
    assert "Tried" not in str(controls["schedule"]["facts"])


HERE = {
    Seen.INERT: "accepted here, changes nothing: ",
    Seen.UNAVAILABLE: "not available here: ",
    Seen.UNTRIED: "not seen yet, ",
    Seen.ELSEWHERE: "it changes how a step is done, and not the weights",
    Seen.LIVE: "changing it changes the run",
}


@pytest.mark.parametrize("key", KEYS)
def test_no_option_is_said_to_do_more_than_was_seen(key):
    assert not lacking(key), lacking(key)
    for use in (spec(key).lr, *spec(key).uses):
        finding = probed.table()["cpu"].findings[key][use.name]
        (said,) = (fact["text"] for fact in panel(key)["controls"][use.name]["facts"] if fact["term"] == "Here")
        only = "with bfloat16 weights" in finding.words
        assert said.startswith("only with weights in bfloat16 " if only else HERE[finding.seen]), use.name


def test_evidence_names_device_and_versions():
    versions = installed(["LAMB"])
    words = evidence(spec("LAMB"), "beta1")
    table = probed.table()["cpu"].versions
    assert words.endswith(f"(CPU, torch {table['torch']}, bitsandbytes {table['bitsandbytes']})")
    assert set(versions) == {"torch", "bitsandbytes"}
    assert evidence(spec("SGD"), "lr").endswith(f"(CPU, torch {table['torch']})"), "torch is named once"
    assert evidence(spec("ADAM"), "capturable") == "not yet: it needs an NVIDIA GPU"
    assert evidence(spec("SGD"), "made_up") == ""


def test_a_second_device_adds_its_sentence(monkeypatch):
    cpu = probed.table()["cpu"]
    cuda = Probed({"torch": "2.13.0"}, {"ADAM": {"capturable": Finding(Seen.LIVE, "off → on: differs", 1)}})
    monkeypatch.setattr(probed, "table", lambda: {"cpu": cpu, "cuda": cuda})
    assert evidence(spec("ADAM"), "capturable") == "off → on: differs (NVIDIA GPU, torch 2.13.0)"
    assert not probed.untried("ADAM", "capturable")


@pytest.mark.slow
def test_the_command_tries_one(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["probe", "lion"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"LION +use_triton +unavailable +off → on: ends the whole process", out)


@pytest.fixture
def table_of_our_own(tmp_path, monkeypatch):
    """Return a function that has the table begin as it is given, and one that reads it."""
    path = tmp_path / "evidence.json"
    monkeypatch.setattr(probed, "TABLE", path)

    def begin(table):
        path.write_text(write_table(table), "utf-8")
        monkeypatch.setattr(probed, "table", lambda: read_table(path.read_text("utf-8")))

    return begin, lambda: read_table(path.read_text("utf-8"))


@pytest.mark.slow
def test_the_part_of_one_optimizer_is_written_and_the_rest_stays_as_it_is(table_of_our_own):
    begin, read = table_of_our_own
    whole = probed.table()
    wrong = {"lr": Finding(Seen.INERT, "a mark of the old table")}
    findings = {**whole["cpu"].findings, "LION": {}, "SGD": wrong, "NO_LONGER_THERE": wrong}
    del findings["TIGER"]
    cuda = Probed({"torch": "2.13.0"}, {"ADAM": wrong})
    begin({"cpu": replace(whole["cpu"], findings=findings), "cuda": cuda})
    assert main(["probe", "--write", "LION", "TIGER"]) == 0
    now = read()
    assert now["cpu"].findings["LION"] == whole["cpu"].findings["LION"]
    assert now["cpu"].findings["TIGER"] == whole["cpu"].findings["TIGER"]
    assert now["cpu"].findings["SGD"] == wrong, "nobody tried it"
    assert list(now["cpu"].findings) == list(KEYS)
    assert now["cpu"].versions == whole["cpu"].versions
    assert now["cuda"] == cuda


@pytest.mark.slow
def test_a_first_table_has_what_was_tried(table_of_our_own, monkeypatch):
    begin, read = table_of_our_own
    begin({})
    assert main(["probe", "--write", "LION"]) == 0
    part = read()["cpu"]
    assert list(part.findings) == ["LION"]
    assert part.findings["LION"]["beta1"].step == 2
    assert set(part.versions) == {"torch", "lion-pytorch"}


@pytest.mark.slow
def test_only_what_the_table_lacks_is_tried_on_demand(table_of_our_own, capsys):
    begin, read = table_of_our_own
    whole = probed.table()
    findings = {**whole["cpu"].findings, "SGD": {"lr": Finding(Seen.LIVE, "a mark of the old table", 1)}}
    del findings["LION"]
    begin({"cpu": replace(whole["cpu"], findings={k: v for k, v in findings.items() if k in {"LION", "SGD", "TIGER"}})})
    assert main(["probe", "--missing", "--write", "LION", "TIGER"]) == 0
    assert "TIGER" not in capsys.readouterr().out
    now = read()["cpu"]
    assert list(now.findings) == ["LION", "SGD", "TIGER"]
    assert now.findings["SGD"]["lr"].words == "a mark of the old table"


@pytest.mark.slow
def test_parts_of_two_versions_are_not_mixed(table_of_our_own, capsys):
    begin, read = table_of_our_own
    cpu = probed.table()["cpu"]
    other = {"cpu": replace(cpu, versions={**cpu.versions, "lion-pytorch": "0.0.1", "schedulefree": "0.0.1"})}
    begin(other)
    assert main(["probe", "--write", "LION"]) == 0, "no other optimizer is of this package"
    now = read()["cpu"]
    assert now.versions["lion-pytorch"] == cpu.versions["lion-pytorch"]
    assert now.versions["schedulefree"] == "0.0.1"
    assert main(["probe", "--write", "SCHEDULE_FREE_SGD"]) == 1
    said = capsys.readouterr().err
    assert f"schedulefree 0.0.1 made it and {cpu.versions['schedulefree']} is installed" in said
    assert "diffopt probe --write" in said
    assert read()["cpu"] == now


def test_a_class_outside_the_catalogue_has_no_part_in_the_table(capsys):
    assert main(["probe", "--write", "unknown:Unknown"]) == 2
    assert "optimizers of the catalogue only" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_says_where_the_table_differs(capsys, monkeypatch):
    cpu = probed.table()["cpu"]
    wrong = {**cpu.findings["LION"], "beta1": Finding(Seen.INERT, "0.9 → 0.45: the same")}
    monkeypatch.setattr(probed, "table", lambda: {"cpu": replace(cpu, findings={**cpu.findings, "LION": wrong})})
    assert main(["probe", "LION"]) == 1
    assert "LION.beta1: the table says" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_named(capsys):
    assert main(["probe", "SGD", "--device", "cuda"]) == 1
    assert "there is no device 'cuda' here" in capsys.readouterr().err


def test_the_page_of_an_optimizer_says_what_was_seen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["options", "LAMB"]) == 0
    out = capsys.readouterr().out
    assert f"Tried: {evidence(spec('LAMB'), 'beta1')}." in out
