"""The bill of materials has every package that is needed, at the version that is tested, and what lies in the package itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from packaging.utils import canonicalize_name
from places import ROOT


@pytest.fixture(scope="module")
def bill(tmp_path_factory):
    path = tmp_path_factory.mktemp("bill") / "sbom.cdx.json"
    subprocess.run([sys.executable, ROOT / "binder" / "sbom.py", path], check=True)
    return json.loads(path.read_text("utf-8"))


def test_it_is_a_bill_whose_references_all_lead_somewhere(bill):
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    components = [bill["metadata"]["component"], *bill["components"]]
    references = [component["bom-ref"] for component in components]
    assert len(references) == len(set(references))
    assert sorted(one["ref"] for one in bill["dependencies"]) == sorted(references)
    assert {to for one in bill["dependencies"] for to in one["dependsOn"]} <= set(references)
    for component in components:
        assert re.fullmatch(r"pkg:(pypi|npm)/[a-z0-9.-]+@[\w.!]+", component["purl"])
        assert component["purl"].endswith(f"@{component['version']}")


def test_it_has_what_the_package_needs_at_the_versions_that_are_tested(bill):
    versions = {component["name"]: component["version"] for component in bill["components"]}
    text = (ROOT / "pyproject.toml").read_text("utf-8").partition("\ndependencies = [")[2].partition("\n]")[0]
    needed = {canonicalize_name(name) for name in re.findall(r'^  "([\w-]+)', text, re.MULTILINE)}
    assert len(needed) > 15
    assert needed <= versions.keys()
    pinned = dict(
        re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "binder" / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    )
    for name, version in pinned.items():
        assert versions.get(canonicalize_name(name), version) == version
    assert "plotly.js-basic-dist-min" in versions
