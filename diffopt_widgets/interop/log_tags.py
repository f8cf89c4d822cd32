"""Tags under which other trainers log scalars, each with the source that writes it.

They were read in November 2026: OneTrainer at 23df3832, kohya's sd-scripts at 48d368fa, SimpleTuner at bc8e6ab7,
diffusion-pipe at 8f83dbf2, ai-toolkit at 27a03a91, transformers 5.24, lightning 2.6.

A learning rate is what the program logged, at the step at which it logged it. Most read it after the step and after the
schedule's step, so it is that of the next step; transformers' Trainer reads it before them since March 2025 (its pull
request 36973). None of them has the bias correction of Prodigy, or the rate that Adafactor finds by itself. So a rate counts as applied only
where the tag says that it is d times the rate. OneTrainer's rates are d times the schedule's where the optimizer has a d, but its
logs do not name the optimizer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Tag:
    """One tag of a trainer."""

    text: str
    """The tag; with `per_group` a pattern whose group is the name of a parameter group."""
    column: str
    """Column of a History with these values."""
    source: str
    """Trainer, and the file that logs it."""
    per_group: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """Pattern of the whole tag."""
        return re.compile(self.text if self.per_group else re.escape(self.text))


TAGS = (
    # losses of a training step
    Tag("loss/train_step", "loss", "OneTrainer: modules/trainer/GenericTrainer.py"),
    Tag("loss/current", "loss", "kohya: train_network.py, sdxl_train_control_net.py"),
    Tag(
        "train/loss", "loss", "transformers: integrations/integration_utils.py (rewrite_logs); diffusion-pipe: train.py"
    ),
    Tag(
        "loss",
        "loss",
        "diffusers: examples/dreambooth/train_dreambooth_lora*.py; kohya: fine_tune.py, sdxl_train.py; ai-toolkit",
    ),
    Tag("train_loss_step", "loss", "lightning: self.log('train_loss', on_step=True, on_epoch=True)"),
    Tag("train/loss_step", "loss", "lightning: the same with another name"),
    Tag("loss_step", "loss", "lightning: the same with another name"),
    Tag(
        "train_loss",
        "loss",
        "diffusers: examples/text_to_image/train_text_to_image*.py; SimpleTuner: helpers/training/trainer.py; lightning",
    ),
    Tag("step_loss", "loss", "SimpleTuner: helpers/training/trainer.py"),
    Tag("loss/train", "loss", "usual in scripts"),
    Tag("Loss/train", "loss", "torch's TensorBoard tutorial"),
    # losses of an evaluation
    Tag("loss/validation_step/total_average", "eval_loss", "OneTrainer: modules/trainer/GenericTrainer.py"),
    Tag("loss/validation/step_average", "eval_loss", "kohya: train_network.py"),
    Tag("loss/validation/epoch_average", "eval_loss", "kohya: train_network.py"),
    Tag("loss/validation/current", "eval_loss", "earlier versions of kohya: train_network.py"),
    Tag("eval/loss", "eval_loss", "transformers: integrations/integration_utils.py (rewrite_logs)"),
    Tag("eval0/loss", "eval_loss", "diffusion-pipe: train.py (the first evaluation set, unless it has a name)"),
    Tag("loss/val/pooled", "eval_loss", "SimpleTuner: helpers/training/validation.py"),
    Tag("val_loss_epoch", "eval_loss", "lightning: self.log('val_loss', on_step=True, on_epoch=True)"),
    Tag("val/loss_epoch", "eval_loss", "lightning: the same with another name"),
    Tag("val_loss", "eval_loss", "lightning, usual in scripts"),
    Tag("val/loss", "eval_loss", "lightning, usual in scripts"),
    Tag("valid_loss", "eval_loss", "usual in scripts"),
    Tag("validation_loss", "eval_loss", "usual in scripts"),
    Tag("loss/val", "eval_loss", "usual in scripts"),
    # norms of the gradient
    Tag("train/grad_norm", "grad_norm", "transformers: trainer.py; diffusion-pipe: train.py"),
    Tag("norm/avg_grad_norm", "grad_norm", "kohya: train_network.py"),
    # the estimate d, which these programs read after the step
    Tag("prodigy_d", "d", "SimpleTuner: helpers/training/trainer.py"),
    Tag("train/prodigy_d", "d", "diffusion-pipe: train.py (mean over the parameter groups)"),
    # rates that are d times the schedule's
    Tag(r"lr/d\*eff_lr/(.+)", "applied_lr", "forks of kohya's scripts: train_network.py", per_group=True),
    Tag(
        r"lr/d\*lr/(.+)",
        "applied_lr",
        "kohya: train_network.py, library/train_util.py (append_lr_to_logs)",
        per_group=True,
    ),
    # rates of the schedule
    Tag(
        r"lr/(?!d\*|(?:scale|.*factor|multiplier)$)(.+)",
        "lr",
        "OneTrainer: modules/modelSetup/BaseModelSetup.py; kohya: train_network.py",
        per_group=True,
    ),
    Tag(r"lr-(.+?)(?<!-momentum)(?<!-weight_decay)", "lr", "lightning: callbacks/lr_monitor.py", per_group=True),
)
"""Tags by column. Of those of one column the first that is in a log counts; a pattern with a group stands for all its tags."""

APPLIED_OF_ONE = {
    "lr/d*eff_lr": "forks of kohya's scripts: train_network.py",
    "lr/d*lr": "kohya: fine_tune.py, train_textual_inversion.py, and train_network.py for ProdigyPlusScheduleFree",
    "prodigy_effective_lr": "SimpleTuner: helpers/training/trainer.py (d times the rate of the first group)",
}
"""Tags of the applied rate of the first parameter group, for programs that log no other."""

SCHEDULE_OF_ONE = {
    "lr": "diffusers: examples/dreambooth/train_dreambooth_lora*.py; kohya: train_textual_inversion.py; ai-toolkit: BaseSDTrainProcess.py (for "
    "Prodigy and D-Adaptation d times the rate, which the tag does not say)",
    "train/learning_rate": "transformers: trainer.py",
    "learning_rate": "SimpleTuner: helpers/training/trainer.py (for Prodigy d itself in versions of 2026)",
    "train/lr": "usual in scripts",
}
"""Tags of the rate of programs that log one for all groups."""

EVALUATIONS = {
    r"loss/validation_step/(.+)": "OneTrainer: modules/trainer/GenericTrainer.py (of each concept)",
    r"loss/val/(.+)": "SimpleTuner: helpers/training/validation.py (of each data set)",
}
"""Patterns of evaluation losses that have a name each: a single one is the evaluation loss."""
NAMED_EVALUATION = r"(?!train/|eval/)(.+)/loss"
"""Pattern of diffusion-pipe's evaluation losses (train.py), in logs with the tag `EVALUATION_TIME`."""
EVALUATION_TIME = "eval/eval_time_sec"

BY_EPOCH = re.compile(r"loss/(validation/)?epoch(_.+)?|train/epoch_loss|epoch loss/.+")
"""Tags with the number of the epoch in place of the step.

kohya: train_network.py (epoch_logging) and others; diffusion-pipe: train.py; ai-toolkit: TrainVAEProcess.py. Lightning's
`*_epoch` and transformers' evaluations stand at their steps.
"""

LOSSES = frozenset(tag.text for tag in TAGS if tag.column == "loss")
"""Tags of a training loss."""
