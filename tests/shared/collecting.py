"""One test of many things that names everything that is wrong, instead of the first only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


class Faults(list[str]):
    """What failed, by name: wrap each check in `with faults.of(name):`, and end the test with `assert not faults, str(faults)`."""

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note a failure inside the block and go on behind it."""
        try:
            yield
        except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001  # whatever the code under test raises
            self.append(f"{name}: {type(failure).__name__}: {failure}")

    def __str__(self) -> str:
        return "\n".join(["these are wrong:", *self])
