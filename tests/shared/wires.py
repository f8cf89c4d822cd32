"""A page that is not there: widgets' messages kept for the test that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comm
from ipykernel.comm import Comm

if TYPE_CHECKING:
    import pytest


class KeptComm(Comm):
    """Keeps what it is given, as (type, content, buffers)."""

    kernel = object()  # ipywidgets 7 sends only where there is a kernel

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, show_warning=False, **keys)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):  # noqa: ARG002
        kept(self).append((msg_type, data or {}, list(buffers or [])))


def kept(comm: KeptComm) -> list[tuple[str, dict[str, Any], list[Any]]]:
    """Return what it was given since this list was cleared."""
    return comm.__dict__.setdefault("kept", [])


def keep_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every widget that is made from now on a KeptComm, under ipywidgets 7 and 8."""
    monkeypatch.setattr(comm, "create_comm", KeptComm)
    monkeypatch.setattr("ipykernel.comm.Comm", KeptComm)
    monkeypatch.setattr("ipywidgets.widgets.widget.Comm", KeptComm, raising=False)
