"""The tasks: the same problem for every optimizer, on data that is really learned."""

import copy
import random
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from make_pretrained import make
from places import ROOT

import diffopt_widgets as dw
from diffopt_widgets.tasks import Samples, digits, get_task, list_tasks
from diffopt_widgets.tasks.diffusion import _SAMPLES, SAMPLING_STEPS, TIMES, Examples, signal
from diffopt_widgets.tasks.digits import _read, pretrained
from diffopt_widgets.tasks.lora import LoraLayer
from diffopt_widgets.tasks.picture import COLOURS, EXTENT, samples_png
from diffopt_widgets.tasks.points import DRAWN, _roll
from diffopt_widgets.tasks.seeds import generator, mix

CPU = torch.device("cpu")
TASKS = pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[pytest.mark.slow] if key.startswith("digits_") else []) for key in list_tasks()]
)


def build(key, seed=0, batch_size=16):
    return get_task(key).build(seed, CPU, batch_size, torch.float32)


def parameters(problem):
    return [p for group in problem.groups for p in group.params]


def weights(problem):
    return torch.cat([p.detach().flatten() for p in parameters(problem)])


def copy_weights(source, target):
    with torch.no_grad():
        for a, b in zip(parameters(source), parameters(target), strict=True):
            b.copy_(a)


def train(problem, optimizer, steps):
    for step in range(steps):
        problem.loss(step).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_registry_names_the_allowed_keys():
    assert {"swiss_roll", "digits", "digits_lora", "digits_finetune"} <= set(list_tasks())
    assert all(get_task(key).key == key for key in list_tasks())
    with pytest.raises(KeyError, match=r"'mnist'.*swiss_roll, digits, digits_lora, digits_finetune"):
        get_task("mnist")


def test_registry_is_light():
    code = "import sys, diffopt_widgets.tasks; sys.exit(any(name in sys.modules for name in ('torch', 'plotly')))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@TASKS
def test_same_seed_gives_bitwise_the_same_run(key):
    ends = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        problem = build(key, seed=3)
        start = weights(problem)
        losses = [problem.loss(step, micro) for step in range(3) for micro in range(2)]
        train(problem, torch.optim.AdamW(parameters(problem), lr=1e-3), 3)
        ends.append(torch.cat([start, torch.stack(losses).detach(), weights(problem), problem.evaluate().reshape(1)]))
    assert torch.equal(*ends)


@TASKS
def test_seeds_steps_and_parts_differ(key):
    one, other = build(key, seed=0), build(key, seed=1)
    assert torch.equal(weights(one), weights(other)) == (key == "digits_finetune")  # which starts from the same network
    copy_weights(one, other)
    losses = [one.loss(0), one.loss(1), one.loss(0, 1), one.loss(1, 1), other.loss(0)]
    assert len({loss.item() for loss in losses}) == len(losses)


@pytest.mark.slow
@TASKS
def test_optimizers_meet_the_same_batches(key):
    start = build(key)
    expected = [start.loss(step).item() for step in range(6)]
    for optimizer in (torch.optim.AdamW, torch.optim.SGD):
        problem = build(key)
        train(problem, optimizer(parameters(problem), lr=1e-3), 3)
        copy_weights(start, problem)
        assert [problem.loss(step).item() for step in range(5, -1, -1)] == expected[::-1]


@pytest.mark.slow
@TASKS
def test_evaluation_and_sampling_noise_depend_on_no_seed(key):
    one, other = build(key, seed=0, batch_size=8), build(key, seed=1, batch_size=16)
    for problem in (one, other):  # the same network is where two of the tasks start
        train(problem, torch.optim.SGD(parameters(problem), lr=1e-2), 1)
    assert one.evaluate().item() != other.evaluate().item()
    copy_weights(one, other)
    assert one.evaluate().item() == other.evaluate().item()
    assert np.array_equal(one.samples().values, other.samples().values)


@TASKS
def test_evaluation_times_are_spread_evenly(key):
    times = build(key)._evaluation[2]
    shares = torch.histc(times.float(), bins=8, min=0, max=TIMES) / len(times)
    assert len(times) >= 512
    assert torch.allclose(shares, torch.full((8,), 1 / 8), atol=0.005)


@pytest.mark.slow
@TASKS
def test_no_global_random_state_is_used_or_moved(key):
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    problem = build(key)
    problem.loss(0).backward()
    problem.evaluate()
    problem.samples()
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


@TASKS
def test_threads_that_build_at_once_do_not_disturb_each_other(key):
    expected = [weights(build(key, seed)) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda seed: weights(build(key, seed)), range(4)))
    assert all(torch.equal(a, b) for a, b in zip(expected, built, strict=True))


@TASKS
def test_groups_hold_every_parameter_once(key):
    problem = build(key)
    assert [group.name for group in problem.groups] == ["text_encoder", "unet"]
    held = [id(p) for p in parameters(problem)]
    assert sorted(held) == sorted(id(p) for p in problem.model.parameters() if p.requires_grad)
    assert len(set(held)) == len(held)


@TASKS
def test_every_tensor_can_train_with_every_optimizer_except_in_a_lora(key):
    """LAMB and LARS never move a tensor of zeros; fused Adam on the CPU needs gradients laid out like their tensor."""
    problem = build(key, batch_size=64)
    problem.loss(0).backward()
    for p in parameters(problem):
        assert p.grad.stride() == p.stride()
        assert p.is_contiguous()
        if key != "digits_lora":
            assert p.detach().norm() > 0
            assert p.grad.norm() > 0
    large = sum(p.numel() >= 4096 for p in parameters(problem))  # whose states 8-bit optimizers keep in 8 bits
    assert large == 0 if key == "digits_lora" else large >= 5


@pytest.mark.slow
def test_a_lora_changes_nothing_at_first_and_its_a_has_no_gradient_until_b_has_moved():
    problem, whole = build("digits_lora"), build("digits_finetune")
    assert problem.evaluate().item() == whole.evaluate().item()
    named = {name: p for group in problem.groups for name, p in zip(group.names, group.params, strict=True)}
    assert {name.rpartition(".lora_")[2] for name in named} == {"A.weight", "B.weight"}
    for moved in (False, True):
        problem.loss(0).backward()
        for name, p in named.items():
            assert p.any() == ("lora_A" in name or moved)
            assert p.grad.any() == ("lora_B" in name or moved)
        torch.optim.SGD(named.values(), lr=1e-2).step()
    layers = {name.rpartition(".lora_")[0] for name in named}
    frozen = {name: p for name, p in problem.model.named_parameters() if not p.requires_grad}
    assert layers == {name.rpartition(".base.")[0] for name in frozen} - {""}
    start = pretrained().state_dict()
    assert {name.replace(".base.", "."): p.shape for name, p in frozen.items()} == {
        n: p.shape for n, p in start.items()
    }
    assert all(torch.equal(p, start[name.replace(".base.", ".")]) for name, p in frozen.items())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (torch.nn.Linear(5, 7), (3, 5)),
        (torch.nn.Conv2d(2, 6, 3, padding=1), (3, 2, 8, 8)),
        (torch.nn.Conv2d(2, 6, 3, stride=2, padding=1), (3, 2, 8, 8)),
        (torch.nn.Conv2d(4, 6, 1), (3, 4, 8, 8)),
    ],
    ids=["linear", "convolution", "stride", "kernel 1"],
)
def test_a_lora_changes_a_layer_as_the_product_of_its_factors_would(layer, shape):
    x = torch.randn(shape, generator=generator(0))
    lora = LoraLayer(layer, 2, generator(1))
    assert torch.equal(lora(x), layer(x))
    torch.nn.init.normal_(lora.lora_B.weight, generator=generator(2))
    merged = copy.deepcopy(layer)
    with torch.no_grad():
        merged.weight += torch.einsum("or...,ri...->oi...", lora.lora_B.weight, lora.lora_A.weight)
    assert torch.allclose(lora(x), merged(x), atol=1e-5)
    assert not torch.allclose(lora(x), layer(x), atol=1e-2)


def test_the_page_on_loras_counts_the_weights():
    page = (ROOT / "docs" / "lora.md").read_text(encoding="utf-8")
    for key in ("digits_lora", "digits_finetune"):
        assert f"{sum(p.numel() for p in parameters(build(key))):,} weights" in " ".join(page.split())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_no_eps_is_nan_in_a_lora_and_its_states_are_never_in_8_bits():
    def trained(optimizer, task, **values):
        return dw.train(dw.Settings(optimizer, **values), task, 2, progress=False, device="cpu")

    assert trained("ADAMW", "digits_lora", eps=0.0).status == "failed"
    assert trained("ADAMW", "digits_finetune", eps=0.0).status == "done"
    full, small = (trained(optimizer, "digits_lora").state_bytes for optimizer in ("ADAMW", "ADAMW_8BIT"))
    assert small == pytest.approx(full, rel=0.02)
    assert trained("ADAMW_8BIT", "digits_lora", min_8bit_size=0).state_bytes < 0.5 * full


def test_another_file_in_the_place_of_the_pretrained_network_is_refused(monkeypatch):
    monkeypatch.setattr(digits, "PRETRAINED", "digits.npz")
    with pytest.raises(
        RuntimeError, match=r"digits\.npz is damaged or of another version.*Install diffopt_widgets again"
    ):
        build("digits_lora")


@pytest.mark.slow
def test_the_pretrained_network_is_what_its_script_makes(tmp_path):
    """Another machine may sum in another order, so that its bits are others."""
    path = tmp_path / "made.npz"
    loss = make(path)
    shipped = build("digits")
    shipped.model.load_state_dict(pretrained().state_dict())
    assert loss == pytest.approx(shipped.evaluate().item(), rel=0.02)
    with np.load(path) as made:
        start = pretrained().state_dict()
        assert {name: (made[name].shape, made[name].dtype) for name in made.files} == {
            name: (tuple(p.shape), np.dtype("float16")) for name, p in start.items()
        }


@pytest.mark.slow
def test_the_samples_of_a_lora_turn_from_white_digits_on_black_to_black_ones_on_white():
    task = get_task("digits_lora")
    problem = task.build(0, CPU, task.batch_size, torch.float32)

    def background(samples):
        return samples.values[:, :, [0, -1]].mean()  # where digits have hardly any ink

    assert background(problem.wanted()) > 0.9
    assert background(problem.samples()) < 0.2
    train(problem, torch.optim.AdamW(parameters(problem), lr=task.lr), 60)
    assert background(problem.samples()) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "steps", "share"),
    [("swiss_roll", 100, 0.4), ("digits", 60, 0.5), ("digits_lora", 60, 0.5), ("digits_finetune", 60, 0.5)],
)
def test_adamw_learns(key, steps, share):
    task = get_task(key)
    problem = task.build(0, CPU, task.batch_size, torch.float32)
    before = problem.evaluate().item()
    train(problem, torch.optim.AdamW(parameters(problem), lr=task.lr), steps)
    assert problem.evaluate().item() < share * before


@pytest.mark.slow
def test_trained_swiss_roll_samples_lie_on_the_roll():
    task = get_task("swiss_roll")
    problem = task.build(0, CPU, task.batch_size, torch.float32)
    roll = _roll(2000, 2)

    def distance():
        made = problem.samples()
        away = torch.cdist(torch.from_numpy(made.values), roll.data)
        away[torch.from_numpy(made.labels)[:, None] != roll.labels[None]] = torch.inf
        return away.min(dim=1).values.median().item()

    before = distance()
    train(problem, torch.optim.AdamW(parameters(problem), lr=task.lr), 250)
    assert before > 0.3
    assert distance() < 0.08


def test_data():
    train_set, held_out = _read()
    images = torch.cat([train_set.data, held_out.data])
    labels = torch.cat([train_set.labels, held_out.labels])
    assert images.shape == (1797, 8, 8)
    assert (images.min().item(), images.max().item()) == (-1, 1)
    assert labels.bincount().tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]  # as UCI's digits.names says
    learned = {image.numpy().tobytes() for image in train_set.data}
    assert not any(image.numpy().tobytes() in learned for image in held_out.data)
    roll = _roll(1000, 0)
    radius = roll.data.norm(dim=1)
    means = torch.stack([radius[roll.labels == label].mean() for label in range(8)])
    assert torch.all(means.diff() > 0)
    assert roll.data.abs().max() < EXTENT


def test_signal_falls_from_all_to_nothing():
    left = signal()
    assert left.shape == (TIMES,)
    assert torch.all(left.diff() <= 0)
    assert left[0] > 0.999
    assert 0 < left[-1] < 0.01
    assert left[TIMES // 2].item() == pytest.approx(0.5**0.5, abs=0.02)


def test_sampler_turns_by_the_angles_of_the_schedule():
    """For data of unit variance the best prediction is √(1-ᾱ)·x; DDIM then only shrinks x, by the cosine of each turn."""
    problem = build("swiss_roll")
    left = signal()
    problem.model = lambda x, t, _: (1 - left[(t * TIMES).round().long()] ** 2).sqrt().unsqueeze(1) * x
    start = torch.randn(DRAWN, 2, generator=generator(_SAMPLES))
    inside = start.abs() < 1  # so that no estimate is cut off at the edge of the data
    turns = torch.acos(left[torch.linspace(TIMES - 1, 0, SAMPLING_STEPS).round().long()]).diff()
    expected = start * turns.cos().prod() * left[0]
    assert torch.allclose(torch.from_numpy(problem.samples().values)[inside], expected[inside], atol=1e-3)


def test_samples():
    images = build("digits").samples()
    assert (images.kind, images.values.shape, images.values.dtype) == ("images", (20, 8, 8), np.float32)
    assert images.values.min() >= 0
    assert images.values.max() <= 1
    assert sorted(images.labels) == sorted([*range(10)] * 2)
    points = build("swiss_roll").samples()
    assert (points.kind, points.values.shape) == ("points", (512, 2))
    assert np.bincount(points.labels).tolist() == [64] * 8


@TASKS
def test_what_is_wanted_is_real_held_out_and_in_the_order_of_the_samples(key):
    held_out, scale = (_roll(1024, 1), 1) if key == "swiss_roll" else (_read()[1], 2)
    if key not in {"swiss_roll", "digits"}:
        held_out = Examples(-held_out.data, held_out.labels)  # black on white
    problem = build(key)
    wanted, made = problem.wanted(), problem.samples()
    assert np.array_equal(wanted.labels, made.labels)
    assert wanted.values.shape == made.values.shape
    real = (held_out.data.numpy() + scale - 1) / scale  # images from −1…1 to 0…1
    found = [np.abs(real - value).reshape(len(real), -1).max(axis=1).argmin() for value in wanted.values]
    assert np.allclose(real[found], wanted.values, atol=1e-6)
    assert np.array_equal(held_out.labels[found], wanted.labels)
    assert len(set(found)) == len(found)


def test_mix_is_splitmix64_and_tells_numbers_apart():
    assert mix(0) == 0xE220A8397B1DCDAF >> 32  # the published first output for seed 0
    seeds = {mix(a, b, c) for a in range(-5, 15) for b in range(20) for c in range(20)}
    assert len(seeds) == 8000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@TASKS
def test_cuda_sees_the_same_and_never_waits(key):
    here, there = build(key), get_task(key).build(0, torch.device("cuda"), 16, torch.float32)
    assert torch.equal(weights(here), weights(there).cpu())
    there.loss(0)  # the first call may initialise libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = [there.loss(step) for step in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [x.item() for x in losses] == pytest.approx([here.loss(step).item() for step in range(3)], rel=1e-3)


def decode(png):
    """Read back an RGBA PNG whose lines are stored unfiltered."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert zlib.crc32(name + data) == struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0]
        chunks[name] = data
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 6)
    assert b"IEND" in chunks
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 4 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 4)


def test_picture_of_images():
    values = np.zeros((12, 8, 6), np.float32)
    values[0], values[11, 0, 0], values[1], values[2] = 1.0, 0.5, 7.0, np.nan
    pixels = decode(samples_png(Samples("images", values), scale=4))
    assert pixels.shape == (2 * 32 + 2, 10 * 24 + 9 * 2, 4)
    assert pixels[0, 0].tolist() == [255] * 4
    assert pixels[0, 26].tolist() == [255] * 4  # values outside 0…1 are cut off
    assert pixels[0, 52].tolist() == [0, 0, 0, 255]
    assert pixels[0, 24, 3] == 0  # the gap between two images
    assert pixels[34, 26].tolist() == [128, 128, 128, 255]  # second row, second column
    assert pixels[34, 52, 3] == 0  # no thirteenth image


def test_picture_of_points():
    values = np.array([[-1.1, 1.1], [1.1, -1.1], [0.0, 99.0], [np.inf, 0.0], [np.nan, np.nan]], np.float32)
    pixels = decode(samples_png(Samples("points", values, np.array([0, 1, 2, 3, 4])), scale=8))
    assert pixels.shape == (320, 320, 4)
    for (row, column), colour in {(80, 80): COLOURS[0], (240, 240): COLOURS[1]}.items():  # up is up
        assert pixels[row, column].tolist() == [*bytes.fromhex(colour[1:]), 255]
    covered = pixels[..., 3] > 0
    assert not covered[:, 150:170].any()  # what lies outside or nowhere is not drawn
    assert covered.sum() < 2 * 10 * 10


def test_picture_without_labels_has_one_colour():
    pixels = decode(samples_png(Samples("points", np.zeros((3, 2), np.float32))))
    assert len(np.unique(pixels[pixels[..., 3] == 255], axis=0)) == 1


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 8, 8, 1)])
@pytest.mark.parametrize("kind", ["points", "images"])
def test_picture_refuses_other_shapes(kind, shape):
    with pytest.raises(ValueError, match=kind):
        samples_png(Samples(kind, np.zeros(shape, np.float32)))


def test_picture_refuses_a_scale_below_one():
    with pytest.raises(ValueError, match="scale = 0"):
        samples_png(Samples("points", np.zeros((1, 2), np.float32)), scale=0)
