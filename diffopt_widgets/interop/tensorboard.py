"""Histories as TensorBoard's scalars, and other trainers' scalars as histories; `log_tags` says who logs what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from diffopt_widgets.interop import log_tags
from diffopt_widgets.interop.event_files import Event, event_record, first_record
from diffopt_widgets.records import GROUPED, LONGEST_NAME, SINGLE, History, check_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_VALUES = 100_000_000
"""Most values of a log, as a table with each tag at each step: 800 MB."""
_APPLIED = "applied_lr/"
"""Beginning of the tags of the applied rates that this package logs, one for each parameter group."""
_OWN_TAG = re.compile(rf"({'|'.join(name for name in GROUPED if name != 'lr')}|d|d_hat)/(.+)")
_NUMBERED_GROUP = re.compile(r"group(\d+)")
_Tags: TypeAlias = "dict[str, NDArray[np.float64]]"


def history_of(events: Iterable[Event]) -> History:
    """Build the history of logged scalars.

    Steps are put in order; when a tag was logged twice at a step, as after a restart, the later value counts. A value that
    is logged once an epoch goes to the last step before it. `seconds` is by the clock, since the first event; at a step
    with a loss it is the time when the loss was logged. Tags without a known meaning become metrics.
    """
    ordered = _by_steps(sorted(events, key=lambda event: event.wall_time))
    steps = np.unique(np.array([event.step for event in ordered], dtype=np.int64))
    count = len({tag for event in ordered for tag in event.values})
    if count * len(steps) > MOST_VALUES:
        raise ValueError(f"{count:,} values at each of {len(steps):,} steps are logged, more than can be read at once")
    row = {step: place for place, step in enumerate(steps.tolist())}
    tags: dict[str, NDArray[np.float64]] = {}
    seconds = np.full(len(steps), np.nan)
    timed: set[int] = set()
    for event in ordered:
        place = row[event.step]
        has_loss = not log_tags.LOSSES.isdisjoint(event.values)
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
        first = min((event.step for event in events if not log_tags.LOSSES.isdisjoint(event.values)), default=None)
        if first is not None:
            joined = [event for event in joined if event.step < first]
        joined += events
    return joined


def _by_steps(events: Iterable[Event]) -> list[Event]:
    """Move events that are numbered by epochs to the step of the last loss before them."""
    moved, step = [], None
    for event in events:
        if step is not None and all(log_tags.BY_EPOCH.fullmatch(tag) for tag in event.values):
            moved.append(replace(event, step=step))
            continue
        if not log_tags.LOSSES.isdisjoint(event.values):
            step = event.step
        moved.append(event)
    return moved


def _known(tags: _Tags) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Return the names of the groups and the columns with known tags, which are removed from `tags`."""
    columns: dict[str, NDArray[np.float64]] = {}
    if evaluation := _evaluation(tags):
        columns["eval_loss"] = tags.pop(evaluation)
    ours = any(tag.startswith(_APPLIED) for tag in tags)
    for name in SINGLE:
        if name in {"d", "d_hat"} and not ours and "d_hat" not in tags:
            candidates = _tags_of(name, tags)  # a bare `d` may be anything, such as the loss of a discriminator
        else:
            candidates = [name, *_tags_of(name, tags)]
        if name not in columns and (tag := _first(candidates, tags)):
            columns[name] = tags.pop(tag)
    grouped = {**_own_groups(tags), **_rates(tags, columns.get("d"))}
    groups = tuple(dict.fromkeys(group for parts in (grouped.get("lr", {}), *grouped.values()) for group in parts))
    for name, parts in grouped.items():
        length = len(next(iter(parts.values())))
        columns[name] = np.full((length, len(groups)), np.nan)
        for place, group in enumerate(groups):
            if group in parts:
                columns[name][:, place] = parts[group]
    return groups, columns


def _evaluation(tags: _Tags) -> str:
    """Return the tag of the only evaluation loss with a name of its own; empty if there is another one or several."""
    if any(tag in tags for tag in ("eval_loss", *_tags_of("eval_loss", tags))):
        return ""
    patterns = [*log_tags.EVALUATIONS, *([log_tags.NAMED_EVALUATION] * (log_tags.EVALUATION_TIME in tags))]
    found = [tag for pattern in patterns for tag in tags if re.fullmatch(pattern, tag)]
    return found[0] if len(found) == 1 else ""


def _own_groups(tags: _Tags) -> dict[str, _Tags]:
    """Return the columns per parameter group that this package logs, except `lr`, a tag of all trainers.

    In the log of another program `d/loss_real` may be of a discriminator, so `d/…` counts only for groups with an applied rate.
    """
    grouped: dict[str, _Tags] = {}
    groups = {tag.removeprefix(_APPLIED) for tag in tags if tag.startswith(_APPLIED)}
    for tag in [tag for tag in tags if _OWN_TAG.fullmatch(tag)]:
        name, _, group = tag.partition("/")
        if group not in groups:
            continue
        grouped.setdefault(name, {})[group] = tags.pop(tag)
    return grouped


def _rates(tags: _Tags, d: NDArray[np.float64] | None) -> dict[str, _Tags]:
    """Return the rates of the schedule and those that are known to be applied, by group; they are removed from `tags`."""
    grouped: dict[str, _Tags] = {}
    for known in log_tags.TAGS:
        if known.per_group:
            for tag, group in _matching(known.pattern, tags):
                parts = grouped.setdefault(known.column, {})
                if group not in parts:
                    parts[group] = tags.pop(tag)
    _drop_repeated(grouped)
    tag = _first(log_tags.SCHEDULE_OF_ONE, tags)
    is_d = bool(tag) and d is not None and np.array_equal(d, tags[tag], equal_nan=True)  # so in SimpleTuner
    if tag and "lr" not in grouped and not is_d:
        grouped["lr"] = {"all": tags.pop(tag)}
    if tag := _first(log_tags.APPLIED_OF_ONE, tags):
        first = next(iter(grouped.get("lr", grouped.get("applied_lr", {"all": tags[tag]}))))
        if first not in grouped.setdefault("applied_lr", {}):
            grouped["applied_lr"][first] = tags.pop(tag)
    return grouped


def _drop_repeated(grouped: dict[str, _Tags]) -> None:
    """Drop the groups that kohya's scripts log twice: by name, and by number (`group0`, `group1`)."""
    rates = grouped.get("lr", {})
    named = [group for group in rates if not _NUMBERED_GROUP.fullmatch(group)]
    for group in [group for group in rates if _NUMBERED_GROUP.fullmatch(group)]:
        number = int(group.removeprefix("group"))
        if number < len(named) and np.array_equal(rates[group], rates[named[number]], equal_nan=True):
            for parts in grouped.values():
                if group in parts:
                    values = parts.pop(group)
                    parts.setdefault(named[number], values)


def _tags_of(column: str, tags: Iterable[str]) -> list[str]:
    """Return the tags of a column that are in a log, the first that counts first."""
    known = [tag.pattern for tag in log_tags.TAGS if tag.column == column]
    return [tag for pattern in known for tag in tags if pattern.fullmatch(tag)]


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
    columns = {_tag(name): values.tolist() for name, values in history.to_columns(named=True).items() if name != "step"}
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
