"""The remedy for a beta2 below the square of beta1 is offered where steps do grow without limit, and nowhere else."""

import pytest
import torch

import diffopt_widgets as dw

MEMORIES = {"beta1": 0.9, "beta2": 0.5}, {"adam_beta1": 0.9, "adam_beta2": 0.5}, {"beta1": 0.9, "beta3": 0.5}
GENTLER = (
    ("ADAMW", {"amsgrad": True}),
    ("ADAMW_ADV", {"use_atan2": True}),
    ("MUON_ADV", {"adam_use_atan2": True}),
    ("PRODIGY_PLUS_SCHEDULE_FREE", {"use_schedulefree": False}),
    ("LAMB", {"max_unorm": 0.0}),
)
"""Options that let steps grow, or keep them from it, otherwise than at the defaults."""


def cases():
    for key in dw.list_optimizers():
        names = {use.name for use in dw.spec(key).uses}
        for betas in MEMORIES:
            of_squares = "beta3" if key.endswith("ADAN") else "beta2"
            if betas.keys() <= names and (of_squares in betas or "adam_beta2" in betas):
                for more in ({}, *(more for other, more in GENTLER if other == key)):
                    yield pytest.param(key, betas, more, id="-".join([key, *betas, *more]))


def growth(settings):
    """How many times larger than before steps become after the gradients have become far smaller."""
    torch.manual_seed(0)
    weights = torch.nn.Parameter(torch.ones(16 if "adam_beta1" in settings.options else (64, 72)))  # 8-bit
    optimizer = dw.build_optimizer(settings, [weights])
    gradient, sizes = torch.linspace(0.5, 1.5, weights.numel()).view_as(weights), []
    for step in range(50):
        before = weights.detach().clone()
        weights.grad = gradient * (1.0 if step < 30 else 1e-5)
        optimizer.step()
        sizes.append((weights.detach() - before).square().mean().sqrt().item())
    return max(sizes[31:]) / max(sizes[20:30])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the tensors have no names")
@pytest.mark.parametrize(("key", "betas", "more"), list(cases()))
def test_the_remedy_is_for_steps_that_grow(key, betas, more):
    if key == "SCHEDULE_FREE_RADAM":
        betas = {**betas, "beta2": 0.65}  # it has to be above 0.6
    settings = dw.Settings(key, **betas, **more)
    remedies = [remedy for remedy in settings.spec.remedies if remedy.any_rate and remedy.applies(settings.values())]
    usual = growth(settings.replace(**dict.fromkeys(betas, 0.9)))
    assert bool(remedies) == (growth(settings) > 5 * max(usual, 1)), (growth(settings), usual)
    for remedy in remedies:
        better = settings.replace(**remedy.values(settings.values()))
        assert not remedy.applies(better.values())
        assert growth(better) < 5
