"""Reader and writer of TensorBoard's event files, for scalars only and without TensorBoard's package.

A file is a row of records (TFRecord: length, checksum, content, checksum), each a protocol buffer `Event`. Formats:
tensorflow/core/lib/io/record_writer.h, tensorboard/compat/proto/event.proto and summary.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LONGEST_CHECKED = 4096
"""Size of a record in bytes up to which its content is checked; longer ones hold pictures, which are skipped."""

LONGEST_READ = 64 * 2**20
"""Size of a record in bytes above which it is skipped."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_FLOAT, _DOUBLE = 1, 2
"""Tensor types."""


@dataclass(frozen=True, slots=True)
class Event:
    """Scalars that were logged together."""

    step: int
    wall_time: float
    """Seconds since 1970."""
    values: Mapping[str, float]
    """Values by tag."""


def read_events(path: Path) -> tuple[list[Event], str]:
    """Read the scalars of an event file; also return why it could not be read to its end (empty if it could).

    A file that is being written, or was cut off, gives its whole records.

    Raises:
        ValueError: it is not an event file.
        OSError: it cannot be read.
    """
    events, problem, count = [], "", 0
    try:
        for record in _records(path):
            count += 1
            event = _event(record)
            if event.values:
                events.append(event)
    except ValueError as error:
        problem = str(error)
    except (struct.error, IndexError):
        problem = "it holds something that is not an event"
    if problem and not count:
        raise ValueError(f"{path} is not an event file of TensorBoard: {problem}")
    return events, problem


def event_record(event: Event) -> bytes:
    """Return an event as a record of an event file."""
    values = b"".join(
        _chunk(1, _chunk(1, tag.encode()) + b"\x15" + struct.pack("<f", value)) for tag, value in event.values.items()
    )
    return _record(b"\x09" + struct.pack("<d", event.wall_time) + b"\x10" + _varint(event.step) + _chunk(5, values))


def first_record(wall_time: float) -> bytes:
    """Return the record that every event file begins with."""
    return _record(b"\x09" + struct.pack("<d", wall_time) + _chunk(3, b"brain.Event:2"))


def _records(path: Path) -> Iterator[memoryview]:
    """Yield the contents of a file's records, one in memory at a time; those longer than `LONGEST_READ` are skipped."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place < size:
            head = file.read(12)
            if len(head) < 12:
                raise ValueError("it ends within a record")
            length, check = struct.unpack("<QI", head)
            if check != masked_crc(head[:8]):
                raise ValueError(f"it is damaged at byte {place}")
            place += 16 + length
            if place > size:
                raise ValueError("it ends within a record")
            if length > LONGEST_READ:
                file.seek(place)
                continue
            content, end = file.read(length), file.read(4)
            if len(end) < 4:  # it was cut off meanwhile
                raise ValueError("it ends within a record")
            if length <= LONGEST_CHECKED and struct.unpack("<I", end)[0] != masked_crc(content):
                raise ValueError(f"it is damaged before byte {place}")
            yield memoryview(content)


def _event(record: memoryview) -> Event:
    wall_time, step = 0.0, 0
    values: dict[str, float] = {}
    for number, value in _fields(record):
        if number == 1:
            wall_time = struct.unpack("<d", value)[0]
        elif number == 2:
            step = int.from_bytes(value, "little", signed=True)
        elif number == 5:
            values.update(scalar for n, part in _fields(value) if n == 1 and (scalar := _scalar(part)))
    return Event(step, wall_time, values)


def _scalar(message: memoryview) -> tuple[str, float] | None:
    """Return tag and value of a `Summary.Value`; None when it is something else, such as a picture."""
    tag, scalar = "", None
    for number, value in _fields(message):
        if number == 1:
            tag = str(value, "utf-8", "replace")
        elif number == 2:
            scalar = struct.unpack("<f", value)[0]
        elif number == 8:
            scalar = _tensor_scalar(value)
    return None if scalar is None else (tag, float(scalar))


def _tensor_scalar(message: memoryview) -> float | None:
    """Return the value of a tensor with one element, as TensorFlow 2 logs scalars."""
    kind, content = 0, memoryview(b"")
    for number, value in _fields(message):
        if number == 1:
            kind = value[0]
        elif number in {4, 5, 6}:  # its bytes, or float_val, or double_val
            content = value
    form = {_FLOAT: "<f", _DOUBLE: "<d"}.get(kind, "")
    return float(struct.unpack(form, content)[0]) if form and len(content) == struct.calcsize(form) else None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield numbers and contents of a protocol buffer's fields; a varint as 8 bytes."""
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _read_varint(message, place)
            yield key >> 3, memoryview(value.to_bytes(8, "little"))
            continue
        size = _SIZES.get(kind)
        if size is None:
            if kind != _BYTES:
                raise ValueError(f"it holds something that is not an event (field type {kind})")
            size, place = _read_varint(message, place)
        if place + size > len(message):
            raise ValueError("it holds something that is not an event")
        yield key >> 3, message[place : place + size]
        place += size


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value & (2**64 - 1), place
        shift += 7
    raise ValueError("it holds something that is not an event")


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative numbers as ten bytes
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _chunk(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(content)) + content


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc(part)) for part in (length, content))
    return length + next(checks) + content + next(checks)


def masked_crc(data: bytes | memoryview) -> int:
    """Compute the CRC-32C (Castagnoli), masked as TFRecord does.

    >>> hex(masked_crc(b"123456789"))  # whose CRC-32C is 0xe3069283
    '0xc78ab0e5'
    """
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
