"""Evaluation of the catalogue's formulas, so that a test can hold them against the step that a back end takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_SPACING = re.compile(r"\\left(?!a)|\\right|\\[!,; ]|\\quad")
_TOKEN = re.compile(r"\\?[A-Za-z]+|\d+(?:\.\d+)?|\S")
_BRACKETS = {r"\lVert": r"\rVert", r"\langle": r"\rangle", "(": ")", "{": "}"}


def statements(latex: str) -> list[tuple[str, str, str]]:
    """Split a formula into its statements: name, relation ("←" assigns, "=" defines), expression."""
    found = []
    for part in latex.split(r",\quad"):
        name, relation, expression = re.split(r"(\\leftarrow|\\approx|=)", part, maxsplit=1)
        found.append(("".join(tokens(name)), "←" if relation == r"\leftarrow" else "=", expression))
    return found


def tokens(latex: str) -> list[str]:
    """Return the tokens of an expression, without those that only make space."""
    latex = latex.replace(r"\tfrac", r"\frac")
    latex = re.sub(r"\\(?:operatorname|mathrm)\{(\w+)\}", r"\\\1", latex)
    return _TOKEN.findall(_SPACING.sub(" ", latex))


class Formula:
    """A formula with the values of its symbols; `step` evaluates it once."""

    def __init__(self, latex: str, values: dict[str, Any], functions: dict[str, Callable[..., Any]]) -> None:
        self.statements = statements(latex)
        self.values = values
        """Values by symbol, such as `\\beta_1`; a callable is called whenever it is read."""
        self.functions = functions
        self.definitions = {name: expression for name, relation, expression in self.statements if relation == "="}

    @property
    def assigned(self) -> set[str]:
        """Symbols that the formula updates."""
        return {name for name, relation, _ in self.statements if relation == "←"}

    def step(self) -> None:
        """Carry out the assignments in their order; definitions hold throughout."""
        for name, relation, expression in self.statements:
            if relation == "←":
                self.values[name] = self.value(expression)

    def value(self, latex: str) -> Any:
        """Return the value of an expression."""
        return _Reader(tokens(latex), self).whole()

    def symbol(self, name: str) -> Any:
        """Return the value of a symbol: of its definition in the formula, or the given one."""
        if name in self.definitions:
            return self.value(self.definitions[name])
        value = self.values[name]
        return value() if callable(value) else value


class _Reader:
    """Recursive descent over the tokens of an expression."""

    def __init__(self, found: list[str], formula: Formula) -> None:
        self.tokens, self.formula, self.at = found, formula, 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def whole(self) -> Any:
        value = self.sum()
        assert not self.peek(), f"left over: {self.tokens[self.at :]}"
        return value

    def sum(self) -> Any:
        value = self.product()
        while self.peek() in {"+", "-"}:
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> Any:
        value = self.power()
        while self.peek() and self.peek() not in {"+", "-", ",", ")", "}", r"\rVert", r"\rangle", r"\le"}:
            value = value / self.power() if self.peek() == "/" and self.take() else value * self.power()
        return value

    def power(self) -> Any:
        value = self.factor()
        if self.peek() == "^":
            self.take()
            if self.peek() == r"\top":
                self.take()
                return value
            text = self.tokens[self.at : self.at + 3]
            if text == ["{", r"\top", "}"]:
                self.at += 3
                return value
            return value ** self.argument()
        return value

    def argument(self) -> Any:
        if self.peek() != "{":
            return self.factor()
        return next(self.bracketed())

    def bracketed(self) -> Iterator[Any]:
        closing = _BRACKETS[self.take()]
        values = [self.sum()]
        while self.peek() == ",":
            self.take()
            values.append(self.sum())
        assert self.take() == closing
        yield from values

    def factor(self) -> Any:
        head = self.peek()
        if head[0].isdigit():
            return float(self.take())
        if head in {"(", "{"}:
            return next(self.bracketed())
        reading = {"-": self.negative, r"\lVert": self.norm, r"\langle": self.inner, r"\frac": self.fraction}
        if head in reading:
            return reading[head]()
        return self.named(self.take())

    def negative(self) -> Any:
        self.take()
        return -self.product()

    def norm(self) -> Any:
        (inside,) = self.bracketed()
        return inside.abs().sum() if self.subscript() == "_1" else inside.norm()

    def inner(self) -> Any:
        left, right = self.bracketed()
        return (left * right).sum()

    def fraction(self) -> Any:
        self.take()
        return self.argument() / self.argument()

    def named(self, name: str) -> Any:
        """Read a function with its arguments, or a symbol with its hat and index."""
        if name == r"\overline":
            return self.argument()
        if name.lstrip("\\") in self.formula.functions:
            self.subscript()
            arguments = list(self.bracketed()) if self.peek() in {"(", "{"} else [self.power()]
            return self.formula.functions[name.lstrip("\\")](*arguments)
        if name in {r"\hat", r"\bar"}:
            name += self.take()
        return self.formula.symbol(name + self.subscript())

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return f"_{self.take()}"
        end = self.tokens.index("}", self.at)
        text = "".join(self.tokens[self.at + 1 : end])
        self.at = end + 1
        return f"_{text}"
