"""Optimisers: AdamW for everything, or Muon for the matrices inside the network and AdamW for the rest."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ead_core.config import TrainingConfig
from ead_core.networks.denoiser import Denoiser
from ead_core.networks.predictor import Predictor
from ead_core.training.muon import Muon
from ead_core.training.parallel import Workers
from ead_core.training.without_compiler import AdamW


class Optimizer:
    """One or two torch optimisers that step together.

    Muon (Jordan et al. 2024) orthogonalises each matrix's momentum. At equal wall clock it reached a clearly
    lower loss here (docs/decisions/).

    Args:
        model: its parameters are followed; its network says which of them Muon takes.
        config: training section.
        workers: share Muon's work.
    """

    def __init__(self, model: Denoiser | Predictor, config: TrainingConfig, workers: Workers) -> None:
        self._workers, self._clip_norm, self._parameters = workers, config.clip_norm, list(model.parameters())
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        matrices = model.network.hidden_matrices() if config.optimizer == "muon" else []
        chosen = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
        self._parts: list[torch.optim.Optimizer] = [
            AdamW(others, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        ]
        if matrices:
            rate, decay = config.muon_learning_rate, config.weight_decay
            self._parts.append(Muon(matrices, lr=rate, weight_decay=decay, divide=workers.divide))
        self._peaks = [part.param_groups[0]["lr"] for part in self._parts]

    def minimise(self, loss: Tensor, factor: float) -> Tensor:
        """One step down the gradient of this worker's loss, averaged over the workers and clipped.

        Args:
            loss: a single number.
            factor: see `step`.

        Returns:
            The norm of the gradient before it was clipped.
        """
        loss.backward()
        self._workers.average(self._parameters)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self.step(factor)
        return norm

    def step(self, factor: float) -> None:
        """Apply and clear the gradients at `factor` times the learning rates of the recipe."""
        for part, peak in zip(self._parts, self._peaks, strict=True):
            for group in part.param_groups:
                group["lr"] = factor * peak
            part.step()
        for parameter in self._names:
            parameter.grad = None

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything to store, as `quantity:parameter name` and tensor."""
        for part in self._parts:
            for parameter, state in part.state.items():
                for quantity, value in state.items():
                    yield f"{quantity}:{self._names[parameter]}", torch.as_tensor(value)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from stored tensors."""
        by_parameter: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            quantity, _, name = key.partition(":")
            by_parameter.setdefault(name, {})[quantity] = value
        for part in self._parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    state = by_parameter.get(self._names[parameter], {})
                    part.state[parameter] = {k: v.to(parameter.device) for k, v in state.items()}
