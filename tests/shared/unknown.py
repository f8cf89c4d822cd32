"""An optimizer that no catalogue has: made for tests of what is not known."""

import torch


class Unknown(torch.optim.NAdam):
    """Implements an algorithm of nobody's.

    Args:
        params (iterable): what to train
        lr (float, optional): learning rate (default: 2e-3)
        betas (Tuple[float, float], optional): coefficients used for computing running averages (default: (0.9, 0.999))
        eps (float, optional): term added to the denominator (default: 1e-8)
        weight_decay (float, optional): weight decay (L2 penalty) (default: 0)
        momentum_decay (float, optional): momentum momentum_decay (default: 4e-3)
        decoupled_weight_decay (bool, optional): whether to decouple the weight decay (default: False)
        foreach (bool, optional): whether foreach implementation is used (default: None)
        maximize (bool, optional): maximize the objective (default: False)
        capturable (bool, optional): whether this is safe to capture in a CUDA graph (default: False)
        differentiable (bool, optional): whether autograd should occur through the step (default: False)
    """
