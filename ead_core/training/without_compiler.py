"""PyTorch's optimisers without what they do for `torch.compile`: it imports the compiler, seconds of every start."""

import inspect

import torch


class WithoutCompiler(torch.optim.Optimizer):
    """An optimiser that is never compiled."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


class AdamW(WithoutCompiler, torch.optim.AdamW):
    """PyTorch's own AdamW, uncompiled."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
