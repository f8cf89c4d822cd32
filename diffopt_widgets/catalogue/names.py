"""Names that packages and other trainers have for the optimizers of the catalogue, and what each means here."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from diffopt_widgets.catalogue import is_path, list_optimizers, spec
from diffopt_widgets.catalogue.schema import Values, no_values


@dataclass(frozen=True)
class Meant:
    """Optimizer that a name means, and the options that the name sets: `PagedAdamW8bit` turns `is_paged` on."""

    key: str
    values: Values = field(default_factory=no_values)


_NESTEROV = {"nesterov": True, "momentum": 0.9}
_ELSEWHERE: dict[str, Meant] = {
    "adamwtorch": Meant("ADAMW"),
    "adamwtorchfused": Meant("ADAMW", {"fused": True}),
    "adamwbnb8bit": Meant("ADAMW_8BIT"),
    "rmspropbnb": Meant("RMSPROP"),
    "rmspropbnb8bit": Meant("RMSPROP_8BIT"),
    "sgdnesterov": Meant("SGD", _NESTEROV),
    "sgdnesterov8bit": Meant("SGD_8BIT", _NESTEROV),
}
"""Names of transformers' Trainer and of kohya's scripts that no class has, as `_plain` writes them."""

_UNCLEAR = {
    "dadaptation": "D-Adaptation comes with several optimizers: write one of {DADAPT}. kohya's DAdaptation is a preprint of DADAPT_ADAM",
    "dadapt": "D-Adaptation comes with several optimizers: write one of {DADAPT}",
    "dadaptadampreprint": "The preprint is not available; the published version is DADAPT_ADAM",
    "dadaptadanip": "This variant is not available; without it the optimizer is DADAPT_ADAN",
    "schedulefree": "Several optimizers are schedule-free: write one of {SCHEDULE_FREE}",
    "adam8": "Write ADAM_8BIT or ADAMW_8BIT",
    "8bitadam": "Write ADAM_8BIT or ADAMW_8BIT",
    "use8bitadam": "In diffusers' scripts this turns AdamW into ADAMW_8BIT",
}
"""Answers to names that do not mean exactly one optimizer; a name in braces stands for the keys that begin with it."""

_ABSENT = ("galore", "lomo", "adalomo", "grokadamw", "apolloadamw")
"""Beginnings of names of transformers' Trainer for optimizers that the catalogue lacks."""

_TWINS = {
    "ADAFACTOR": "torch.optim:Adafactor is torch's class, transformers.optimization:Adafactor that of transformers",
    "ADAGRAD": "torch.optim:Adagrad is torch's class",
    "MUON": "torch.optim:Muon is torch's class",
    "RMSPROP": "torch.optim:RMSprop is torch's class",
}
"""Classes of the same name in other packages, by the key that the name alone means here."""

_MODULES = {"bnb": "bitsandbytes", "optim": "torch"}
"""Short names under which modules are often imported."""


def meant_by(text: str) -> Meant | None:
    """Return the optimizer that a name means, or None where it does not mean exactly one.

    Names are the keys, in whatever capitals and with or without `_`; the classes of the packages, alone or with their
    module; the names that kohya's scripts, diffusers and transformers have on their command lines; and import paths of
    any class.

    >>> meant_by("adamw8bit").key, meant_by("prodigyopt.Prodigy").key, meant_by("torch.optim.RAdam").key
    ('ADAMW_8BIT', 'PRODIGY', 'torch.optim:RAdam')
    >>> meant_by("PagedAdamW8bit")
    Meant(key='ADAMW_8BIT', values={'is_paged': True})
    >>> meant_by("DAdaptation")
    """
    word = text.strip()
    if word in list_optimizers():
        return Meant(word)
    if is_path(word):
        return Meant(word)
    if "." in word:
        module, _, name = word.rpartition(".")
        known = _of_class(module, name)
        return known or (Meant(f"{module}:{name}") if _is_dotted(word) else None)
    return _meanings().get(_plain(word)) or _paged(_plain(word))


def twin_words(text: str) -> str:
    """Say which class a name was taken as, where other packages have one of the same name; "" for a key of the catalogue.

    >>> twin_words("rmsprop")
    "rmsprop is taken as RMSPROP, the class of bitsandbytes; torch.optim:RMSprop is torch's class"
    >>> twin_words("RMSPROP"), twin_words("bitsandbytes.optim.RMSprop"), twin_words("adamw")
    ('', '', '')
    """
    word = text.strip()
    meant = meant_by(word)
    if meant is None or word in list_optimizers() or "." in word or is_path(word) or meant.key not in _TWINS:
        return ""
    return f"{word} is taken as {meant.key}, the class of {spec(meant.key).package}; {_TWINS[meant.key]}"


def explain_name(text: str) -> str:
    """Explain what to write in place of a name that means no optimizer; empty where nothing is near.

    >>> explain_name("DAdaptation")[:67]
    'D-Adaptation comes with several optimizers: write one of DADAPT_ADA'
    >>> explain_name("prodgy"), explain_name("RAdam"), explain_name("???")
    ('Did you mean PRODIGY?', 'Did you mean torch.optim:RAdam?', '')
    """
    word = _plain(text)
    if answer := _UNCLEAR.get(word):
        prefix = re.search(r"{(\w+)}", answer)
        keys = [key for key in list_optimizers() if prefix and key.startswith(prefix[1])]
        return f"{re.sub(r'{.*}', ', '.join(keys), answer)}."
    if word.startswith(_ABSENT):
        return "transformers' Trainer has it, and it is not available here."
    if word.startswith("paged"):
        having = [key for key in list_optimizers() if any(use.name == "is_paged" for use in spec(key).uses)]
        return f"Paged states are an option, is_paged, of these: {', '.join(having)}."
    if near := _near(re.sub(r"32(bit)?$", "", word)):  # 32 bits are what a name without bits means
        return f"Did you mean {near}?"
    return ""


def explain_class(name: str) -> str:
    """Explain what to write in place of an import path whose class is not there; as `explain_name`, but classes come first."""
    path = _classes_by_name().get(_plain(name))
    return f"Did you mean {path}?" if path else explain_name(name)


def _near(word: str) -> str:
    """Return the name, or several, that were probably meant by a plain name; empty where nothing is near."""
    classes, meanings = _classes_by_name(), _meanings()
    if word in meanings or word in classes:
        return meanings[word].key if word in meanings else classes[word]
    longer = [key for key in list_optimizers() if len(word) > 3 and _plain(key).startswith(word)]
    if longer:
        return " or ".join(longer)
    names = {**classes, **{name: meant.key for name, meant in meanings.items()}}
    close = difflib.get_close_matches(word, names, n=1) or sorted(
        (name for name in names if len(name) > 4 and (word.startswith(name) or word.endswith(name))), key=len
    )
    return names[close[-1]] if close else ""


def _plain(text: str) -> str:
    """Write a name without what its spellings differ in: capitals, `_`, `-` and blanks."""
    return re.sub(r"[\s_-]", "", text).casefold()


@cache
def _meanings() -> dict[str, Meant]:
    """Return the meaning of every plain name: of the keys, of the packages' classes, and of `_ELSEWHERE`."""
    meanings = dict(_ELSEWHERE)
    meanings |= {_plain(name): Meant(key) for key, _, name in _classes()}
    return meanings | {_plain(key): Meant(key) for key in list_optimizers()}


@cache
def _classes() -> tuple[tuple[str, str, str], ...]:
    """Return the key, the module and the class of each optimizer."""
    return tuple((key, *spec(key).target.split(":")) for key in list_optimizers())  # type: ignore[misc]  # two parts


def _of_class(module: str, name: str) -> Meant | None:
    """Return the optimizer with this class, named by the module that has it or by one inside the same package."""
    top, _, rest = module.partition(".")
    package = _MODULES.get(top, top)
    if package == "torch" and top != "optim" and not rest.startswith("optim"):
        return None
    for key, home, cls in _classes():
        if home.partition(".")[0] == package:
            if cls == name:
                return Meant(key)
            if name == f"Paged{cls}":
                return _paged(_plain(name))
    return None


def _paged(word: str) -> Meant | None:
    """Return the meaning of bitsandbytes' names for an optimizer with paged states."""
    known = _meanings().get(word.removeprefix("paged")) if word.startswith("paged") else None
    has_it = known is not None and any(use.name == "is_paged" for use in spec(known.key).uses)
    return Meant(known.key, {**known.values, "is_paged": True}) if known and has_it else None


def _is_dotted(word: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in word.split("."))


def _classes_by_name() -> dict[str, str]:
    """Return the import path of each class of torch, or of another package that is loaded, by its plain name."""
    named = [
        (name, f"{module}:{name}")
        for module in _homes()
        for name, value in vars(sys.modules[module]).items()
        if isinstance(value, type) and callable(getattr(value, "step", None)) and name != "Optimizer"
    ]
    return {_plain(name): path for name, path in reversed(named)}  # torch's, which come first, win


def _homes() -> Iterator[str]:
    """Yield the modules of optimizers that are loaded; torch's is loaded if it can be."""
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("torch.optim")  # a name is wrong, so there is time; nothing else here needs torch
        yield "torch.optim"
    yield from dict.fromkeys(module for _, module, _ in _classes() if module in sys.modules and module != "torch.optim")
