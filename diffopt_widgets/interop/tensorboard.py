"""Histories as TensorBoard's scalars, and other trainers' scalars as histories.

Trainers use these names. OneTrainer logs `loss/train_step`, `smooth_loss/train_step`, `lr/<part>` (times d if there is one)
and `loss/validation_step/…`, one for each concept, and their `total_average` if there are several. kohya's scripts log
`loss/current`, `loss/average`, `lr/<part>` and, for optimizers that estimate their rate, `lr/d*lr/<part>`, or `lr/d*lr` for
the first part only; forks of them also `lr/d*eff_lr/<part>`. transformers and diffusers log `train/loss`,
`train/learning_rate` or `train_loss`, `lr`. The rates are those that the programs log: OneTrainer and kohya read d after the
step, so it is the next step's, and without bias correction. kohya's scripts number their values per epoch by epochs, not
steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from diffopt_widgets.interop.event_files import Event, event_record, first_record
from diffopt_widgets.records import GROUPED, LONGEST_NAME, SINGLE, History, check_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SINGLE_TAGS = {
    "loss": ("loss/train_step", "loss/current", "train/loss", "train_loss", "loss/train", "Loss/train", "step_loss"),
    "eval_loss": (
        *("loss/validation_step/total_average", "loss/validation/step_average", "loss/validation/epoch_average"),
        *("eval/loss", "val/loss", "val_loss", "loss/validation/current"),
    ),
    "grad_norm": ("train/grad_norm", "norm/avg_grad_norm"),
}
"""Tags of each column; the first one that is present counts."""
_LOSS_TAGS = frozenset({"loss", *_SINGLE_TAGS["loss"]})
_RATE_TAGS = (re.compile(r"lr/d\*eff_lr/(.+)"), re.compile(r"lr/d\*lr/(.+)"))
_FIRST_RATE = ("lr/d*eff_lr", "lr/d*lr")
"""Tags of the applied rate of the first group, for programs that log no other."""
_SCHEDULE_TAG = re.compile(r"lr/(?!d\*)(.+)")
_ONE_GROUP = ("lr", "train/learning_rate", "learning_rate", "train/lr")
_OWN_TAG = re.compile(rf"({'|'.join(GROUPED)}|d|d_hat)/(.+)")
_CONCEPT_TAG = re.compile(r"loss/validation_step/(.+)")
_EPOCH_TAG = re.compile(r"loss/(validation/)?epoch(_.+)?")
"""Tags that kohya's scripts log with the number of the epoch as the step."""
_Tags: TypeAlias = "dict[str, NDArray[np.float64]]"


def history_of(events: Iterable[Event]) -> History:
    """Build the history of logged scalars.

    Steps are put in order; when a tag was logged twice at a step, as after a restart, the later value counts. A value that
    is logged once an epoch goes to the last step before it. `seconds` is by the clock, since the first event; at a step
    with a loss it is the time when the loss was logged. Tags without a known meaning become metrics.
    """
    ordered = _by_steps(sorted(events, key=lambda event: event.wall_time))
    steps = np.unique(np.array([event.step for event in ordered], dtype=np.int64))
    row = {step: place for place, step in enumerate(steps.tolist())}
    tags: dict[str, NDArray[np.float64]] = {}
    seconds = np.full(len(steps), np.nan)
    timed: set[int] = set()
    for event in ordered:
        place = row[event.step]
        has_loss = not _LOSS_TAGS.isdisjoint(event.values)
        if has_loss or place not in timed:
            seconds[place] = event.wall_time - ordered[0].wall_time
        if has_loss:
            timed.add(place)
        for tag, value in event.values.items():
            if tag not in tags:
                tags[tag] = np.full(len(steps), np.nan)
            tags[tag][place] = value
    groups, columns = _known(tags)
    for tag, values in tags.items():
        name = _metric_name(tag, columns)
        if name:
            columns[name] = values
    columns.setdefault("seconds", seconds)
    return History.from_columns(groups, steps, columns)


def without_repeated(files: Iterable[Sequence[Event]]) -> list[Event]:
    """Join the events of the files of one run, without the steps that a later file repeats.

    A training that is resumed from a backup writes a new file, from the backup's step on.
    """
    joined: list[Event] = []
    for events in sorted(files, key=lambda events: min((event.wall_time for event in events), default=0.0)):
        first = min((event.step for event in events if not _LOSS_TAGS.isdisjoint(event.values)), default=None)
        if first is not None:
            joined = [event for event in joined if event.step < first]
        joined += events
    return joined


def _by_steps(events: Iterable[Event]) -> list[Event]:
    """Move events that are numbered by epochs to the step of the last loss before them."""
    moved, step = [], None
    for event in events:
        if step is not None and all(_EPOCH_TAG.fullmatch(tag) for tag in event.values):
            moved.append(replace(event, step=step))
            continue
        if not _LOSS_TAGS.isdisjoint(event.values):
            step = event.step
        moved.append(event)
    return moved


def _known(tags: _Tags) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Return the names of the groups and the columns with known tags, which are removed from `tags`."""
    columns: dict[str, NDArray[np.float64]] = {}
    for name in SINGLE:
        if tag := _first((name, *_SINGLE_TAGS.get(name, ())), tags):
            columns[name] = tags.pop(tag)
    concepts = _matching(_CONCEPT_TAG, tags)
    if "eval_loss" not in columns and len(concepts) == 1:  # for one concept OneTrainer logs no average
        columns["eval_loss"] = tags.pop(concepts[0][0])
    grouped = _grouped(tags)
    groups = tuple(dict.fromkeys(group for parts in grouped.values() for group in parts))
    for name, parts in grouped.items():
        length = len(next(iter(parts.values())))
        columns[name] = np.full((length, len(groups)), np.nan)
        for place, group in enumerate(groups):
            if group in parts:
                columns[name][:, place] = parts[group]
    return groups, columns


def _grouped(tags: _Tags) -> dict[str, _Tags]:
    """Return the columns with a value per parameter group, by group; they are removed from `tags`."""
    grouped: dict[str, _Tags] = {}
    for tag in [tag for tag in tags if _OWN_TAG.fullmatch(tag)]:
        name, _, group = tag.partition("/")
        if name != "lr":  # all trainers use that name: see below
            grouped.setdefault(name, {})[group] = tags.pop(tag)
    for pattern in _RATE_TAGS:
        for tag, group in _matching(pattern, tags):
            grouped.setdefault("applied_lr", {}).setdefault(group, tags.pop(tag))
    for tag, group in _matching(_SCHEDULE_TAG, tags):
        grouped.setdefault("lr", {})[group] = tags.pop(tag)
    if "lr" not in grouped and (tag := _first(_ONE_GROUP, tags)):
        grouped["lr"] = {"all": tags.pop(tag)}
    if "applied_lr" not in grouped and (tag := _first(_FIRST_RATE, tags)):
        first = next(iter(grouped.get("lr", {"all": tags[tag]})))
        grouped["applied_lr"] = {first: tags.pop(tag)}
    if "lr" in grouped:
        grouped.setdefault("applied_lr", grouped["lr"])  # a plain rate is applied as it is
    return grouped


def _first(candidates: Iterable[str], tags: _Tags) -> str:
    return next((tag for tag in candidates if tag in tags), "")


def _matching(pattern: re.Pattern[str], tags: Iterable[str]) -> list[tuple[str, str]]:
    return [(tag, match[1]) for tag in tags if (match := pattern.fullmatch(tag))]


def _metric_name(tag: str, taken: Iterable[str]) -> str:
    """Return the name of a tag as a metric; empty if no name can be made of it."""
    name = "".join(letter if letter.isprintable() else " " for letter in tag.replace("[", "("))[:LONGEST_NAME]
    try:
        check_metric(name)
    except ValueError:
        name = f"logged {name}"[:LONGEST_NAME]
        try:
            check_metric(name)
        except ValueError:
            return ""
    return "" if name in taken else name


def event_file(history: History, began: float) -> Iterator[bytes]:
    """Yield an event file with a history's values, in parts; NaN is left out.

    Args:
        history: the history to write; a grouped column gets a tag for each group, such as `applied_lr/unet`.
        began: start of the run, in seconds since 1970.
    """
    yield first_record(began)
    columns = {_tag(name): values.tolist() for name, values in history.to_columns().items() if name != "step"}
    seconds = columns.pop("seconds", [0.0] * len(history))
    for row, step in enumerate(history.step.tolist()):
        values = {tag: column[row] for tag, column in columns.items() if not math.isnan(column[row])}
        elapsed = 0.0 if math.isnan(seconds[row]) else seconds[row]
        if values:
            yield event_record(Event(step, began + elapsed, {tag: _single(value) for tag, value in values.items()}))


def _tag(column: str) -> str:
    name, bracket, group = column.partition("[")
    return f"{name}/{group[:-1]}" if bracket else name


def _single(value: float) -> float:
    """Round a value to 32 bits; a value that is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))
