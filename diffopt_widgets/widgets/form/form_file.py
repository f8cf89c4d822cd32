"""FormFile: the texts last typed into the form, in a small file of the user's, so that another kernel opens with them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from diffopt_widgets.catalogue import is_path, list_optimizers, spec
from diffopt_widgets.catalogue.introspect.uncatalogued import is_trusted
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.settings import default_values
from diffopt_widgets.whole_file import written_whole
from diffopt_widgets.widgets.form.draft import START, Draft
from diffopt_widgets.widgets.form.parsed import Texts

FORMAT = 1
"""Version of the file. A file of another version is neither used nor touched."""
LONGEST = 4_000_000
"""Size in bytes above which a file is not one of ours."""
FOLDER_VARIABLE = "DIFFOPT_CONFIG_DIR"
"""The environment variable that names another folder than the user's own."""

_log = logging.getLogger(__name__)

_Data = dict[str, Any]  # Any: the file may hold anything


class FormFile:
    """One file with the texts last typed for each optimizer and the training options, and the optimizer last shown.

    Several kernels may write it at once: each change is merged into the contents of the file at that time, and the file is
    replaced as a whole. No method raises for a file or a disk; each kind of failure is logged once.

    Args:
        path: the file; it and its folder are created when there is something to keep.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     before = Draft.begin("PRODIGY")
    ...     FormFile(Path(folder) / "form.json").keep(before, before.type("d_coef", "0.5"))
    ...     FormFile(Path(folder) / "form.json").recall().last_good
    Settings('PRODIGY', lr=1.0, d_coef=0.5)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._logged: set[str] = set()

    @classmethod
    def of_user(cls) -> FormFile | None:
        """Make the memory in the user's configuration folder, or in the one that DIFFOPT_CONFIG_DIR names.

        None when the path of the folder is not absolute: without a home it would lie in the working directory.
        """
        named = os.environ.get(FOLDER_VARIABLE)
        folder = Path(named) if named else platformdirs.user_config_path("diffopt_widgets", appauthor=False)
        if folder.is_absolute():
            return cls(folder / "form.json")
        _log.warning("what is typed is not remembered: %s is not an absolute path", folder)
        return None

    def recall(self) -> Draft | None:
        """Return the form as it was last; None when nothing usable is remembered."""
        data = self._read() or {}
        shown = data.get("optimizer") if _is_known(data.get("optimizer")) else None
        typed = {key: _usable(texts, _own_names(key)) for key, texts in data.get("own", {}).items() if _is_known(key)}
        own = {key: texts for key, texts in typed.items() if texts}
        shared = _usable(data.get("shared", {}), TRAINING.keys())
        if shown is not None:
            return Draft.recall(shown, own, shared)
        return Draft.recall(next(iter(own), START), own, shared) if own or shared else None

    def keep(self, before: Draft, after: Draft) -> None:
        """Remember the differences between two drafts."""
        changed = {key for key in {*before.own, *after.own} if before.own.get(key) != after.own.get(key)}
        if not changed and before.shared == after.shared and before.optimizer == after.optimizer:
            return
        data = self._read()
        if data is None:
            return
        own = dict(data.get("own", {}))
        for key in changed:
            own[key] = _merged(own.get(key, {}), after.own.get(key, {}), _own_names(key))
        shared = data.get("shared", {})
        if before.shared != after.shared:
            shared = _merged(shared, after.shared, TRAINING.keys())
        self._write({**data, "format": FORMAT, "optimizer": after.optimizer, "shared": shared, "own": own})

    def _read(self) -> _Data | None:
        """Return the contents of the file, of the right shape; {} when there is none; None when it must be left alone."""
        try:
            data = json.loads(self._text())
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._warn_once("cannot be read and is left alone", error)
            return None
        except (ValueError, RecursionError):
            return self._set_aside()
        if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
            self._warn_once("comes from another version and is left alone", f"format {str(data['format'])[:20]}")
            return None
        return dict(data) if _has_shape(data) else self._set_aside()

    def _text(self) -> str:
        """Return the text of the file, which must be an ordinary one: reading a pipe would wait for ever."""
        if self.path.exists() and not self.path.is_file():
            raise OSError("it is not an ordinary file")
        with self.path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise ValueError("too long")
        return data.decode("utf-8")

    def _set_aside(self) -> _Data | None:
        """Start again with an empty memory; the broken file is kept under another name, for a user who wrote it by hand."""
        aside = self.path.with_suffix(".broken.json")
        try:
            self.path.replace(aside)
        except OSError as error:
            self._warn_once("is broken and left alone", error)
            return None
        self._warn_once("was broken, and nothing is remembered from before", f"it is now {aside.name}")
        return {}

    def _write(self, data: _Data) -> None:
        try:
            target = self.path.resolve()  # the configuration may be a link to elsewhere
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as part:
                part.write_text(json.dumps(data), encoding="utf-8", newline="\n")
        except (OSError, RuntimeError) as error:  # RuntimeError: the links form a circle
            self._warn_once("cannot be written, so the typed texts are lost with the kernel", error)

    def _warn_once(self, problem: str, detail: object) -> None:
        if problem not in self._logged:
            self._logged.add(problem)
            _log.warning("%s %s (%s)", self.path, problem, detail)


def _has_shape(data: object) -> bool:
    if not isinstance(data, dict):
        return False
    own, shared = data.get("own", {}), data.get("shared", {})
    return isinstance(own, dict) and all(isinstance(texts, dict) for texts in (shared, *own.values()))


def _is_known(key: object) -> bool:
    """Check whether an optimizer can be shown. No module is imported because the file names it."""
    if not isinstance(key, str) or key in list_optimizers():
        return isinstance(key, str)
    if not is_path(key):
        return False
    try:
        return is_trusted(key) and bool(spec(key))
    except KeyError as error:
        _log.info("%s is not shown again: %s", key, error.args[0])
        return False


def _own_names(optimizer: str) -> frozenset[str]:
    return frozenset(default_values(spec(optimizer)).keys() - TRAINING.keys())


def _usable(texts: Mapping[str, object], names: Collection[str]) -> Texts:
    """Return the texts of existing controls, with halves of surrogate pairs replaced: the page could not get them."""
    known = {name: text for name, text in texts.items() if name in names and isinstance(text, str)}
    return {name: text.encode("utf-8", "replace").decode() for name, text in known.items()}


def _merged(stored: Texts, texts: Texts, names: Collection[str]) -> Texts:
    """Return the texts, and the stored texts of options that this version does not know."""
    return {**{name: text for name, text in stored.items() if name not in names}, **texts}
