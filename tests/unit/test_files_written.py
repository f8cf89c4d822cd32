"""Every text file that the package opens has its encoding named, and those that it writes their line endings: as on Windows."""

import ast
from pathlib import Path

import pytest

import diffopt_widgets as dw

PACKAGE = Path(dw.__file__).parent
OPENING = {"open", "fdopen", "read_text", "write_text", "NamedTemporaryFile", "TemporaryFile"}
NO_FILE = {"super().open", "os.open", "webbrowser.open", "part.open"}
"""What opens bytes, a browser, or a widget."""
ENCODING_AT = {"read_text": 0, "write_text": 1}
"""Place of the encoding among the arguments, where it is usually given by place."""


def faults(source: str) -> list[str]:
    return [
        f"line {call.lineno}: {fault}" for call in ast.walk(ast.parse(source)) if (fault := fault_of(call)) is not None
    ]


def fault_of(call):
    if not isinstance(call, ast.Call):
        return None
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in OPENING or ast.unparse(call.func) in NO_FILE:
        return None
    named = {keyword.arg for keyword in call.keywords}
    texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    modes = [text for text in texts if isinstance(text, str) and set(text) <= set("rwaxbt+") and text]
    modes += [keyword.value.value for keyword in call.keywords if keyword.arg == "mode"]
    mode = modes[0] if modes else "w+b" if name.endswith("TemporaryFile") else "w" if name == "write_text" else "r"
    if "b" in mode:
        return None
    by_place = len(call.args) > ENCODING_AT.get(name, 99)
    if "encoding" not in named and not by_place:
        return f"{name} without an encoding"
    if set(mode) & set("wax") and "newline" not in named:
        return f"{name} writes without newline"
    return None


def test_what_is_looked_for_is_found():
    for wrong in (
        "open('a')",
        "path.open('w')",
        "path.read_text()",
        "path.write_text(text)",
        "path.write_text(text, 'utf-8')",
        "path.open('w', encoding='utf-8')",
        "os.fdopen(handle, 'w')",
        "NamedTemporaryFile('w')",
    ):
        assert faults(wrong), wrong
    for right in (
        "path.open('rb')",
        "TemporaryFile(dir=folder)",
        "path.read_text('utf-8')",
        "path.write_text(text, 'utf-8', newline='\\n')",
        "path.open('w', encoding='utf-8', newline='')",
        "os.open(os.devnull, os.O_WRONLY)",
    ):
        assert not faults(right), right


@pytest.mark.slow
def test_every_file_has_an_encoding_and_line_endings_of_its_own():
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := faults(path.read_text("utf-8")))
    }
    assert not found
