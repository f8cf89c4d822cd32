"""Settings in the formats of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffopt_widgets.settings import Settings


def export(
    settings: Settings,
    to: str = "python",
    *,
    steps: int = 300,
    batch_size: int = 1,
    accumulation: int = 1,
    dtype: str = "float32",
) -> str:
    """Write settings for another program.

    Args:
        settings: the settings to write.
        to: the format: `"python"`, plain torch code.
        steps: optimizer steps of the run there, the length of the schedule. Warm-up up to 1 is a fraction of them.
        batch_size: examples per batch there. It changes the learning rate if the learning-rate scaler counts it.
        accumulation: batches per optimizer step there; it acts on the learning rate as `batch_size` does.
        dtype: precision of the weights there, which the code names.

    Raises:
        ValueError: there is no such format, or no such precision.
    """
    from diffopt_widgets.catalogue.precision import PRECISIONS
    from diffopt_widgets.interop.code import to_python

    writers = {"python": to_python}
    if to not in writers:
        raise ValueError(f"cannot export to {to!r}; there is {', '.join(writers)}")
    if dtype not in PRECISIONS:
        raise ValueError(f"there is no precision {dtype!r} of weights; there is {', '.join(PRECISIONS)}")
    return writers[to](settings, steps=steps, batch_size=batch_size, accumulation=accumulation, dtype=dtype)
