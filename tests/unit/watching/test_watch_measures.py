"""What dw.watch measures at the steps: gradients, weights and what a step did to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from quadratic import loss_of, problem, train

import diffopt_widgets as dw


def test_measures_are_what_they_say():
    torch.manual_seed(0)
    groups = [[torch.nn.Parameter(torch.randn(40)), torch.nn.Parameter(torch.randn(3, 3))], problem(5)]
    params = [p for group in groups for p in group]
    optimizer = torch.optim.SGD([{"params": group} for group in groups], lr=0.1)
    with dw.watch(optimizer, measure=["weight_norm", "grad_norm", "update_rms", "update_ratio"], every=2) as w:
        for step in range(3):
            old = [[p.detach().clone() for p in group] for group in groups]
            train(optimizer, params, 1)
            if step == 0:
                moved = [
                    torch.cat([(p.detach() - q).flatten() for p, q in zip(group, copies, strict=True)])
                    for group, copies in zip(groups, old, strict=True)
                ]
                was = [torch.cat([q.flatten() for q in copies]) for copies in old]
                now = torch.cat([p.detach().flatten() for p in params])
    history = w.history
    assert history.column("weight_norm")[0] == pytest.approx(float(now.norm()))
    assert history.column("grad_norm")[0] == pytest.approx(2 * float(torch.cat(was).norm()))
    assert history.column("update_rms")[0].tolist() == pytest.approx([float(m.square().mean().sqrt()) for m in moved])
    assert history.column("update_ratio")[0].tolist() == pytest.approx([0.2, 0.2], rel=1e-5)
    assert np.isnan(history.column("update_rms")).tolist() == [[False, False], [True, True], [False, False]]
    assert np.isnan(history.column("grad_norm")).tolist() == [False, True, False]


def test_steps_published_without_a_measure_are_kept():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    with dw.watch(optimizer, measure=["update_rms", "grad_norm"], every=4) as w:
        for _ in range(6):
            train(optimizer, params, 1)
            w._recorder.publish()
    assert w.history.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert np.flatnonzero(~np.isnan(w.history.column("update_rms")[:, 0])).tolist() == [0, 4]


def test_the_gradient_norm_is_the_one_after_clipping():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    with dw.watch(optimizer, measure="grad_norm") as w:
        loss_of(params).backward()
        torch.nn.utils.clip_grad_norm_(params, 0.25)
        optimizer.step()
    assert w.history.column("grad_norm")[0] == pytest.approx(0.25, rel=1e-4)


def test_the_share_of_bfloat16_updates_that_are_lost():
    # the spacing of bfloat16 is 2^-7 above 1 and a half of that below 1, and a step moves each weight by 0.003
    weight = torch.nn.Parameter(torch.tensor([1.5, 1.5, 0.25, 0.0, 1.5], dtype=torch.bfloat16))
    idle = torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([weight, idle], lr=0.003)
    with dw.watch(optimizer, measure="bf16_lost") as w:
        (weight * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])).sum().backward()
        optimizer.step()
    assert w.history.column("bf16_lost").tolist() == [[0.5]]  # 1.5 twice; the last one was not meant to move


def test_the_share_of_lost_updates_is_told_for_each_group():
    """One number for all would hide a text encoder that stands still beside a larger model."""
    unet, text, exact = (
        torch.nn.Parameter(torch.ones(n, dtype=kind))
        for n, kind in ((9, torch.bfloat16), (3, torch.bfloat16), (2, torch.float32))
    )
    groups = [{"params": [unet], "lr": 0.1}, {"params": [text], "lr": 1e-5}, {"params": [exact], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    with dw.watch(optimizer, names=["unet", "text", "exact"], measure="bf16_lost") as w:
        (unet.sum() + text.sum() + exact.sum()).backward()
        optimizer.step()
    np.testing.assert_array_equal(w.history.column("bf16_lost"), [[0.0, 1.0, np.nan]])


def test_a_measure_that_is_never_finite_has_its_column_and_one_without_a_meaning_is_told_of():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    with pytest.warns(UserWarning, match="none of these weights is in bfloat16"):
        w = dw.watch(optimizer, measure=["grad_norm", "bf16_lost"])
    with w:
        for p in params:
            p.grad = torch.full_like(p, torch.nan)
        optimizer.step()
    assert np.isnan(w.history.column("grad_norm")).all()
    assert "grad_norm" in w.history.names()
    assert "bf16_lost" not in w.history.names()


def test_what_cannot_be_measured_is_told_once_and_the_rest_is_measured():
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    told_of = "the training goes on. TypeError: grad_norm is not measured of sparse gradients"
    with (  # noqa: PT031
        dw.watch(optimizer, measure=["grad_norm", "weight_norm"]) as w,
        pytest.warns(UserWarning, match=told_of) as told,
    ):
        for _ in range(3):
            embedding(torch.tensor([1, 2])).sum().backward()
            optimizer.step()
    assert len(told) == 1
    assert w.history.column("applied_lr")[:, 0].tolist() == [0.1, 0.1, 0.1]
    assert w.history.column("weight_norm")[-1] == pytest.approx(float(embedding.weight.detach().norm()))


@pytest.mark.parametrize("by_name", [False, True])
def test_the_gradient_norm_is_that_of_gradients_that_the_step_computes(by_name):
    """As lightning steps every optimizer: the closure runs the model, and what was there before is an older gradient."""
    params = problem(4, 3)
    optimizer = torch.optim.Adam(params, lr=0.1)
    expected = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        expected.append(float(torch.nn.utils.clip_grad_norm_(params, 1e9)))
        return loss

    with dw.watch(optimizer, measure="grad_norm") as w:
        for _ in range(3):
            loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
            assert float(loss.detach()) > 0
    assert w.history.column("grad_norm").tolist() == pytest.approx(expected)


def test_a_step_that_computes_several_gradients_is_measured_by_the_first():
    params = problem()
    optimizer = torch.optim.LBFGS(params, max_iter=3)
    expected = []
    with dw.watch(optimizer, measure="grad_norm") as w:
        for _ in range(2):
            calls = []

            def closure(calls=calls):
                optimizer.zero_grad()
                loss = loss_of(params)
                loss.backward()
                calls.append(float(params[0].grad.norm()))
                return loss

            optimizer.step(closure)
            expected.append(calls[0])
    assert w.history.column("grad_norm").tolist() == pytest.approx(expected)


def test_weights_that_are_unfrozen_or_added_later_are_measured_from_then_on():
    one, two, three = problem(4, 3, 5)
    two.requires_grad_(False)
    optimizer = torch.optim.SGD([one, two], lr=0.1)
    expected = []
    with dw.watch(optimizer, measure=["grad_norm", "weight_norm"]) as w:
        for step in range(3):
            if step == 1:
                two.requires_grad_(True)  # torch's own
            if step == 2:
                optimizer.add_param_group({"params": [three]})
            train(optimizer, [one, two, three], 1)
            trained = [one, two, three][: step + 1]
            norms = [torch.cat([v.detach() for v in values]).norm() for values in ([p.grad for p in trained], trained)]
            expected.append([float(norm) for norm in norms])
    found = np.stack([w.history.column("grad_norm"), w.history.column("weight_norm")], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_weights_that_have_no_values_here_are_left_out():
    """As models have them whose parts were put off to a disk."""
    (here,), away = problem(), torch.nn.Parameter(torch.ones(3, device="meta"))
    optimizer = torch.optim.SGD([here, away], lr=0.1)
    with dw.watch(optimizer, measure=["grad_norm", "weight_norm"]) as w:
        train(optimizer, [here], 1)
    assert w.history.column("weight_norm").tolist() == pytest.approx([float(here.detach().norm())])


def test_weights_without_gradients_and_weights_of_one_number():
    used, idle, single = *problem(4, 3), torch.nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([used, idle, single], lr=0.1)
    with dw.watch(optimizer, measure=["grad_norm", "update_rms"]) as w:
        train(optimizer, [used, single], 1)
    squares = float(used.grad.square().sum() + single.grad.square())
    assert w.history.column("grad_norm").tolist() == pytest.approx([squares**0.5])
    assert w.history.column("update_rms")[0, 0] == pytest.approx((0.01 * squares / 8) ** 0.5)


def test_weights_that_processes_share_are_not_measured_by_one_of_them(tmp_path):
    from torch import distributed
    from torch.distributed.tensor import Replicate, distribute_tensor, init_device_mesh

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        shared = distribute_tensor(torch.ones(4), init_device_mesh("cpu", (1,)), [Replicate()])
        optimizer = torch.optim.SGD([torch.nn.Parameter(shared)], lr=0.1)
        with pytest.raises(ValueError, match="grad_norm would need all processes"):
            dw.watch(optimizer, measure="grad_norm")
        with dw.watch(optimizer) as w:
            optimizer.step()
            with pytest.warns(UserWarning, match=r"log its full_tensor\(\)"):
                w.log(loss=shared.sum())
        assert w.history.names() == ("lr", "applied_lr", "seconds")
    finally:
        distributed.destroy_process_group()
