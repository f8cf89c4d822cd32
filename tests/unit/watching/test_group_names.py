"""Parts of a model keep their names under torch.compile and the wrappers of torch.distributed."""

from __future__ import annotations

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.watching.hooks import group_names


def parts():
    return torch.nn.ModuleDict({"unet": torch.nn.Linear(3, 3), "text_encoder": torch.nn.Linear(3, 3)})


class Wrapped(torch.nn.Module):
    """Holds a model under a name, as DistributedDataParallel does under `module`."""

    def __init__(self, name, model):
        super().__init__()
        self.add_module(name, model)


WRAPPERS = {
    "compile": torch.compile,
    "ddp": lambda model: Wrapped("module", model),
    "fsdp": lambda model: Wrapped("_fsdp_wrapped_module", model),
    "both": lambda model: torch.compile(Wrapped("module", model)),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # inside torch.compile
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_part_of_a_wrapped_model_has_its_own_name(wrapper):
    model = parts()
    optimizer = torch.optim.SGD([{"params": part.parameters()} for part in model.values()], lr=0.1)
    assert group_names(optimizer, model=WRAPPERS[wrapper](model)) == ("unet", "text_encoder")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_orig_mod.module."])
def test_a_group_that_is_named_after_the_wrapped_part_is_that_part(prefix):
    model = parts()
    groups = [{"params": list(part.named_parameters()), "name": prefix + name} for name, part in model.items()]
    optimizer = dw.build_optimizer(dw.Settings("MUON", muon_te1_adam_lr=0.5), groups)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups}["text_encoder Adam"] == 0.5
    assert group_names(torch.optim.SGD(groups)) == ("unet", "text_encoder")
