"""Takes a result into the repository: `tests/gpu/check take build/gpu/result.json`.

The rows go to `measured.json` beside this file and to docs/gpu.md, what the options were seen to do to the catalogue's
table. A result without a GPU is refused; one whose probe did not come to its end keeps the catalogue's table as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gpu.table import render

HERE = Path(__file__).parent
MEASURED = HERE / "measured.json"
PAGE = HERE.parents[1] / "docs" / "gpu.md"
MARKS = ("<!-- measured -->", "<!-- end of measured -->")


def main(arguments: list[str]) -> int:
    """Take the result of a run, or with no argument make the page anew."""
    if arguments:
        result = json.loads(Path(arguments[0]).read_text("utf-8"))
        if "gpu" not in result["machine"]:
            print(f"{arguments[0]} was made without a GPU: nothing is taken from it", file=sys.stderr)
            return 1
        print(take_probed(result.pop("probed", {}).get("cuda")))
        MEASURED.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(PAGE.read_text("utf-8"), json.loads(MEASURED.read_text("utf-8"))), "utf-8")
    return 0


def page(text: str, result: dict[str, Any]) -> str:
    """Put the tables of a result between the marks of the page."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{render(result)}\n{MARKS[1]}{after}"


def take_probed(part: dict[str, Any] | None) -> str:
    """Put what the options were seen to do into the catalogue's table, where it is the whole catalogue; say which it was."""
    from diffopt_widgets.catalogue import evidence as probed
    from diffopt_widgets.catalogue import list_optimizers
    from diffopt_widgets.probe.table import write

    if not part or list(part["optimizers"]) != list(list_optimizers()):
        return "the probe did not come to its end: the catalogue's table stays as it is"
    untried = [
        f"{key}.{name}: {found['words']}"
        for key, options in part["optimizers"].items()
        for name, found in options.items()
        if found["words"] == "it could not be tried"
    ]
    if untried:
        return "the catalogue's table stays as it is, since these could not be tried: " + "; ".join(untried)
    write(probed.read_table(json.dumps({"cuda": part}))["cuda"], "cuda")
    return "the catalogue's table has what was seen on the GPU now"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
