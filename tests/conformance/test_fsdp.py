"""Which optimizers need `fsdp_in_use`: the same training in one process and in two, whose weights are divided or not.

In two processes each takes half of every batch, so that the gradients are those of one process, and the estimate d should be too.
"""

from __future__ import annotations

import itertools
import os
import re

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from places import ROOT

import diffopt_widgets as dw
from diffopt_widgets.training.loop import Training, fetch
from diffopt_widgets.training.sharded import ShardedTraining, cuda_means_here, loopback

STEPS = 40
SAME = 1e-4
"""Greatest relative difference of d that rounding makes; a wrong estimate is off by a hundredth at least."""
ALIKE = 1e-3
"""The same for losses and rates of the whole catalogue: where an update has only a sign, rounding can turn it."""
SETTINGS = {
    "PRODIGY": {},
    "PRODIGY, slice_p 11": {"slice_p": 11},
    "DADAPT_ADAM": {},
    "DADAPT_SGD": {},
    "DADAPT_LION": {},
}
WAYS = ("FSDP2", "FSDP1", "DDP")


def course_of_d(name, wrap, *, on, rank=0, processes=1):
    """Train and return d after each step."""
    torch.manual_seed(0)
    model = wrap(
        torch.nn.Sequential(
            torch.nn.Linear(6, 40), torch.nn.Tanh(), torch.nn.Linear(40, 40), torch.nn.Tanh(), torch.nn.Linear(40, 6)
        )
    )
    settings = dw.Settings(name.partition(",")[0], fsdp_in_use=on, **SETTINGS[name])
    optimizer = dw.build_optimizer(settings, list(model.parameters()))
    batch = torch.randn(16, 6)
    wanted = batch.flip(1).sin()
    mine = slice(rank, None, processes)
    course = []
    for _ in range(STEPS):
        ((model(batch[mine]) - wanted[mine]) ** 2).mean().backward()
        with cuda_means_here(torch.device("cpu")):
            optimizer.step()
        optimizer.zero_grad()
        course.append(float(optimizer.param_groups[0]["d"]))
    return torch.tensor(course, dtype=torch.float64)


def wrapper(way):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.nn.parallel import DistributedDataParallel

    if way == "FSDP2":
        return lambda model: fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    if way == "FSDP1":
        return lambda model: FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=False)
    return DistributedDataParallel


def join(rank, folder):
    """Become one of two processes."""
    torch.set_num_threads(1)
    if name := loopback():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)


def measure(rank, folder):
    """Be one of two processes; the first one saves the courses of d, and what all optimizers do on divided weights."""
    join(rank, folder)
    all_of_them = {key: course(Together(plan(key, divided=True))) for key in dw.list_optimizers()}
    courses = {}
    for name in SETTINGS:
        for way in WAYS:
            for on in (True, False) if way != "DDP" else (False,):
                courses[name, way, on] = course_of_d(name, wrapper(way), on=on, rank=rank, processes=2)
    if rank == 0:
        torch.save((courses, all_of_them), f"{folder}/courses")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What two processes measured, which start once: most of the time is their imports."""
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(measure, (str(folder),), nprocs=2)
    return torch.load(folder / "courses")


@pytest.fixture(scope="module")
def same(measured):
    """Whether d has the course of one process, by settings, way and option."""
    found, alone = {}, {name: course_of_d(name, lambda model: model, on=False) for name in SETTINGS}
    for key, together in measured[0].items():
        single = alone[key[0]]
        assert single[-1] > 10 * single[0], "d grows"
        found[key] = float(((together - single) / single).abs().max())
    print({key: f"{value:.0e}" for key, value in found.items()})
    return {key: value < SAME for key, value in found.items()}


def told():
    """The table in docs/cluster.md, by settings, way and option."""
    text = (ROOT / "docs" / "cluster.md").read_text("utf-8").partition("## Which optimizer needs `fsdp_in_use`")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    columns = [(way, on) for way in ("FSDP2", "FSDP1") for on in (True, False)] + [("DDP", False)]
    return {
        (name.strip("`"), *column): cell == "same"
        for name, *cells in rows[2:]
        for column, cell in zip(columns, cells, strict=True)
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, that FSDP1 is the old one
def test_the_page_says_where_two_processes_estimate_what_one_does(same):
    assert told() == same


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", [name for name in SETTINGS if "," not in name])
def test_the_catalogue_says_it_too(key, same):
    note = dw.spec(key).use("fsdp_in_use").note
    assert same[key, "FSDP2", True]
    assert not same[key, "FSDP2", False], "under FSDP2 it has to be turned on"
    assert same[key, "FSDP1", False] == ("Under FSDP1 the package turns it on by itself" in note)
    assert same[key, "DDP", False]


# -------------------------------------------------------------------------------------------------- the whole catalogue


class Together(ShardedTraining):
    """Both processes run the same code, so none orders the other."""

    def _order(self, order):
        pass


def plan(key, *, divided):
    flag = {"fsdp_in_use": True} if divided and any(use.name == "fsdp_in_use" for use in dw.spec(key).uses) else {}
    return dw.RunPlan(dw.Settings(key, **flag), "swiss_roll", 10, batch_size=64, device="cpu")


def course(training):
    """The losses and the applied rates of all groups; the error of a step in words."""
    try:
        steps = training.steps()
        first = [*itertools.islice(steps, 5)]
        training.evaluate()  # with other weights than it trains, if it is schedule-free
        records = fetch([*first, *steps])
    except dw.SettingsError as error:
        if "its step cannot work on weights that are divided among processes" not in str(error):
            raise
        return None
    return torch.tensor([[record.loss, *record.applied_lr] for record in records], dtype=torch.float64)


def listed():
    """What docs/cluster.md says of each optimizer."""
    text = (
        (ROOT / "docs" / "cluster.md")
        .read_text("utf-8")
        .partition("## Which optimizers can work on divided weights")[2]
    )
    said = {}
    for word in ("same", "differs", "raises"):
        (entry,) = re.findall(rf"^- \*\*{word}\b.*?(?=^- |^$|\Z)", text, re.MULTILINE | re.DOTALL)
        said |= dict.fromkeys(re.findall(r"`([A-Za-z_0-9]+)`", entry.replace("`fsdp_in_use`", "")), word)
    return said, re.search(r"torch (\d+\.\d+)", text)[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_says_which_optimizers_can_work_on_divided_weights(measured):
    said, version = listed()
    assert said.keys() == set(dw.list_optimizers())
    if not torch.__version__.startswith(f"{version}."):
        pytest.skip(f"the page is of torch {version}, and torch {torch.__version__} is installed")
    seen = {}
    for key, got in measured[1].items():
        if got is None:
            seen[key] = "raises"
            continue
        alone = course(Training(plan(key, divided=False)))
        apart = ((got - alone).abs() / alone.abs()).nan_to_num(0.0).max()
        seen[key] = "same" if apart < ALIKE else "differs"
    assert seen == said
