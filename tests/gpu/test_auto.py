"""What `device="auto"` takes, and whether every optimizer can train there."""

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.probe.doctor import accelerators, try_optimizer
from diffopt_widgets.training.loop import find_device


def test_auto(rows, device):
    run = dw.train(dw.Settings("ADAMW", lr=1e-3), "swiss_roll", steps=5, progress=False)
    taken = (find_device("auto").type, run.device.partition(":")[0])
    words = f"{taken[1]}; accelerators: {', '.join(accelerators()) or 'none'}; the run is {run.status}"
    rows.add("auto", words, taken == (device, device) and run.status == "done")
    assert rows.missed() == []


def test_every_optimizer_takes_two_steps(rows, device):
    tried = [try_optimizer(key, device) for key in rows.each(list_optimizers())]
    bad = [f"{found.name} ({found.words})" for found in tried if not found.works]
    words = f"{len(tried) - len(bad)} of {len(tried)}" + (f"; not {'; '.join(bad)}" if bad else "")
    rows.add("optimizers that take two steps at their defaults", words, not bad, tried=len(tried), failed=len(bad))
    assert rows.missed() == []
