"""Samples as a small PNG, drawn with numpy only, without a plotting library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.png import encode_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.tasks.task import Samples

COLUMNS = 10
"""Largest number of images side by side."""

EXTENT = 2.2
"""Limit of a scatter, which shows −EXTENT…EXTENT in both directions."""

COLOURS = ("#3b6fe0", "#1e93c9", "#17a398", "#4aa84a", "#a39a1f", "#d9822b", "#dd5a5a", "#c255b5")
"""Colours of the labels, in order, of medium lightness: they are visible on a white and on a black page."""

_SIDE = 40
"""Width of a scatter in units of `scale`."""


def samples_png(samples: Samples, *, scale: int = 6, columns: int = COLUMNS) -> bytes:
    """Draw samples as the bytes of a PNG file with a transparent background.

    Args:
        samples: images, where 1 is white, drawn as tiles; or points, drawn as discs coloured by their label.
        scale: pixels per pixel of an image, at least 1; a scatter is 40 times as wide.
        columns: largest number of images side by side.

    Raises:
        ValueError: `scale` is below 1, or the values do not have the shape of their kind.

    >>> import numpy as np
    >>> from diffopt_widgets.tasks import Samples
    >>> samples_png(Samples("images", np.zeros((1, 8, 8), np.float32)))[1:4]
    b'PNG'

    """
    return encode_png(samples_pixels(samples, scale=scale, columns=columns))


def samples_pixels(samples: Samples, *, scale: int = 6, columns: int = COLUMNS) -> NDArray[np.uint8]:
    """Draw samples as RGBA values of shape (height, width, 4); arguments and errors are those of `samples_png`."""
    if scale < 1:
        raise ValueError(f"scale = {scale}: it is the number of pixels per image pixel. Use a whole number from 1 up")
    values = np.asarray(samples.values, dtype=np.float32)
    if samples.kind == "images" and values.ndim == 3:  # (n, height, width)
        return _tiles(values, scale, columns)
    if samples.kind == "points" and values.shape[1:] == (2,):
        labels = np.zeros(len(values), np.int64) if samples.labels is None else samples.labels
        return _scatter(values, labels, scale)
    raise ValueError(
        f"{samples.kind} of shape {values.shape} cannot be drawn; images have shape (n, height, width), points (n, 2)"
    )


def _tiles(images: NDArray[np.float32], scale: int, most: int) -> NDArray[np.uint8]:
    count, height, width = images.shape
    columns = max(1, min(most, count))
    rows = max(1, math.ceil(count / columns))
    gap = max(1, scale // 2)
    tall, wide = height * scale + gap, width * scale + gap
    canvas = np.zeros((rows * tall - gap, columns * wide - gap, 4), np.uint8)
    grey = np.rint(np.nan_to_num(images).clip(0, 1) * 255).astype(np.uint8).repeat(scale, axis=1).repeat(scale, axis=2)
    for place, image in enumerate(grey):
        top, left = place // columns * tall, place % columns * wide
        tile = canvas[top : top + height * scale, left : left + width * scale]
        tile[..., :3] = image[..., None]
        tile[..., 3] = 255
    return canvas


def _scatter(points: NDArray[np.float32], labels: NDArray[np.int64], scale: int) -> NDArray[np.uint8]:
    """Draw discs with soft edges, later ones over earlier ones; points outside and NaN are left out."""
    side, radius = _SIDE * scale, 0.42 * scale
    reach = math.ceil(radius) + 1
    canvas = np.zeros((side + 2 * reach, side + 2 * reach, 4), np.float32)
    colours = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS], np.float32)
    offsets = np.arange(-reach, reach + 1)
    places = (points * (1, -1) / EXTENT + 1) / 2 * side
    for (x, y), label in zip(places, labels, strict=True):
        if not (0 <= x < side and 0 <= y < side):
            continue
        column, row = int(x), int(y)
        away = np.hypot(offsets[None, :] + column + 0.5 - x, offsets[:, None] + row + 0.5 - y)
        cover = np.clip(radius + 0.5 - away, 0, 1)[..., None]
        patch = canvas[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        below = patch[..., 3:] * (1 - cover)
        alpha = cover + below
        ink = colours[int(label) % len(COLOURS)]
        patch[..., :3] = np.where(alpha > 0, (ink * cover + patch[..., :3] * below) / np.maximum(alpha, 1e-6), 0)
        patch[..., 3:] = alpha
    canvas[..., 3] *= 255
    return np.rint(canvas[reach:-reach, reach:-reach]).astype(np.uint8)
