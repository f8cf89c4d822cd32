"""Pixels of the SVG pictures of this package, for pages that show only PNG, such as LaTeX; drawn with numpy alone."""

from __future__ import annotations

import functools
import math
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.drawing.panels import PALETTE
from diffopt_widgets.png import encode_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE = 2
"""Pixels per unit of the SVG; the letters of `static/glyphs.npz` are made for it."""
_FINE = 2
"""Points per pixel, in both directions, from which the edges of lines are made smooth."""
_INK = (64, 64, 64)
"""Colour of axes and text on the white page."""
_SIDE = 2
"""Empty columns at both sides of a letter."""
_NAMED = {
    "black": "#000000",
    "blue": "#0000ff",
    "green": "#008000",
    "grey": "#808080",
    "gray": "#808080",
    "orange": "#ffa500",
    "purple": "#800080",
    "red": "#ff0000",
    "white": "#ffffff",
}


def rasterize(svg: str) -> NDArray[np.uint8]:
    """Draw an SVG of `line_chart` or `picture_svg` on white, two pixels for each of its units.

    Text is upright and of one size. A colour is given as `#rgb`, `#rrggbb` or `rgb(…)`, or has one of a few common names; any
    other gets one of the palette, the same each time.

    Returns:
        RGBA values of shape (height, width, 4).

    >>> from diffopt_widgets.drawing.svg import Line, line_chart
    >>> rasterize(line_chart([Line("a", [0, 1], [1, 0])], width=200, height=100)).shape
    (200, 400, 4)
    """
    root = ET.fromstring(svg)  # noqa: S314  # made by this package
    canvas = _Canvas(int(root.get("width", "0")), int(root.get("height", "0")))
    canvas.draw(root, {}, (0.0, 0.0))
    return canvas.pixels()


def png_of(svg: str) -> bytes:
    """Draw an SVG as `rasterize` does, as the bytes of a PNG file."""
    return encode_png(rasterize(svg))


def stacked(pictures: Sequence[NDArray[np.uint8]], gap: int = 24) -> NDArray[np.uint8]:
    """Put pictures of RGBA values below each other on white, `gap` pixels apart.

    >>> stacked([np.zeros((10, 30, 4), np.uint8), np.zeros((20, 50, 4), np.uint8)]).shape
    (54, 50, 4)
    """
    height = sum(picture.shape[0] + gap for picture in pictures) - gap
    page = np.full((height, max(picture.shape[1] for picture in pictures), 4), 255, np.uint8)
    top = 0
    for picture in pictures:
        put(page, picture, top, 0)
        top += picture.shape[0] + gap
    return page


def put(page: NDArray[np.uint8], picture: NDArray[np.uint8], top: int, left: int) -> None:
    """Draw a picture, which may be transparent, on a page; both are RGBA values."""
    height, width = picture.shape[:2]
    place = page[top : top + height, left : left + width, :3]
    if picture[..., 3].min(initial=255) == 255:  # as whole pages are: nothing shines through
        place[...] = picture[..., :3]
        return
    cover = picture[..., 3:] / 255
    place[...] = np.rint(place * (1 - cover) + picture[..., :3] * cover)


@dataclass(eq=False)
class _Canvas:
    width: int
    height: int
    image: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.full((self.height * SCALE, self.width * SCALE, 3), 255, np.float32)

    def pixels(self) -> NDArray[np.uint8]:
        solid = np.full((*self.image.shape[:2], 1), 255, np.uint8)
        return np.concatenate([np.rint(self.image).astype(np.uint8), solid], axis=2)

    def draw(self, element: ET.Element, inherited: Mapping[str, str], origin: tuple[float, float]) -> None:
        """Draw an element and those inside it, which inherit its attributes."""
        tag = element.tag.rpartition("}")[2]
        own = {**inherited, **element.attrib}
        if tag == "svg":
            origin = (origin[0] + float(element.get("x", "0")), origin[1] + float(element.get("y", "0")))
        elif tag == "path" and "fill-opacity" in own:
            self._fill(own, origin)
        elif tag == "path":
            self._stroke(own, origin)
        elif tag == "text" and "transform" not in own:
            self._write("".join(element.itertext()), own, origin)
        for child in element:
            self.draw(child, own, origin)

    def _stroke(self, own: Mapping[str, str], origin: tuple[float, float]) -> None:
        width = max(1.0, float(own.get("stroke-width", "1")) * SCALE)
        dashes = [float(part) * SCALE for part in own.get("stroke-dasharray", "").split()]
        lines = [(np.array(points) + origin) * SCALE for points in _points(own.get("d", "")) if points]
        if not lines:
            return
        dots = np.concatenate([_dots(line, dashes) for line in lines])
        low = np.floor(dots.min(axis=0) - width).astype(int)
        high = np.ceil(dots.max(axis=0) + width).astype(int)
        columns, rows = (high - low).tolist()
        fine = np.zeros((rows * _FINE, columns * _FINE), bool)
        at = ((dots - low) * _FINE).astype(int)
        fine[at[:, 1], at[:, 0]] = True
        spread = _spread(fine, width * _FINE / 2)
        parts = (spread[i::_FINE, j::_FINE].astype(np.float32) for i in range(_FINE) for j in range(_FINE))
        cover = functools.reduce(np.add, parts) * (float(own.get("stroke-opacity", "1")) / _FINE**2)
        self._blend(cover, int(low[1]), int(low[0]), _color(own["stroke"]))

    def _fill(self, own: Mapping[str, str], origin: tuple[float, float]) -> None:
        """Fill bands: each goes along its upper ends from left to right, and back along its lower ends."""
        for points in _points(own.get("d", "")):
            there, back = np.split((np.array(points) + origin) * SCALE, 2)
            left, right = math.floor(there[0, 0]), math.ceil(there[-1, 0])
            columns = np.arange(left, right) + 0.5
            top, bottom = (np.interp(columns, edge[:, 0], edge[:, 1]) for edge in (there, back[::-1]))
            if not len(columns):
                continue
            first = math.floor(top.min())
            rows = np.arange(first, math.ceil(bottom.max()))[:, None]
            inside = np.clip(np.minimum(rows + 1, bottom) - np.maximum(rows, top), 0, 1)  # of each pixel, from its top
            cover = (inside * float(own["fill-opacity"])).astype(np.float32)
            self._blend(cover, first, left, _color(own["fill"]))

    def _write(self, text: str, own: Mapping[str, str], origin: tuple[float, float]) -> None:
        letters = _letters()
        parts = [letters.get(character) or letters["□"] for character in text]
        length = sum(width for width, _ in parts)
        x = (float(own.get("x", "0")) + origin[0]) * SCALE
        x -= {"middle": length / 2, "end": float(length)}.get(own.get("text-anchor", "start"), 0.0)
        left = round(x)
        top = round((float(own.get("y", "0")) + origin[1]) * SCALE) - _ascent()
        bold = own.get("font-weight", "400") == "600"
        for width, shape in parts:
            ink = np.maximum(shape, np.roll(shape, 1, axis=1)) if bold else shape
            self._blend(ink, top, left - _SIDE, _INK)
            left += width

    def _blend(self, cover: NDArray[np.float32], top: int, left: int, color: tuple[int, int, int]) -> None:
        """Put a colour over the image, as far as each pixel is covered; what lies outside is cut."""
        height, width = cover.shape
        rows = slice(max(0, top), min(self.image.shape[0], top + height))
        columns = slice(max(0, left), min(self.image.shape[1], left + width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        part = cover[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        inked = part > 0
        below = self.image[rows, columns]
        below[inked] += (np.array(color, np.float32) - below[inked]) * part[inked][:, None]


def _points(path: str) -> list[list[tuple[float, float]]]:
    """Read the lines of a path of M, L, H, V and h.

    >>> _points("M1 2V5H4M0 0h3")
    [[(1.0, 2.0), (1.0, 5.0), (4.0, 5.0)], [(0.0, 0.0), (3.0, 0.0)]]
    """
    lines: list[list[tuple[float, float]]] = []
    x = y = 0.0
    for kind, numbers in re.findall(r"([MLHVh])([^MLHVh]*)", path):
        values = [float(number) for number in numbers.split()]
        match kind:
            case "M" | "L":
                x, y = values
            case "H":
                x = values[0]
            case "V":
                y = values[0]
            case _:
                x += values[0]
        if kind == "M":
            lines.append([])
        lines[-1].append((x, y))
    return lines


def _dots(line: NDArray[np.float64], dashes: list[float]) -> NDArray[np.float64]:
    """Return points along a line, less than a fine point apart; those in the gaps of dashes are left out."""
    steps = np.hypot(*np.diff(line, axis=0).T) if len(line) > 1 else np.zeros(0)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.linspace(0.0, along[-1], math.ceil(along[-1] * _FINE * 1.1) + 1)
    if dashes:
        edges = np.cumsum(dashes)
        places = places[np.searchsorted(edges, places % edges[-1], side="right") % 2 == 0]
    return np.stack([np.interp(places, along, line[:, i]) for i in (0, 1)], axis=1)


def _spread(marks: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Mark everything that is not farther than a radius from a mark."""
    height, width = marks.shape
    reach = math.ceil(radius) - 1
    spread: NDArray[np.bool_] = marks.copy()
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if 0 < math.hypot(down, right) < radius:
                target = spread[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
                target |= marks[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
    return spread


def _color(text: str) -> tuple[int, int, int]:
    """Read a colour.

    >>> _color("#1B80C4"), _color("#f00"), _color("rgb(1, 2, 3)"), _color("currentColor")
    ((27, 128, 196), (255, 0, 0), (1, 2, 3), (64, 64, 64))
    """
    word = text.strip().lower()
    if word == "currentcolor":
        return _INK
    word = _NAMED.get(word, word)
    if found := re.fullmatch(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\b.*\)", word):
        red, green, blue = (min(255, int(part)) for part in found.groups())
        return red, green, blue
    if re.fullmatch(r"#[0-9a-f]{3}", word):
        word = "#" + "".join(2 * digit for digit in word[1:])
    if not re.fullmatch(r"#[0-9a-f]{6}", word):
        word = PALETTE[zlib.crc32(word.encode()) % len(PALETTE)]
    return int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16)


@functools.cache
def _letters() -> dict[str, tuple[int, NDArray[np.float32]]]:
    """Return the width of each letter, and its pixels from 0 to 1 with empty columns at both sides."""
    with np.load(Path(__file__).parent / "static" / "glyphs.npz") as file:
        widths = file["widths"].astype(int).tolist()
        pixels = file["pixels"].astype(np.float32) / 255
        characters = str(file["characters"])
    ends = np.cumsum([width + 2 * _SIDE for width in widths])
    return dict(zip(characters, zip(widths, np.split(pixels, ends[:-1], axis=1), strict=True), strict=True))


@functools.cache
def _ascent() -> int:
    """Return the number of rows of a letter above the line it stands on."""
    with np.load(Path(__file__).parent / "static" / "glyphs.npz") as file:
        return int(file["ascent"])
