"""Any torch optimizer: what its signature and docstring say becomes a form, and nothing else does."""

import functools
import inspect
import json
import math
import pickle
import re
import sys
import types
from typing import Literal, Optional

import pytest
import pytorch_optimizer
import torch
from hypothesis import given
from hypothesis import strategies as st
from unknown import Unknown

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.introspect.docstrings import argument_entries
from diffopt_widgets.catalogue.introspect.signatures import RESERVED
from diffopt_widgets.catalogue.introspect.uncatalogued import FAMILY
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.cli.arguments import read_plan
from diffopt_widgets.cli.main import main
from diffopt_widgets.interop.code import to_python
from diffopt_widgets.optimizers.factory import load_class
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.loop import Training
from diffopt_widgets.widgets.form import panel as page
from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.exchange import read_settings
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.form_file import FormFile
from diffopt_widgets.widgets.form.search import option_index

UNKNOWN = "unknown:Unknown"
CLASSES = {
    f"{module.__name__}:{name}": cls
    for module in (torch.optim, pytorch_optimizer)
    for name, cls in vars(module).items()
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls.__module__.startswith(module.__name__)
} | {UNKNOWN: Unknown}
"""Every optimizer class of the two packages, abstract ones and wrappers too; and one that is nobody's."""
VALUES = {
    "pytorch_optimizer:AdaTAM": {"lr": 1e-4},
    "pytorch_optimizer:DAdaptAdam": {"lr": 0.1},
    "pytorch_optimizer:DAdaptAdan": {"lr": 1e-2},
    "pytorch_optimizer:Kate": {"lr": 1e-5},
    "pytorch_optimizer:Kron": {"max_size_triangular": 32},  # at its defaults see below
    "pytorch_optimizer:SM3": {"lr": 1e-2},
    "pytorch_optimizer:ScheduleFreeSGD": {"lr": 0.1},
    "pytorch_optimizer:VSGD": {"lr": 1e-2},
    "torch.optim:RMSprop": {"lr": 1e-3},
}
"""Values with which the loss falls within 20 steps, where it does not at the defaults."""
NO_SPEC = {
    "torch.optim:Optimizer": "not a class derived from",
    **dict.fromkeys(
        ("pytorch_optimizer:AdaLOMO", "pytorch_optimizer:AdamMini", "pytorch_optimizer:LOMO"), "needs a model"
    ),
    "pytorch_optimizer:WSAM": "needs a model",
    **dict.fromkeys(
        (f"pytorch_optimizer:{name}" for name in ("FriendlySAM", "GSAM", "LookSAM", "SAM")), "needs a base_optimizer"
    ),
    **dict.fromkeys(
        (
            f"pytorch_optimizer:{name}"
            for name in (
                "Lookahead",
                "Magma",
                "OrthoGrad",
                "PCGrad",
                "SafeFP16Optimizer",
                "ScheduleFreeWrapper",
                "TRAC",
            )
        ),
        "needs an optimizer",
    ),
}
NO_RUN = {
    "torch.optim:LBFGS": "its step needs closure",
    "torch.optim:Muon": "Muon only supports 2D parameters",
    "torch.optim:SparseAdam": "does not support dense gradients",
    "pytorch_optimizer:A2Grad": "no learning rate (lr)",
    "pytorch_optimizer:AdaHessian": "backward(create_graph=True)",
    "pytorch_optimizer:AliG": "no learning rate (lr)",
    "pytorch_optimizer:BSAM": "requires closure",
    "pytorch_optimizer:DeMo": "install `einops`",
    "pytorch_optimizer:LoRARite": "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    "pytorch_optimizer:SophiaH": "backward(create_graph=True)",
    "pytorch_optimizer:SpectralSphere": "only supports 2D parameters",
    **dict.fromkeys(
        (f"pytorch_optimizer:{name}" for name in ("AdaGO", "AdaMuon", "DistributedMuon", "MuonClip", "NorMuon")),
        "`use_muon` must be set",
    ),
}
SPECS = {key: dw.spec_of(cls) for key, cls in CLASSES.items() if key not in NO_SPEC}
READ = {key: found for key, found in SPECS.items() if not found.catalogued}


def start(found, **values):
    """Settings of a spec, with a number for whatever has no default."""
    needed = {rule.options[0]: 20 for rule in found.rules if rule.id.startswith("needs-")}
    return dw.Settings(found, **{**needed, **values})


class Own(torch.optim.SGD):
    """Walks downhill.

    :param lr: float. how far.
    :param eps: a small
        constant.
    """

    def __init__(
        self,
        params,
        lr=None,
        momentum=0,
        eps=1e-8,
        betas=(0.9, 1),
        pair: tuple[float, Optional[float]] = (1, None),  # noqa: UP045  # both ways to write it
        steps: int | None = None,
        mode: Literal["fast", "slow"] = "fast",
        limit: float = float("inf"),
        flag: bool = False,
        name="x",
        table: dict | None = None,
        many: list = [],  # noqa: B006  # as somebody may write it
        broken: "Nothing" = None,  # noqa: F821
        contradiction: bool = 3,
        device: str = "cpu",
        told: str | None = None,
        quiet: str = "none",
        empty: str = "",
        unlike: str = 3,
        *rest,
        **others,
    ):
        super().__init__(params, 1e-2 if lr is None else lr, momentum=momentum)
        self.given = {"betas": betas, "pair": pair, "steps": steps, "mode": mode, "limit": limit}
        self.texts = (name, device, told)
        self.rest = (eps, flag, table, many, broken, contradiction, quiet, empty, unlike, rest, others)


@functools.cache
def lost():
    class Lost(torch.optim.SGD):
        pass

    return Lost


@pytest.mark.slow
@pytest.mark.parametrize("key", CLASSES)
def test_each_class_trains_or_says_why_not(key):
    if key in NO_SPEC:
        with pytest.raises(TypeError, match=NO_SPEC[key]) as refused:
            dw.spec_of(CLASSES[key])
        assert CLASSES[key].__name__ in str(refused.value)
        return
    settings = start(SPECS[key], **VALUES.get(key, {}))
    plan = RunPlan(settings, "swiss_roll", 20, batch_size=64, device="cpu")
    if key in NO_RUN:
        with pytest.raises(dw.SettingsError) as refused:
            next(Training(plan).steps())
        assert NO_RUN[key] in str(refused.value)
        assert str(refused.value).startswith(f"{key}: it cannot be ")
        return
    training = Training(plan)
    before = training.evaluate()
    assert len(list(training.steps())) == 20
    assert training.evaluate() < before


@pytest.mark.slow
def test_torch_finds_the_best_order_for_a_product_of_many():
    """Without opt_einsum, a dependency of ours for this alone, it goes from left to right: Kron takes a minute for 4 steps."""
    from torch.backends import opt_einsum

    assert opt_einsum.is_available(), "pip install opt_einsum"
    plan = RunPlan(dw.Settings("pytorch_optimizer:Kron"), "swiss_roll", 20, batch_size=64, device="cpu")
    training = Training(plan)
    before = training.evaluate()
    assert len(list(training.steps())) == 20
    assert training.evaluate() < before


def test_there_are_over_a_hundred_of_them_and_none_is_left_out():
    names = {cls.__name__.lower() for cls in CLASSES.values()}
    assert set(pytorch_optimizer.get_supported_optimizers()) <= names
    assert len(READ.keys() - NO_RUN.keys()) > 100


@pytest.mark.parametrize("key", READ)
def test_each_opens_in_the_form_with_every_option_marked(key):
    found = READ[key]
    drawn = page.panel(found.key)
    assert json.dumps(drawn)
    assert (drawn["mathml"], drawn["latex"]) == ([], "")
    assert drawn["controls"].keys() >= {"lr", *(use.name for use in found.uses)}
    for use in (found.lr, *found.uses):
        control = drawn["controls"][use.name]
        assert control["help"].startswith("Not catalogued")
        assert any(fact["term"] == "Here" and fact["text"].startswith("not catalogued: ") for fact in control["facts"])
        assert use.standing is Standing.UNCATALOGUED
        assert use.domain is None
        assert repr(use.check(use.default)) == repr(use.default)  # of the same type, too
    draft = Draft.begin(start(found))
    assert not draft.errors
    assert draft.settings == start(found)


@pytest.mark.parametrize("key", READ)
def test_every_argument_is_shown_or_hidden_and_every_default_is_the_class_s_own(key):
    found, signature = READ[key], inspect.signature(CLASSES[key])
    params, *others = signature.parameters.values()
    shown = {use.argument.split("[")[0] for use in (found.lr, *found.uses) if use.argument}
    hidden = {hidden.argument for hidden in found.hidden}
    assert not shown & hidden
    assert shown | hidden == {parameter.name for parameter in others}
    assert all(hidden.reason and hidden.value is None for hidden in found.hidden)
    for name, value in found.arguments(found.lr.default, {}).items():
        default = signature.parameters[name].default
        if name == "lr" and found.lr.fixed:
            assert "starts with 0.001" in found.lr.note
        elif default is params.empty:
            assert value is None
        else:
            assert value == default
            assert isinstance(value, type(default)) or isinstance(default, int)


@pytest.mark.parametrize("key", sorted(READ.keys() - NO_RUN.keys()))
def test_what_is_built_is_what_the_class_builds_by_itself(key):
    found, parameter = READ[key], torch.nn.Parameter(torch.ones(2, 3))
    settings = start(found)
    plain = {use.name: settings.options[use.name] for use in found.uses if use.option.null_words.startswith("none yet")}
    expected = CLASSES[key]([parameter], **plain, **({"lr": found.lr.default} if found.lr.fixed else {}))
    built = dw.build_optimizer(settings, [parameter])
    assert type(built) is CLASSES[key]
    for mine, theirs in zip(built.param_groups, expected.param_groups, strict=True):
        skip = {"params", "train_mode"}
        assert {k: v for k, v in mine.items() if k not in skip} == {k: v for k, v in theirs.items() if k not in skip}


def test_help_is_the_docstring_s_own_sentence():
    for key, found in READ.items():
        words = re.sub(r":\w+:|\W", "", f"{CLASSES[key].__doc__} {CLASSES[key].__init__.__doc__}")
        quoted = [re.sub(r"\W", "", use.option.help.partition("“")[2].partition("”")[0]) for use in found.uses]
        assert all(quoted)
        assert sum(text in words for text in quoted) >= 0.8 * len(quoted), (key, quoted)
    assert READ[UNKNOWN].use("beta2").option.help == (
        "Not catalogued: its docstring says “coefficients used for computing running averages (default: (0.9, 0.999))”."
    )
    assert READ[UNKNOWN].use("beta2").note == "This is part 2 of the 2 of betas."
    assert "begins “Implements an algorithm of nobody's”." in READ[UNKNOWN].summary


@pytest.mark.parametrize(
    "docstring",
    [
        "Head.\n\nArgs:\n    a (float, optional): one\n        two. (default: 1)\n    b: three\n\nReturns:\n    c: four\n",
        "Head.\n\n    Args:\n        a (float, optional): one\n            two. (default: 1)\n        b: three\n    Note:\n        d: x\n",
        "Head.\n\n:param float a: one\n  two. (default: 1)\n:param b: three\n:returns: c: four\n",
        "Head.\n\nArguments:\n    a (`float`, defaults to 1):\n        one two. (default: 1)\n    b:\n        :math:`three`\n",
    ],
)
def test_docstrings_of_each_style(docstring):
    found = argument_entries(docstring)
    assert {name: entry.text for name, entry in found.items()} == {"a": "one two. (default: 1)", "b": "three"}
    assert found["a"].type.startswith(("float", "`float`"))


@given(
    st.text() | st.lists(st.sampled_from(["Args:", "    a (b): c", "  d", ":param x: y", "", "`z <"])).map("\n".join)
)
def test_no_docstring_is_too_odd(text):
    for name, entry in argument_entries(text).items():
        assert name.isidentifier() or name.isalnum()
        assert entry.text


def test_what_an_own_class_says_is_what_is_shown():
    found = dw.spec_of(Own)
    assert found.family == FAMILY
    assert not found.catalogued
    kinds = {use.name: (use.option.kind, use.option.nullable, use.default, use.argument) for use in found.uses}
    assert kinds == {
        "momentum": ("int", False, 0, "momentum"),
        "eps": ("float", False, 1e-8, "eps"),
        "beta1": ("float", False, 0.9, "betas[0]"),
        "beta2": ("int", False, 1, "betas[1]"),
        "pair_1": ("float", False, 1.0, "pair[0]"),
        "pair_2": ("float", True, None, "pair[1]"),
        "steps_": ("int", True, None, "steps"),
        "mode": ("choice", False, "fast", "mode"),
        "limit": ("float", False, math.inf, "limit"),
        "flag": ("bool", False, False, "flag"),
        "name": ("text", False, "x", "name"),
        "device_": ("text", False, "cpu", "device"),
        "told": ("text", True, None, "told"),
    }
    assert found.use("eps").option.help == "Not catalogued: its docstring says “a small constant”."
    assert found.use("flag").option.help == "Not catalogued, and its docstring has no entry for it that could be read."
    assert "only whole numbers" in found.use("momentum").note
    assert found.lr.default == 1e-3
    assert "Its own default is None" in found.lr.note
    assert {hidden.argument: hidden.reason for hidden in found.hidden} == {
        "table": "it takes dict; it keeps its default",
        "many": "it takes list; it keeps its default",
        "broken": "its default is None, and nothing says what else it takes; it keeps its default",
        "contradiction": "it is annotated as bool, but its default is 3; it keeps its default",
        "quiet": "its default 'none' is a text that cannot be typed; it keeps its default",
        "empty": "its default '' is a text that cannot be typed; it keeps its default",
        "unlike": "it is annotated as str, but its default is 3; it keeps its default",
        "rest": "it collects further arguments, and the signature does not say which",
        "others": "it collects further arguments, and the signature does not say which",
    }
    built = dw.build_optimizer(dw.Settings(found, steps_=7, beta1=0.5, pair_2=2.0), [torch.nn.Parameter(torch.ones(1))])
    assert built.given == {"betas": (0.5, 1), "pair": (1.0, 2.0), "steps": 7, "mode": "fast", "limit": math.inf}
    assert built.texts == ("x", "cpu", None)


def test_a_text_goes_from_the_form_to_the_class_as_it_was_typed():
    form = Form(dw.Settings(dw.spec_of(Own)))
    control = form.panel["controls"]["name"]
    assert (control["kind"], control["standing"]) == ("text", "uncatalogued")
    assert "does not say which texts" in control["help"]
    form.type("name", " torch.float32 ")
    form.type("told", "'a' = b")
    assert not form.errors
    built = dw.build_optimizer(form.settings, [torch.nn.Parameter(torch.ones(1))])
    assert built.texts == ("torch.float32", "cpu", "'a' = b")
    assert "name='torch.float32'," in form.code
    form.type("name", "")
    assert "a value is needed" in form.errors["name"]
    assert dw.Settings.from_json(form.settings.to_json()) == form.settings


def test_a_text_that_the_class_does_not_know_is_its_own_refusal():
    settings = dw.Settings("pytorch_optimizer:ApolloDQN", rebound="sideways")
    with pytest.raises(dw.SettingsError, match="rebound"):
        dw.build_optimizer(settings, [torch.nn.Parameter(torch.ones(2))])


def test_names_of_the_bench_are_never_taken_by_an_option():
    plan, settings = inspect.signature(RunPlan).parameters, inspect.signature(dw.Settings.__init__).parameters
    assert plan.keys() | settings.keys() - {"self", "options"} <= RESERVED
    for found in READ.values():
        assert not {use.name for use in found.uses} & RESERVED


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (torch.nn.Linear, "Linear is not a class derived from torch.optim.Optimizer"),
        (torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]), "give the class itself, not an instance"),
        ("SGD", "str is not a class"),
        (None, "NoneType is not a class"),
        (pytorch_optimizer.SAM, "SAM needs a base_optimizer besides or instead of the parameters"),
        (lost(), "Lost cannot be found again as Lost of"),
    ],
)
def test_what_is_refused_is_named_with_what_is_allowed(cls, why):
    with pytest.raises(TypeError, match=why):
        dw.spec_of(cls)


def test_an_abstract_class_is_refused():
    from pytorch_optimizer.base.optimizer import BaseOptimizer

    if inspect.isabstract(BaseOptimizer):
        with pytest.raises(TypeError, match="abstract"):
            dw.spec_of(BaseOptimizer)
    else:
        with pytest.raises(TypeError, match="needs defaults, and a form cannot give that"):
            dw.spec_of(BaseOptimizer)


@pytest.mark.parametrize("key", list_optimizers())
def test_a_class_of_the_catalogue_gives_its_entry(key):
    assert dw.spec_of(load_class(spec(key))) is spec(key)


def test_what_has_no_default_is_asked_for():
    found = SPECS["pytorch_optimizer:Ranger21"]
    with pytest.raises(dw.SettingsError, match="num_iterations: Ranger21 has no default for it: give a value"):
        dw.Settings(found)
    with pytest.raises(dw.SettingsError, match="give a value"):
        dw.Form("pytorch_optimizer:Ranger21")
    form = dw.Form(dw.Settings(found, num_iterations=100))
    form.type("num_iterations", "")
    assert "give a value" in form.errors["num_iterations"]
    assert form.settings.options["num_iterations"] == 100


@st.composite
def settings_of_the_unknown(draw):
    values = {}
    for use in (READ[UNKNOWN].lr, *READ[UNKNOWN].uses):
        number = st.floats(1e-30, 1e30) if use.name == "lr" else st.floats(allow_nan=False, allow_infinity=False)
        kinds = {"float": number, "int": st.integers(), "bool": st.booleans()}[use.option.kind]
        values[use.name] = draw(kinds | st.none() if use.option.nullable else kinds)
    return dw.Settings(READ[UNKNOWN], schedule=draw(st.sampled_from(["CONSTANT", "COSINE"])), **values)


@given(settings_of_the_unknown())
@pytest.mark.slow
def test_settings_come_back_from_everything_they_are_written_to(settings):
    assert dw.Settings.from_json(settings.to_json()) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert eval(repr(settings), {"Settings": dw.Settings, "inf": math.inf}) == settings  # noqa: S307
    assert read_settings(repr(settings)) == settings
    draft = Draft.begin("PRODIGY").show(settings)
    assert draft.settings == settings
    assert {name: draft.use(name) and text for name, text in draft.texts.items()} == draft.texts
    typed = Draft.begin(UNKNOWN).put(draft.texts)
    assert typed.settings == settings


def test_a_path_by_another_way_leads_to_the_same_spec(monkeypatch):
    monkeypatch.setitem(sys.modules, "unknown.by_another_way", types.SimpleNamespace(Unknown=Unknown))
    assert dw.spec("unknown.by_another_way:Unknown") is dw.spec(UNKNOWN) is dw.spec_of(Unknown)
    assert dw.Settings("torch.optim:AdamW").optimizer == "ADAMW"
    assert dw.Settings("torch.optim.nadam:NAdam").optimizer == "NADAM"
    assert dw.Settings("unknown.by_another_way:Unknown").optimizer == UNKNOWN


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("no_such_module:Unknown", "'no_such_module' cannot be imported (ModuleNotFoundError"),
        ("torch.optim:NoSuch", "there is no 'NoSuch' in torch.optim"),
        ("os:system", "system is not a class derived from torch.optim.Optimizer"),
        ("pytorch_optimizer:SAM", "SAM needs a base_optimizer"),
        (":Unknown", "'' cannot be imported (ValueError"),
        ("torch.optim:", "there is no '' in torch.optim"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_in_words(key, why):
    makers = [lambda: dw.Settings(key), lambda: dw.Form(key)]
    if key.partition(":")[0] in sys.modules:  # a text does not import a module
        makers.append(lambda: dw.Settings.from_json(json.dumps({"optimizer": key})))
    for make in makers:
        with pytest.raises(dw.SettingsError) as refused:
            make()
        assert why in str(refused.value)
    with pytest.raises(KeyError):
        dw.spec(key)


def test_a_pasted_text_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "trap_of_the_test.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for text in ('{"optimizer": "trap_of_the_test:X"}', "Settings('trap_of_the_test:X')"):
        with pytest.raises(dw.SettingsError, match="Run import trap_of_the_test in a cell"):
            read_settings(text)
    with pytest.raises(dw.SettingsError, match=r"cannot be imported \(SystemExit"):
        dw.Settings("trap_of_the_test:X")


@pytest.mark.slow
def test_a_class_that_is_defined_anew_gets_a_form_anew(monkeypatch):
    cell = types.ModuleType("a_cell")
    monkeypatch.setitem(sys.modules, "a_cell", cell)

    def define(text):
        lines = (
            "import torch",
            "class Mine(torch.optim.SGD):",
            f"    def __init__(self, params, lr=0.1, {text}): pass",
        )
        exec("\n".join(lines), vars(cell))  # noqa: S102  # as a cell does

    define("old: float = 1.0")
    before = dw.Settings(dw.spec_of(cell.Mine), old=2.0)
    form = dw.Form(before)
    define("new: float = 3.0")
    assert dw.Settings("a_cell:Mine").options == {"new": 3.0}
    assert before.changed() == {"old": 2.0}
    with pytest.raises(dw.SettingsError, match="its class was defined again"):
        dw.Settings(before.spec)
    form.type("lr", "0.5")
    assert form.settings == dw.Settings("a_cell:Mine", lr=0.5)
    assert "new" in form.panel["controls"]
    assert "old" not in form.panel["controls"]


def test_the_form_has_it_in_its_menu_and_its_search():
    form = dw.Form(dw.Settings(READ[UNKNOWN], beta1=0.8))
    assert form.menu[-1] == {"family": "Not catalogued", "optimizers": [{"key": UNKNOWN, "title": "Unknown"}]}
    form.choose("ADAMW")
    assert form.menu[-1]["family"] == "Not catalogued"
    form.choose(UNKNOWN)
    assert form.settings.options["beta1"] == 0.8
    found = [entry for entry in option_index(form.draft.uncatalogued) if entry["name"] == "momentum_decay"]
    assert [entry["optimizers"] for entry in found if UNKNOWN in entry["optimizers"]] == [[UNKNOWN]]
    assert dw.Form().menu[-1]["family"] != "Not catalogued"


def test_it_is_remembered(tmp_path):
    file = FormFile(tmp_path / "form.json")
    dw.Form(dw.Settings(READ[UNKNOWN]), file=file).type("momentum_decay", "0.25")
    again = dw.Form(file=file)
    assert again.settings == dw.Settings(UNKNOWN, momentum_decay=0.25)
    again.choose("PRODIGY")
    assert dw.Form(file=file).draft.choose(UNKNOWN).settings == dw.Settings(UNKNOWN, momentum_decay=0.25)
    data = json.loads(file.path.read_text())
    data["optimizer"] = "no_such_module:X"
    data["own"]["no_such_module:X"] = {"lr": "1"}
    file.path.write_text(json.dumps(data))
    assert dw.Form(file=file).draft.optimizer in {"PRODIGY", UNKNOWN}
    dw.Form(file=file).type("lr", "0.5")
    assert "no_such_module:X" in json.loads(file.path.read_text())["own"]


def test_the_code_builds_the_same():
    settings = dw.Settings(READ[UNKNOWN], beta1=0.8, momentum_decay=0.1, foreach=False)
    scope = {"params": [torch.nn.Parameter(torch.ones(3))]}
    exec(to_python(settings), scope)  # noqa: S102  # running it is the point
    group = scope["optimizer"].param_groups[0]
    assert (group["betas"], group["momentum_decay"], group["foreach"]) == ((0.8, 0.999), 0.1, False)
    assert "from unknown import Unknown" in to_python(settings)


def test_a_class_of_the_notebook_itself_is_not_imported_in_its_code(monkeypatch):
    walk = type("Walk", (torch.optim.SGD,), {"__module__": "__main__", "__init__": torch.optim.SGD.__init__})
    monkeypatch.setattr(sys.modules["__main__"], "Walk", walk, raising=False)
    settings = dw.Settings(dw.spec_of(walk), momentum=0.5)
    assert settings.optimizer == "__main__:Walk"
    assert "import Walk" not in to_python(settings)
    assert "optimizer = Walk(" in to_python(settings)


@pytest.mark.slow
def test_a_run_and_a_sweep_of_it(tmp_path, capsys):
    runs = dw.sweep(
        dw.Settings(READ[UNKNOWN]),
        {"optimizer": [UNKNOWN, "ADAMW"]},
        task="swiss_roll",
        steps=3,
        device="cpu",
        progress=False,
    )
    assert [run.status for run in runs] == ["done", "done"]
    history = runs[0].history
    # It steps as its base does, which the catalogue knows: so does what it applies.
    base = dw.train(dw.Settings("NADAM", lr=2e-3), "swiss_roll", 3, device="cpu", progress=False)
    assert history.column("applied_lr").tolist() == base.history.column("applied_lr").tolist()
    assert (history.column("applied_lr")[:, 0] != history.column("lr")[:, 0]).any()
    plan, over = read_plan(UNKNOWN, {"steps": "3"}, ["momentum_decay=0.1,0.2"])
    assert plan.settings.optimizer == UNKNOWN
    assert over == {"momentum_decay": [0.1, 0.2]}
    command = ["run", "--optimizer", UNKNOWN, "--task", "swiss_roll", "--steps", "2", "--out", str(tmp_path)]
    assert main(command) == 0
    assert (tmp_path / "unknown.unknown-swiss_roll.csv").exists()
    assert main(["options", UNKNOWN]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("[not catalogued]") == 1 + len(READ[UNKNOWN].uses)


@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_why_a_run_failed_is_told_by_it():
    run = dw.train(
        dw.Settings(SPECS["torch.optim:SparseAdam"]), task="swiss_roll", steps=3, device="cpu", progress=False
    )
    assert run.status == "failed"
    assert "torch.optim:SparseAdam: it cannot be trained here" in run.message
    assert "does not support dense gradients" in run.message


def test_one_own_class_trains_and_is_continued_by_pickle():
    settings = pickle.loads(pickle.dumps(dw.Settings(dw.spec_of(Own), lr=0.01)))
    assert dw.train(settings, task="swiss_roll", steps=2, device="cpu", progress=False).status == "done"
