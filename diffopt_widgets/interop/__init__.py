"""Settings in the formats of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffopt_widgets.settings import Settings


def export(
    settings: Settings | str,
    to: str = "python",
    *,
    steps: int = 300,
    batch_size: int = 1,
    accumulation: int = 1,
    dtype: str = "float32",
) -> str:
    """Write settings for another program.

    Args:
        settings: the settings to write, or the name of an optimizer for its defaults.
        to: the format: `"python"`, plain torch code.
        steps: optimizer steps of the run there, the length of the schedule. Warm-up up to 1 is a fraction of them.
        batch_size: examples per batch there. It changes the learning rate if the learning-rate scaler counts it.
        accumulation: batches per optimizer step there; it acts on the learning rate as `batch_size` does.
        dtype: precision of the weights there, which the code names.

    Raises:
        SettingsError: an argument cannot be used.
    """
    from diffopt_widgets.catalogue.precision import PRECISIONS
    from diffopt_widgets.interop.code import to_python
    from diffopt_widgets.settings import Fault, SettingsError, as_settings, whole_number

    writers = {"python": to_python}
    settings = as_settings(settings)
    if not isinstance(to, str) or to not in writers:
        raise SettingsError((Fault("to", to, "there is no such format", ", ".join(writers)),))
    if not isinstance(dtype, str) or dtype not in PRECISIONS:
        raise SettingsError((Fault("dtype", dtype, "there is no such precision of weights", ", ".join(PRECISIONS)),))
    for name, value in {"steps": steps, "batch_size": batch_size, "accumulation": accumulation}.items():
        whole_number(name, value, 1)
    return writers[to](settings, steps=steps, batch_size=batch_size, accumulation=accumulation, dtype=dtype)
