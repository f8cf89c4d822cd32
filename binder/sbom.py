"""Write what the package depends on, at the versions of constraints.txt, as a bill of materials in the CycloneDX format.

    python binder/sbom.py sbom.cdx.json

Names and dependencies come from the metadata of the installed packages. The same input gives the same file.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
ROOT = "diffopt-widgets"
SCRIPT = HERE.parent / "diffopt_widgets" / "drawing" / "static" / "plotly-basic.README.md"


def pinned() -> dict[str, str]:
    """Return the version of each package in constraints.txt, without the part that names a build."""
    lines = (HERE / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (re.split("[#;]", line)[0].strip().partition("==") for line in lines)
    return {canonicalize_name(name): version.partition("+")[0] for name, sign, version in pairs if sign}


def requirements(name: str) -> list[str]:
    """Return the packages that one needs here, without extras."""
    found = (Requirement(text) for text in metadata.requires(name) or [])
    return sorted(
        {canonicalize_name(one.name) for one in found if one.marker is None or one.marker.evaluate({"extra": ""})}
    )


def bill() -> dict[str, Any]:  # Any: JSON
    """Return the bill of materials."""
    versions, needed, waiting = pinned(), {}, [ROOT]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = requirements(name)
            waiting += needed[name]
    versions[ROOT] = metadata.version(ROOT)
    reference = {name: f"pkg:pypi/{name}@{versions[name]}" for name in sorted(needed)}
    components = [_component("library", name, versions[name], reference[name]) for name in reference if name != ROOT]
    version = re.search(r"\d+\.\d+\.\d+", SCRIPT.read_text("utf-8"))
    if version is None:
        raise ValueError(f"{SCRIPT} names no version")
    script = f"pkg:npm/plotly.js-basic-dist-min@{version[0]}"
    components.append(_component("library", "plotly.js-basic-dist-min", version[0], script))
    depends = [{"ref": reference[name], "dependsOn": [reference[one] for one in needed[name]]} for name in reference]
    next(one for one in depends if one["ref"] == reference[ROOT])["dependsOn"] += [script]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": _component("application", ROOT, versions[ROOT], reference[ROOT])},
        "components": components,
        "dependencies": [*depends, {"ref": script, "dependsOn": []}],
    }


def _component(kind: str, name: str, version: str, reference: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": reference, "name": name, "version": version, "purl": reference}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill(), indent=2) + "\n", encoding="utf-8")
