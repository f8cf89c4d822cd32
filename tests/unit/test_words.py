"""Docstrings begin with a noun or a verb, not with a question word."""

from __future__ import annotations

import ast
import re

import pytest
from places import ROOT

PACKAGE = ROOT / "diffopt_widgets"
QUESTION = re.compile(r"\W*(What|Whether|Why|How)\b")
# Files that still have such docstrings, by room. This list only gets shorter: a file without one must leave it.
NOT_YET = frozenset(
    {
        "catalogue/__init__.py",
        "catalogue/families/adv_uses.py",
        "catalogue/families/pytorch_optimizer_uses.py",
        "catalogue/schema.py",
        "catalogue/shared.py",
        "cli/arguments.py",
        "cli/reference.py",
        "cli/terminal.py",
        "optimizers/adapters.py",
        "optimizers/backends.py",
        "optimizers/compiled.py",
        "optimizers/factory.py",
        "optimizers/groups.py",
        "optimizers/modes.py",
        "probe/__init__.py",
        "probe/doctor.py",
        "probe/model.py",
        "probe/prober.py",
        "probe/values.py",
        "probe/words.py",
        "rates/applied.py",
        "rates/base.py",
        "rates/per_tensor.py",
        "rates/schedule_free.py",
    }
)


def questions(source: str) -> list[int]:
    """Lines of the docstrings (of the module, its classes and functions, nested ones too) that begin with a question word."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [node.body[0].lineno for node in nodes if QUESTION.match(ast.get_docstring(node) or "")]


FOUND = {
    path.relative_to(PACKAGE).as_posix(): lines
    for path in sorted(PACKAGE.rglob("*.py"))
    if (lines := questions(path.read_text(encoding="utf-8")))
}


@pytest.mark.parametrize("docstring", ["What it is.", "Whether it is.", "Why not.", "How it is.", "`What` it is."])
@pytest.mark.parametrize("place", ["{}", "class A:\n    {}", "class A:\n    async def b(self):\n        {}"])
def test_a_question_word_is_found_wherever_a_docstring_may_be(docstring, place):
    assert questions(place.format(f'"""{docstring}"""')) == [place.count("\n") + 1]


@pytest.mark.parametrize("docstring", ["Whatever.", "Show what it is.", "However it is."])
def test_other_docstrings_are_left_alone(docstring):
    assert not questions(f'"""{docstring}"""')


def test_no_docstring_begins_with_a_question_word():
    assert {path: lines for path, lines in FOUND.items() if path not in NOT_YET} == {}


def test_the_list_of_files_that_are_not_done_has_no_other_file():
    assert set(NOT_YET) <= set(FOUND), "these files are done, or gone: take them out of NOT_YET"
