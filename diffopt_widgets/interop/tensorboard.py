"""Histories as TensorBoard's scalars, and other trainers' scalars as histories.

Names that trainers use: OneTrainer logs `loss/train_step`, `smooth_loss/train_step`, `lr/<part>` and
`loss/validation_step/…`; kohya's scripts `loss/current`, `loss/average`, `lr/<part>` and, for optimizers that estimate their
rate, `lr/d*lr/<part>` (with schedule-free Prodigy also `lr/d*eff_lr/<part>`); transformers and diffusers `train/loss`,
`train/learning_rate` or `train_loss`, `lr`. Of rates this is what those programs say: OneTrainer and kohya read d after the
step, so it is the next step's, and without bias correction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from diffopt_widgets.interop.event_files import Event, event_record, first_record
from diffopt_widgets.records import GROUPED, LONGEST_NAME, SINGLE, History, check_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SINGLE_TAGS = {
    "loss": ("loss/train_step", "loss/current", "train/loss", "train_loss", "loss/train", "Loss/train", "step_loss"),
    "eval_loss": ("loss/validation_step/total_average", "eval/loss", "val/loss", "val_loss", "loss/validation/current"),
    "grad_norm": ("train/grad_norm", "norm/avg_grad_norm"),
}
"""Of each column the tags that mean it, the first that is there."""
_RATE_TAGS = (re.compile(r"lr/d\*eff_lr/(.+)"), re.compile(r"lr/d\*lr/(.+)"))
_SCHEDULE_TAG = re.compile(r"lr/(?!d\*)(.+)")
_ONE_GROUP = ("lr", "train/learning_rate", "learning_rate", "train/lr")
_OWN_TAG = re.compile(rf"({'|'.join(GROUPED)}|d|d_hat)/(.+)")
_Tags: TypeAlias = "dict[str, NDArray[np.float64]]"


def history_of(events: Iterable[Event]) -> History:
    """The history that scalars tell.

    Steps are put in order; of a tag that was logged twice at a step, as after a restart, the later counts. `seconds` is by
    the clock, since the first event. Tags without a known meaning become metrics.
    """
    ordered = sorted(events, key=lambda event: event.wall_time)
    steps = np.unique(np.array([event.step for event in ordered], dtype=np.int64))
    row = {step: place for place, step in enumerate(steps.tolist())}
    tags: dict[str, NDArray[np.float64]] = {}
    seconds = np.full(len(steps), np.nan)
    for event in ordered:
        place = row[event.step]
        seconds[place] = event.wall_time - ordered[0].wall_time
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


def _known(tags: _Tags) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """The names of the groups, and the columns whose tags are known; those are taken out of `tags`."""
    columns: dict[str, NDArray[np.float64]] = {}
    for name in SINGLE:
        tag = next((tag for tag in (name, *_SINGLE_TAGS.get(name, ())) if tag in tags), "")
        if tag:
            columns[name] = tags.pop(tag)
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
    """The columns with a value per parameter group, by group; taken out of `tags`."""
    grouped: dict[str, _Tags] = {}
    for tag in [tag for tag in tags if _OWN_TAG.fullmatch(tag)]:
        name, _, group = tag.partition("/")
        if name != "lr":  # as all trainers name it
            grouped.setdefault(name, {})[group] = tags.pop(tag)
    for pattern in _RATE_TAGS:
        for tag, group in _matching(pattern, tags):
            grouped.setdefault("applied_lr", {}).setdefault(group, tags.pop(tag))
    for tag, group in _matching(_SCHEDULE_TAG, tags):
        grouped.setdefault("lr", {})[group] = tags.pop(tag)
    for tag in _ONE_GROUP:
        if tag in tags and "lr" not in grouped:
            grouped["lr"] = {"all": tags.pop(tag)}
    if "lr" in grouped:
        grouped.setdefault("applied_lr", grouped["lr"])  # a plain rate is applied as it is
    return grouped


def _matching(pattern: re.Pattern[str], tags: Iterable[str]) -> list[tuple[str, str]]:
    return [(tag, found[1]) for tag in tags if (found := pattern.fullmatch(tag))]


def _metric_name(tag: str, taken: Iterable[str]) -> str:
    """What a tag is called as a metric; empty where no name can be made of it."""
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
    """An event file with a history's values, in parts; NaN is left out.

    Args:
        history: what to write; of grouped columns a tag for each group, such as `applied_lr/unet`.
        began: when the run began, in seconds since 1970.
    """
    yield first_record(began)
    columns = {_tag(name): values.tolist() for name, values in history.to_columns().items() if name != "step"}
    seconds = columns.pop("seconds", [0.0] * len(history))
    for row, step in enumerate(history.step.tolist()):
        values = {tag: column[row] for tag, column in columns.items() if not math.isnan(column[row])}
        passed = 0.0 if math.isnan(seconds[row]) else seconds[row]
        if values:
            yield event_record(Event(step, began + passed, {tag: _single(value) for tag, value in values.items()}))


def _tag(column: str) -> str:
    name, bracket, group = column.partition("[")
    return f"{name}/{group[:-1]}" if bracket else name


def _single(value: float) -> float:
    """As much of a value as four bytes hold: what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))
