"""docs/applied-rates.md: what is said for each class that is installed, measured again."""

import importlib.metadata
import re

import pytest
import rate_scan

from diffopt_widgets.rates.choice import READERS

TEXT = rate_scan.PAGE.read_text(encoding="utf-8")
CLASSES_BY_PACKAGE = {
    package: rate_scan.classes(package) for package in rate_scan.MODULES if rate_scan.installed(package)
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "package",
    [
        pytest.param(package, marks=[pytest.mark.slow] * (len(there) > 40))
        for package, there in CLASSES_BY_PACKAGE.items()
    ],
)
def test_the_page_says_what_is_said_and_seen(package):
    again = rate_scan.section(package)
    assert "WRONG" not in again
    page = rate_scan.written(TEXT, re.escape(rate_scan.heading(package)))
    if page is None and f"\n## {package} " in TEXT:
        return  # made with another version: nothing is wrong in this one either
    assert again == page, "run `python tests/shared/rate_scan.py`"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, one in rate_scan.WRAPPERS.items() if rate_scan.installed(one.package)])
def test_wrappers_are_seen_to_do_what_the_page_says(name):
    row = f"| {name} | {rate_scan.WRAPPERS[name].said} | {rate_scan.wrapper_outcome(name)} |"
    assert "WRONG" not in row
    assert row in TEXT.splitlines(), "run `python tests/shared/rate_scan.py`"


def test_the_page_is_of_the_versions_that_are_tested():
    pinned = (rate_scan.PAGE.parents[1] / "binder" / "constraints.txt").read_text(encoding="utf-8")
    for package in rate_scan.MODULES:
        name = rate_scan.DISTRIBUTIONS.get(package, package)
        (version,) = re.findall(rf"^{name}==([\d.]+)", pinned, re.MULTILINE | re.IGNORECASE)
        assert f"\n## {package} {version}\n" in TEXT


def test_every_class_that_is_claimed_is_there_to_be_measured():
    for package, kinds in READERS.items():
        there = CLASSES_BY_PACKAGE.get(package)
        if there is None:
            continue
        distribution = rate_scan.DISTRIBUTIONS.get(package, package)
        if f"\n## {package} {importlib.metadata.version(distribution).split('+')[0]}\n" not in TEXT:
            continue
        wrappers = {name.rpartition(".")[2] for name in rate_scan.WRAPPERS}
        elsewhere = {"PostLocalSGDOptimizer"}  # needs several processes, and is not known
        assert set(kinds) - set(there) - wrappers <= elsewhere, "a line in rates/choice.py without a class"


@pytest.mark.parametrize("off", [0.5, 1.01])
def test_the_scan_sees_a_rate_that_is_off(off, monkeypatch):
    """Half the rate is an error of a reader; a hundredth is that of one which reads at another step."""
    from diffopt_widgets.rates.base import RateReader

    true = RateReader.after
    monkeypatch.setattr(RateReader, "after", lambda self: tuple(rate * off for rate in true(self)))
    assert rate_scan.verdict("torch.Adamax", rate_scan.classes("torch")["Adamax"]).startswith("WRONG")


def test_the_scan_sees_a_rate_that_is_read_after_the_schedule(monkeypatch):
    from diffopt_widgets.rates.torch_own import ASGD

    monkeypatch.setattr(
        ASGD, "rate", lambda self, p, state, group: group["lr"]
    )  # its step uses that of the step before
    assert rate_scan.verdict("torch.ASGD", rate_scan.classes("torch")["ASGD"]).startswith("WRONG")


@pytest.mark.filterwarnings("ignore")
def test_transformers_dummy_for_layers_is_refused_with_what_to_pass():
    pytest.importorskip("transformers", reason="needs the extra diffopt-widgets[integrations]")
    import torch
    from transformers.trainer_pt_utils import LayerWiseDummyOptimizer

    import diffopt_widgets as dw

    layers = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    dummy = LayerWiseDummyOptimizer({p: torch.optim.SGD([p], lr=0.5) for p in layers})
    for refuse in (dw.applied_lr, dw.watch):
        with pytest.raises(TypeError, match=r"holds 3 \(SGD\).*optimizer_dict"):
            refuse(dummy)
    assert [dw.applied_lr(one) for one in dummy.optimizer_dict.values()] == [[0.5]] * 3
