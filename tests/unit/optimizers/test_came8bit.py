"""CAME with its momentum in 8 bits, against CAME itself."""

import copy
import io

import came_pytorch
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.came8bit import BLOCK_SIZES, CAME8bit
from diffopt_widgets.state_size.measured import state_bytes

SHAPES = {"matrix": (96, 80), "bias": (8192,), "convolution": (40, 20, 3, 3), "scalar": ()}


def parameters(dtype=torch.float32, shapes=None):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter((0.3 * torch.randn(shape, generator=generator)).to(dtype))
        for shape in shapes or SHAPES.values()
    ]


def walk(optimizer, params, steps=50, first=0):
    """Train on gradients that pull toward zero, with noise; all parameters as one vector in 32 bits."""
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = (p.detach().float() + 0.3 * torch.randn(p.shape, generator=generator)).to(p.dtype)
        optimizer.step()
    return torch.cat([p.detach().float().flatten() for p in params])


def distance(path, other, start):
    """How far apart two ends are, beside the way that was gone."""
    return float((path - other).norm() / (other - start).norm())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_with_no_tensor_in_8_bits_it_is_came_to_the_bit(dtype, weight_decay):
    eps = (1e-30, 1e-16)
    ours, theirs = parameters(dtype), parameters(dtype)
    path = walk(CAME8bit(ours, lr=1e-3, min_8bit_size=10**9, weight_decay=weight_decay, eps=eps), ours)
    came = walk(came_pytorch.CAME(theirs, lr=1e-3, weight_decay=weight_decay, eps=eps), theirs)
    assert torch.isfinite(came).all()
    assert torch.equal(path, came)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_the_momentum_of_large_tensors_is_in_8_bits(dtype):
    params = parameters(dtype)
    optimizer = CAME8bit(params, min_8bit_size=7000)
    walk(optimizer, params, 2)
    kept = {
        name: {key: value.dtype for key, value in optimizer.state[p].items() if isinstance(value, torch.Tensor)}
        for name, p in zip(SHAPES, params, strict=True)
    }
    averages = ("exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_res_row", "exp_avg_res_col")
    factored = dict.fromkeys(("absmax", *averages), torch.float32) | {"exp_avg": torch.uint8}
    assert kept == {
        "matrix": factored,
        "convolution": factored,
        "bias": {"exp_avg": torch.uint8, "absmax": torch.float32, "exp_avg_sq": torch.float32},
        "scalar": {"exp_avg": torch.float32, "exp_avg_sq": torch.float32},
    }


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCK_SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_8_bits_it_stays_close_to_came(block, dtype):
    start = torch.cat([p.detach().float().flatten() for p in parameters(dtype)])
    ours, theirs = parameters(dtype), parameters(dtype)
    path = walk(CAME8bit(ours, lr=1e-3, min_8bit_size=7000, quant_block_size=block), ours)
    came = walk(came_pytorch.CAME(theirs, lr=1e-3), theirs)
    assert 0 < distance(path, came, start) < 0.05


def test_smaller_blocks_are_closer():
    shape = (64, 256)
    start = parameters(shapes=[shape])[0].detach().flatten()
    theirs = parameters(shapes=[shape])
    # One value a thousand times larger than the others: it spoils the scale of its block only.
    scales = torch.ones(shape)
    scales[3, 5] = 1000.0

    def run(optimizer, params):
        for step in range(30):
            generator = torch.Generator().manual_seed(step)
            params[0].grad = scales * (params[0].detach() + 0.3 * torch.randn(shape, generator=generator))
            optimizer.step()
        return params[0].detach().flatten()

    came = run(came_pytorch.CAME(theirs, lr=1e-3), theirs)
    found = []
    for block in (64, 4096):
        ours = parameters(shapes=[shape])
        found.append(distance(run(CAME8bit(ours, lr=1e-3, min_8bit_size=0, quant_block_size=block), ours), came, start))
    assert found[0] < found[1]


def test_a_tensor_counts_as_large_from_min_8bit_size_on():
    for size, expected in ((4095, torch.float32), (4096, torch.uint8)):
        (p,) = params = parameters(shapes=[(size,)])
        optimizer = CAME8bit(params, min_8bit_size=4096)
        walk(optimizer, params, 1)
        assert optimizer.state[p]["exp_avg"].dtype == expected


def test_it_takes_about_a_quarter_of_cames_memory():
    taken = []
    for cls in (CAME8bit, came_pytorch.CAME):
        params = parameters(shapes=[(512, 512)])
        optimizer = cls(params, lr=1e-3)
        walk(optimizer, params, 1)
        taken.append(state_bytes(optimizer) / params[0].numel())
    assert taken[0] == pytest.approx(1.0 + 4 / 2048 + 16 / 512, rel=0.01)
    assert taken[1] == pytest.approx(4.0 + 16 / 512, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loaded_state_goes_on_to_the_bit(dtype):
    through, halted = parameters(dtype), parameters(dtype)
    whole = CAME8bit(through, lr=1e-3, min_8bit_size=7000)
    expected = walk(whole, through, 40)
    first = CAME8bit(halted, lr=1e-3, min_8bit_size=7000)
    walk(first, halted, 25)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    again = [torch.nn.Parameter(p.detach().clone()) for p in halted]
    second = CAME8bit(again, lr=0.5)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.param_groups[0]["min_8bit_size"] == 7000
    assert torch.equal(walk(second, again, 15, first=25), expected)


def test_a_loaded_state_is_a_copy():
    params, others = parameters(), parameters()
    first, second = CAME8bit(params, min_8bit_size=7000), CAME8bit(others, min_8bit_size=7000)
    walk(first, params, 3)
    second.load_state_dict(first.state_dict())
    before = copy.deepcopy(first.state_dict()["state"])
    walk(second, others, 3)
    after = first.state_dict()["state"]
    for index, state in before.items():
        for name, value in state.items():
            assert not isinstance(value, torch.Tensor) or torch.equal(value, after[index][name])


@pytest.mark.parametrize("steps", [1, 5])
def test_gradients_of_zero_move_nothing_and_make_no_nan(steps):
    params = parameters()
    start = [p.detach().clone() for p in params]
    optimizer = CAME8bit(params, min_8bit_size=64)
    for _ in range(steps):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(params, start, strict=True))


def test_tensors_without_a_gradient_are_left_alone():
    params = parameters()
    start = [p.detach().clone() for p in params]
    optimizer = CAME8bit(params, weight_decay=0.1)
    params[0].grad = torch.ones_like(params[0])
    optimizer.step()
    assert not torch.equal(params[0], start[0])
    assert all(torch.equal(p, old) for p, old in zip(params[1:], start[1:], strict=True))
    assert len(optimizer.state) == 1


def test_a_gradient_in_another_memory_format_takes_the_same_step():
    shape = (64, 64, 3, 3)
    paths = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        (p,) = params = parameters(shapes=[shape])
        optimizer = CAME8bit(params, lr=1e-3)
        for step in range(5):
            generator = torch.Generator().manual_seed(step)
            p.grad = torch.randn(shape, generator=generator).to(memory_format=memory_format)
            optimizer.step()
        paths.append(p.detach())
    torch.testing.assert_close(*paths, rtol=1e-6, atol=1e-7)


def test_the_closure_is_run_with_gradients_and_its_loss_given_back():
    (p,) = params = parameters(shapes=[(4, 4)])
    optimizer = CAME8bit(params)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    before = p.detach().clone()
    assert optimizer.step(closure).item() == pytest.approx(before.square().sum().item())
    assert not torch.equal(before, p)


def test_groups_have_rates_of_their_own():
    params = parameters()
    start = [p.detach().clone() for p in params]
    optimizer = CAME8bit([{"params": params[:1], "lr": 0.0}, {"params": params[1:]}], lr=1e-3)
    walk(optimizer, params, 1)
    assert torch.equal(params[0], start[0])
    assert not torch.equal(params[1], start[1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"betas": (0.9, 0.999, 1.0)}, "betas"),
        ({"eps": (-1.0, 0.0)}, "eps"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"clip_threshold": 0.0}, "clip_threshold"),
        ({"quant_block_size": 100}, "quant_block_size is 100"),
    ],
)
def test_what_it_cannot_take_is_refused_by_name(values, words):
    with pytest.raises(ValueError, match=words):
        CAME8bit(parameters(), **values)


def test_a_sparse_gradient_is_refused():
    embedding = torch.nn.Embedding(10, 4, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        CAME8bit(embedding.parameters()).step()


def test_the_catalogue_offers_the_blocks_that_it_takes():
    assert dw.spec("CAME_8BIT").use("quant_block_size").option.choices == tuple(str(block) for block in BLOCK_SIZES)


@pytest.mark.slow
def test_it_trains_on_the_bench():
    run = dw.train(dw.Settings("CAME_8BIT", min_8bit_size=64), "swiss_roll", 60, progress=False)
    losses = run.history.column("loss")
    assert run.status == "done", run.message
    assert losses[-10:].mean() < 0.8 * losses[:5].mean()
