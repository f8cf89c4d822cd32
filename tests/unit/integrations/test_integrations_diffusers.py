"""A training script as those of diffusers are, watched both ways: tiny models with random weights, nothing downloaded.

The loop follows examples/unconditional_image_generation/train_unconditional.py and
examples/text_to_image/train_text_to_image_lora.py of diffusers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import diffopt_widgets as dw

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own

ACCUMULATION, EPOCHS, MAX_NORM = 2, 2, 0.02
TINY = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}


@pytest.fixture
def libraries():
    """Leave accelerate as it was."""
    for package in ("accelerate", "diffusers", "peft"):
        pytest.importorskip(package, reason="needs the extra diffopt-widgets[integrations]")
    yield
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def unconditional():
    from diffusers import UNet2DModel

    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    return UNet2DModel(**TINY, down_block_types=down, up_block_types=up), ()


def lora():
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig

    down, up = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    model = UNet2DConditionModel(**TINY, cross_attention_dim=8, down_block_types=down, up_block_types=up)
    model.requires_grad_(False)
    model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    return model, (torch.randn(4, 5, 8),)  # encoder hidden states


@pytest.mark.parametrize("build", [unconditional, lora])
@pytest.mark.parametrize("tracked", [False, True])
def test_a_script_of_diffusers(build, tracked, libraries, tmp_path):  # noqa: PLR0915  # a script is long
    from accelerate import Accelerator
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler

    from diffopt_widgets.integrations.accelerate import WatchTracker

    torch.manual_seed(0)
    options = {"measure": ["grad_norm", "update_ratio"], "store": tmp_path / "runs.sqlite"}
    tracker = WatchTracker(**options) if tracked else None
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATION, log_with=tracker)
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000)
    model, conditions = build()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    data = torch.utils.data.DataLoader(torch.randn(24, 3, 8, 8), batch_size=4)
    steps = EPOCHS * len(data) // ACCUMULATION
    schedule = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=2, num_training_steps=steps)
    model, optimizer, data, schedule = accelerator.prepare(model, optimizer, data, schedule)
    accelerator.init_trackers("text2image", config={"rank": 4, "betas": (0.9, 0.999)})
    if tracked:
        tracker.watch(optimizer, schedule, accelerator.unwrap_model(model))  # the one line more
        w = tracker.watcher
    else:
        w = dw.watch(optimizer, schedule, accelerator.unwrap_model(model), **options)

    losses, rates, norms = [], [], []
    for _ in range(EPOCHS):
        train_loss = 0.0
        for clean in data:
            noise, times = torch.randn(clean.shape), torch.randint(0, 1000, (len(clean),))
            with accelerator.accumulate(model):
                predicted = model(noise_scheduler.add_noise(clean, noise, times), times, *conditions).sample
                loss = torch.nn.functional.mse_loss(predicted, noise)
                train_loss += accelerator.gather(loss.repeat(4)).mean().item() / ACCUMULATION
                if not tracked:
                    w.log(loss=loss)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norms.append(float(accelerator.clip_grad_norm_(trained, MAX_NORM)))
                    rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                losses.append(train_loss)
                accelerator.log({"train_loss": train_loss}, step=len(losses))
                train_loss = 0.0
            logs = {"loss": loss.detach().item(), "lr": schedule.get_last_lr()[0], "step": len(losses)}
            accelerator.log(logs, step=len(losses))
    accelerator.end_training()
    w.close()

    history = w.history
    assert history.step.tolist() == list(range(1, steps + 1))
    np.testing.assert_allclose(history.column("loss"), losses, rtol=1e-6)
    if tracked:
        assert history.column("train_loss").tolist() == losses
    assert history.column("applied_lr")[:, 0].tolist() == rates
    assert rates[0] == 0  # the warm-up begins there
    assert max(norms) > MAX_NORM
    np.testing.assert_allclose(history.column("grad_norm"), np.minimum(norms, MAX_NORM), rtol=1e-4)
    assert (history.column("update_ratio")[1:] > 0).all()
    (kept,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (kept.steps, kept.status, kept.about["parameters"]) == (steps, "done", sum(p.numel() for p in trained))
    assert kept.about.get("rank") == (4 if tracked else None)
